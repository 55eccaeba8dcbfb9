//! One seed: people live, the nemesis breaks, everything heals, and the checker looks at what is left.

use crate::{
    HEALED,
    ask::Client,
    checker::{self, Refutation},
    evidence::{Event, Evidence},
    history::{History, What},
    nemesis::{self, Break, Site},
    person::{self, World},
    quiet,
    stored::Stored,
    tap::Tap,
    views::View,
};
use anyhow::{Context, Result, ensure};
use chrono::Utc;
use futures::future::try_join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Barrier, watch},
    task::JoinSet,
    time::Instant,
};
use uuid::Uuid;
use velvet_kernel::log::{Stage, Topic};
use velvet_kit::{Handle, until};

/// Until the last events have come over the last reconnects.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// A rebuild of all that the seeds before have left as well, on a machine that has other things to do.
const REBUILT_WITHIN: Duration = Duration::from_mins(5);

/// Refutations of which the smallest is told; those of the invariants that come first are the plainest.
const STORIES_MAX: usize = 20;

/// What is wanted of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    /// For how long people live and things break.
    pub length: Duration,
    pub people: u64,
    /// Whether the views are compared with those of a rebuild, too.
    pub rebuild: bool,
    /// The schedule, when it is not the seed's.
    pub breaks: Option<Vec<Break>>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    pub evidence: Evidence,
    pub refutations: Vec<Refutation>,
    /// Where the whole history is.
    pub history: PathBuf,
}

impl Report {
    /// The smallest story, or none when all invariants hold.
    pub fn story(&self) -> Option<String> {
        let looked_at = self.refutations.iter().take(STORIES_MAX);
        let stories = looked_at.map(|refutation| checker::tell(&self.evidence, refutation));
        let story = stories.min_by_key(|story| story.lines().count())?;
        let rest = self.refutations.len() - 1;
        Some(format!("{story}  and {rest} more refutations; the whole history is in {}", self.history.display()))
    }

    /// The invariants that do not hold, and how often each is refuted.
    pub fn refuted(&self) -> BTreeMap<&'static str, usize> {
        let mut refuted = BTreeMap::new();
        for refutation in &self.refutations {
            *refuted.entry(refutation.invariant).or_default() += 1;
        }
        refuted
    }

    /// What was looked at, in a line.
    pub fn summary(&self) -> String {
        let count =
            |wanted: fn(&What) -> bool| self.evidence.history.iter().filter(|entry| wanted(&entry.what)).count();
        format!(
            "{} people; {} attempts, {} answered, {} not; {} live events, {} streams; {} events in the log; {} rows",
            self.evidence.people.len(),
            count(|what| matches!(what, What::Asked { .. })),
            count(|what| matches!(what, What::Answered { .. })),
            count(|what| matches!(what, What::Failed { .. })),
            count(|what| matches!(what, What::Heard { .. })),
            count(|what| matches!(what, What::Opened { .. })),
            self.evidence.log.len(),
            self.evidence.rows.0.values().map(Vec::len).sum::<usize>(),
        )
    }
}

/// Runs a seed on a stack that is held for it alone.
pub async fn run(stack: &Handle, plan: &Plan) -> Result<Report> {
    let breaks =
        plan.breaks.clone().unwrap_or_else(|| nemesis::schedule(plan.seed, &Site::of(&stack.info), plan.length));
    println!("seed {}: {} breaks in {} s", plan.seed, breaks.len(), plan.length.as_secs());
    for planned in &breaks {
        println!("  {planned}");
    }
    let history = History::default();
    let began = Utc::now();
    let (over, all_over) = watch::channel(false);
    let early = (0..plan.people).filter(|index| !person::comes_late(*index)).count();
    let world = Arc::new(World {
        stack: Arc::new(stack.clone()),
        history: history.clone(),
        seed: plan.seed,
        joined: Barrier::new(early + 1),
        begun: Barrier::new(usize::try_from(plan.people)? + 1),
        until: OnceLock::new(),
        run: Uuid::new_v4().simple().to_string(),
        cast: Mutex::default(),
        over: all_over,
    });
    let mut lives = JoinSet::new();
    for index in 0..plan.people {
        let client = Client::new(stack, &history, &format!("p{index}"))?;
        lives.spawn(person::live(Arc::clone(&world), client, index));
    }
    world.joined.wait().await;
    world.until.get_or_init(|| Instant::now() + plan.length);
    world.begun.wait().await;
    history.note("nemesis", What::Done { deed: "begins".to_owned() });
    nemesis::carry_out(stack, &history, &breaks).await;
    let mut streams = Vec::new();
    while let Some(lived) = lives.join_next().await {
        streams.push(lived.context("a life")?);
    }
    nemesis::heal(stack).await.context("healing")?;
    history.note("nemesis", What::Done { deed: "all is healed".to_owned() });
    let settled = quiet::wait(stack).await?;
    history.note("nemesis", What::Done { deed: "it is quiet".to_owned() });
    let mut evidence = gather(stack, &world).await?;
    evidence.settled = settled;
    hear_out(&mut evidence, &history).await;
    over.send_replace(true);
    for mut followed in streams {
        while followed.join_next().await.is_some() {}
    }
    evidence.history = history.entries();
    evidence.began = began;
    if plan.rebuild {
        evidence.rebuilt = Some(rebuild(stack, &world, &evidence.views).await?);
    }
    let path = stack.info.state.join("logs").join(format!("history-{}.ndjson", plan.seed));
    history.write(&path)?;
    let refutations = checker::check(&evidence);
    Ok(Report { evidence, refutations, history: path })
}

