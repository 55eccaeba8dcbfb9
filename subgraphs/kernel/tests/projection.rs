//! The kernel on the real servers, with a domain that only counts.

#![expect(clippy::disallowed_methods, reason = "tests take the time and ids as they come")]

use anyhow::{Context as _, Result};
use chrono::Utc;
use futures::{StreamExt as _, future::try_join_all};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use velvet_kernel::{
    api::Serve,
    config::{
        ApiConfig, Config, IdentityConfig, KafkaConfig, LiveConfig, ProjectorConfig, RedisConfig, TelemetryConfig,
        WriterConfig,
    },
    fold::{Effects, Fold, Moment},
    id::UserId,
    live::Item,
    log::{self, Log, NewEvent},
    project::{self, Projection, Shared, Watermarks},
    store::{Epoch, Store, view},
    time::SystemClock,
};
use velvet_kit::{Handle, until};

const DOMAIN: &str = "probe";
const SOON: Duration = Duration::from_secs(20);

/// Adds up what it is told, and says each sum live to its user.
struct Sum;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Total(i64);

#[derive(Debug, Serialize, Deserialize)]
struct Add {
    amount: i64,
    user: UserId,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Added {
    total: i64,
}

fn total_key(entity: &str) -> String {
    format!("{DOMAIN}:total:{{{entity}}}")
}

impl Fold for Sum {
    type State = Total;
    type Fact = Add;
    type Row = ();

    fn fold(&self, state: &mut Total, fact: Add, at: &Moment<'_>) -> Effects {
        state.0 += fact.amount;
        let added = Added { total: state.0 };
        let mut effects = Effects::none();
        effects.view(view::put(total_key(at.entity), at.version, &added, 0));
        effects.deliver(DOMAIN, fact.user, None, &added).decide("probe.added", at.entity, &added).answer(&added);
        effects
    }

    fn restore(&self, _: &mut Total, (): (), _: &Moment<'_>) -> Effects {
        Effects::none()
    }
}

/// A projector and an API of the counting domain, on topics of their own.
struct Probe {
    serve: Serve,
    stop: CancellationToken,
    config: Arc<Config>,
    shared: Shared,
}

impl Probe {
    async fn start() -> Result<Self> {
        let stack = Handle::from_env()?;
        let config = config_of(&stack);
        log::ensure_topics(&config.kafka, &[DOMAIN]).await?;
        let config = Arc::new(config);
        let store = Store::connect(&config.redis).await?;
        if stack.info.servers_only && store.epoch().await?.is_none() {
            store.begin_epoch(Epoch(Uuid::now_v7())).await?;
        }
        let log = Log::connect(&config.kafka)?;
        let stop = CancellationToken::new();
        let marks = Arc::new(Watermarks::follow(&store, &[DOMAIN], config.kafka.partitions, &stop));
        let serve = Serve::new(Arc::clone(&config), store.clone(), log.clone(), marks, Arc::new(SystemClock))?;
        let shared = Shared { log, store, config: Arc::clone(&config), stop: stop.clone() };
        let probe = Self { serve, stop, config, shared };
        probe.project();
        Ok(probe)
    }

    fn project(&self) {
        let projection = Projection { domain: DOMAIN, fold: Arc::new(Sum), inbound: Vec::new() };
        for work in project::loops(projection, &self.shared) {
            tokio::spawn(work);
        }
    }