async fn gather(stack: &Handle, world: &World) -> Result<Evidence> {
    let cast = world.cast.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let people: BTreeMap<String, Uuid> =
        cast.iter().map(|(name, joined)| Ok((name.clone(), joined.user.parse()?))).collect::<Result<_>>()?;
    ensure!(!people.is_empty(), "nobody could join");
    let users: BTreeSet<Uuid> = people.values().copied().collect();
    let rows = Stored::read(stack, &world.run, &users).await.context("reading PostgreSQL")?;
    let log = logged(stack, world, &users).await.context("reading the log")?;
    let views = see(stack, world).await.context("reading the views")?;
    Ok(Evidence { people, log, rows, views, ..Evidence::default() })
}

/// Everything in the log that is about the run's people, from its beginning.
async fn logged(stack: &Handle, world: &World, users: &BTreeSet<Uuid>) -> Result<Vec<Event>> {
    let stages = [Stage::Intake, Stage::Decided];
    let mut topics: Vec<Topic> =
        quiet::DOMAINS.iter().flat_map(|domain| stages.map(|stage| Topic::of(domain, stage))).collect();
    topics.push(Topic::of("accounts", Stage::Commands));
    let all = Tap::open(stack)?.read_all(&topics).await?;
    let users: Vec<String> = users.iter().map(Uuid::to_string).collect();
    let about = |text: &str| text.contains(&world.run) || users.iter().any(|user| text.contains(user));
    let mut conversations = BTreeSet::new();
    let opening = |kind: &str| kind.starts_with("conversation.") || kind.starts_with("messaging.fact.opened");
    for event in all.iter().filter(|event| opening(&event.kind)) {
        if about(&String::from_utf8_lossy(&event.data)) && event.topic.0.starts_with("messaging") {
            conversations.insert(event.key.clone());
        }
    }
    // A conversation's key is its own id, and a member's row has a user's.
    let ours = all.iter().filter(|event| {
        conversations.contains(&event.key) || about(&event.key) || about(&String::from_utf8_lossy(&event.data))
    });
    Ok(ours.map(Event::from).collect())
}

/// What everybody sees.
async fn see(stack: &Handle, world: &World) -> Result<BTreeMap<Uuid, View>> {
    let cast = world.cast.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let views = cast.into_iter().map(|(name, joined)| async move {
        let mut client = Client::new(stack, &world.history, &name)?;
        client.token = Some(joined.token);
        let view = until("what somebody sees", HEALED, || View::read(&client)).await?;
        Ok::<_, anyhow::Error>((joined.user.parse()?, view))
    });
    Ok(try_join_all(views).await?.into_iter().collect())
}

/// Waits until everybody has heard all, or is surely missing something.
async fn hear_out(evidence: &mut Evidence, history: &History) {
    let started = Instant::now();
    loop {
        evidence.history = history.entries();
        let missing = checker::streams::messages(evidence).len() + checker::streams::matches(evidence).len();
        if missing == 0 || started.elapsed() > HEARD_WITHIN {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Wipes Redis, and what people see once it is whole again; the last look when it stays different.
async fn rebuild(stack: &Handle, world: &World, before: &BTreeMap<Uuid, View>) -> Result<BTreeMap<Uuid, View>> {
    stack.wipe_redis().await?;
    // How long that takes is the machine's affair; what is seen afterwards is judged.
    until("Redis to be rebuilt", REBUILT_WITHIN, || is_ready(stack)).await?;
    let last = Mutex::new(BTreeMap::new());
    let same = until("the views to be as they were", HEALED, || async {
        let now = see(stack, world).await?;
        let same = now == *before;
        *last.lock().unwrap_or_else(PoisonError::into_inner) = now;
        ensure!(same, "they differ");
        Ok(())
    });
    // The checker says what differs.
    let _ = same.await;
    Ok(last.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// An API is not ready while Redis' content is not whole.
async fn is_ready(stack: &Handle) -> Result<()> {
    let answer = reqwest::get(format!("{}/ready", stack.info.api_url)).await.context("asking whether it is ready")?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    Ok(())
}