    fn fact(entity: &str, user: UserId, amount: i64) -> NewEvent {
        NewEvent::new(Uuid::now_v7(), "probe.fact.add", entity, Utc::now(), &Add { amount, user })
    }
}

/// On the stack's servers, with topics of its own.
fn config_of(stack: &Handle) -> Config {
    Config {
        kafka: KafkaConfig {
            brokers: stack.info.kafka_brokers.clone(),
            partitions: 16,
            replication: 1,
            topic_prefix: format!("probe-{}.", Uuid::now_v7().simple()),
        },
        redis: RedisConfig { urls: stack.info.redis_urls.clone() },
        api: ApiConfig::default(),
        identity: IdentityConfig {
            signing_key: None,
            keys_dir: None,
            jwks_url: String::new(),
            issuer: "velvet".to_owned(),
            audience: "velvet".to_owned(),
        },
        live: LiveConfig { cursor_secret: "a secret of at least 32 characters".to_owned() },
        projector: ProjectorConfig::default(),
        writer: WriterConfig::default(),
        telemetry: TelemetryConfig::default(),
        domains: BTreeMap::new(),
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn entity() -> (String, UserId) {
    let id = Uuid::now_v7();
    (id.to_string(), UserId(id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_reads_what_its_fact_came_to_and_a_repeat_gives_the_same() -> Result<()> {
    let probe = Probe::start().await?;
    let intake = probe.serve.intake(DOMAIN);
    let (entity, user) = entity();
    let first = Probe::fact(&entity, user, 5);
    assert_eq!(ask(&intake, &first).await?, Added { total: 5 });
    assert_eq!(ask(&intake, &Probe::fact(&entity, user, 2)).await?, Added { total: 7 });
    assert_eq!(ask(&intake, &first).await?, Added { total: 5 }, "the first outcome again, and nothing added");
    let stored: view::Slot<Added> = probe.serve.store.document(total_key(&entity)).await?;
    assert_eq!(stored, view::Slot::Present(Added { total: 7 }));
    Ok(())
}

/// As a client asks: again with the same key when the answer is that it is temporarily unavailable.
async fn ask(intake: &velvet_kernel::command::Intake, fact: &NewEvent) -> Result<Added> {
    until("an outcome", SOON, || async { intake.submit(fact).await.map_err(|fault| anyhow::anyhow!("{fault:?}")) })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_of_one_entity_that_come_at_once_are_folded_one_after_the_other() -> Result<()> {
    let probe = Probe::start().await?;
    let intake = probe.serve.intake(DOMAIN);
    let (entity, user) = entity();
    let facts: Vec<NewEvent> = (0..100).map(|_| Probe::fact(&entity, user, 1)).collect();
    let mut totals: Vec<i64> =
        try_join_all(facts.iter().map(|fact| ask(&intake, fact))).await?.into_iter().map(|added| added.total).collect();
    totals.sort_unstable();
    assert_eq!(totals, (1..=100).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_resumes_after_its_cursor_and_hears_each_event_once() -> Result<()> {
    let probe = Probe::start().await?;
    let intake = probe.serve.intake(DOMAIN);
    let (entity, user) = entity();
    let open = |after: Option<velvet_kernel::graph::Cursor>| {
        let live = probe.serve.live.clone();
        async move {
            let (_, stream) = live
                .follow::<Added>(DOMAIN, user, after.as_ref())
                .await
                .map_err(|fault| anyhow::anyhow!("{fault:?}"))?;
            Ok::<_, anyhow::Error>(Box::pin(stream))
        }
    };
    let mut stream = open(None).await?;
    ask(&intake, &Probe::fact(&entity, user, 1)).await?;
    let first = tokio::time::timeout(SOON, stream.next()).await?.context("an event")?;
    let Item::Event { cursor, event } = first else { anyhow::bail!("a reset") };
    assert_eq!(event, Added { total: 1 });
    drop(stream);
    for _ in 0..5 {
        ask(&intake, &Probe::fact(&entity, user, 1)).await?;
    }
    let mut stream = open(Some(cursor)).await?;
    ask(&intake, &Probe::fact(&entity, user, 1)).await?;
    for total in 2..=7 {
        let item = tokio::time::timeout(SOON, stream.next()).await?.context("an event")?;
        assert!(matches!(&item, Item::Event { event, .. } if event.total == total), "{total}: {item:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_projectors_share_the_partitions_and_decide_each_fact_once() -> Result<()> {
    let probe = Probe::start().await?;
    let intake = probe.serve.intake(DOMAIN);
    let (entity, user) = entity();
    ask(&intake, &Probe::fact(&entity, user, 1)).await?;
    probe.project();
    for total in 2..=40 {
        assert_eq!(ask(&intake, &Probe::fact(&entity, user, 1)).await?.total, total);
    }
    let ends = until("the decided events", SOON, || async {
        let topic = log::Topic::of(DOMAIN, log::Stage::Decided);
        let ends = log::end_offsets(&probe.config.kafka, &topic).await?;
        anyhow::ensure!(ends.iter().sum::<i64>() >= 40, "{ends:?}");
        Ok(ends)
    })
    .await?;
    assert_eq!(ends.iter().filter(|end| **end > 0).count(), 1, "all under one key: {}", json!(ends));
    Ok(())
}
