//! What partners call is counted to the call, whatever dies meanwhile.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use velvet_e2e::{
    SOON,
    database::everywhere,
    partner::{Partner, prefix_of},
    redis::hash_field,
};
use velvet_kit::{
    Handle,
    client::ws::{Event, Frame, PROTOCOL, Socket},
    until,
};

const ME: &str = "query Me { me { user { id } } }";
/// For who runs the platform: a partner's account is told that it may not.
const FAILING: &str = "query Partners { partners { nodes { slug } } }";
const OWN: &str = "query Own { partnerUsage(first: 100) { nodes { operationId calls } } }";
const USAGE: &str = "query($slug: String, $after: String) { partnerUsage(slug: $slug, first: 3, after: $after) {
    nodes { hour operationId calls ok errors refused rateLimited cost actualCost latencyP50Ms latencyP95Ms lastCalledAt }
    pageInfo { hasNextPage endCursor }
} }";
/// Long enough for a process to come back and catch up on a busy machine.
const HEALED: Duration = Duration::from_secs(90);

/// Calls by operation and by what came of them; calls that named no operation have an empty name.
type Sums = BTreeMap<(String, &'static str), i64>;

/// A partner's program, which keeps count of its own.
struct Program {
    partner: Partner,
    http: reqwest::Client,
    router: String,
    key: String,
    answered: Mutex<Sums>,
}

impl Program {
    async fn start(stack: &Handle) -> Result<Self> {
        let partner = Partner::create(stack).await?;
        let key = partner.key().await?;
        let http = reqwest::Client::builder().timeout(SOON).build().context("making an HTTP client")?;
        let router = stack.info.router_url.clone();
        let program = Self { partner, http, router, key, answered: Mutex::default() };
        until("the router knows the key", SOON, || async { program.publish().await }).await?;
        until("the router knows the operations", SOON, || async {
            for id in ["me", "failing", "own"] {
                ensure!(program.call(id).await? != "refused", "{id}");
            }
            Ok(())
        })
        .await?;
        Ok(program)
    }

    async fn publish(&self) -> Result<()> {
        let url = format!("{}/graphql/op?client=app&idempotencyKey=usage", self.router);
        let manifest = json!({ "me": ME, "failing": FAILING, "own": OWN });
        let response = self.http.post(url).header("x-api-key", &self.key).json(&manifest).send().await?;
        ensure!(response.status().is_success(), "{}", response.text().await?);
        Ok(())
    }

    fn note(&self, operation: &str, outcome: &'static str) {
        if let Ok(mut answered) = self.answered.lock() {
            *answered.entry((operation.to_owned(), outcome)).or_default() += 1;
        }
    }

    fn answered(&self) -> Sums {
        self.answered.lock().map(|sums| sums.clone()).unwrap_or_default()
    }

    /// Calls an operation and takes note of the answer; an error when there was none.
    async fn call(&self, id: &str) -> Result<&'static str> {
        let request = self.http.post(format!("{}/graphql", self.router)).json(&json!({ "documentId": id }));
        self.answer_of(id, request).await
    }

    async fn get(&self, id: &str) -> Result<&'static str> {
        self.answer_of(id, self.http.get(format!("{}/graphql/op/{id}", self.router))).await
    }

    async fn answer_of(&self, id: &str, request: reqwest::RequestBuilder) -> Result<&'static str> {
        let response = request.header("x-api-key", &self.key).send().await?;
        let status = response.status().as_u16();
        let body: Value = response.json().await?;
        let outcome = match (status, body["errors"].is_array()) {
            (429, _) => "rateLimited",
            (200, false) => "ok",
            (200, true) => "errors",
            _ => "refused",
        };
        self.note(if status == 404 { "" } else { id }, outcome);
        Ok(outcome)
    }

    /// All hours that the graph shows to whoever runs the platform.
    async fn hours(&self) -> Result<Vec<Value>> {
        let (mut hours, mut after) = (Vec::new(), Value::Null);
        loop {
            let variables = json!({ "slug": self.partner.slug, "after": after });
            let mut page = self.partner.admin.ask(USAGE, variables).await?["partnerUsage"].take();
            hours.extend(page["nodes"].as_array_mut().map(std::mem::take).unwrap_or_default());
            if page["pageInfo"]["hasNextPage"] != true {
                return Ok(hours);
            }
            after = page["pageInfo"]["endCursor"].take();
        }
    }

    /// What the graph says in all.
    async fn counted(&self) -> Result<Sums> {
        Ok(summed(&self.hours().await?))
    }

    /// Waits until what was answered is what was counted, and looks again a moment later.
    async fn is_counted(&self, patience: Duration) -> Result<()> {
        until("each answered call is counted once", patience, || async {
            let (counted, answered) = (self.counted().await?, self.answered());
            ensure!(counted == answered, "counted {counted:?}, answered {answered:?}");
            Ok(())
        })
        .await
    }
}

fn summed(hours: &[Value]) -> Sums {
    let mut sums = Sums::new();
    for hour in hours {
        for outcome in ["ok", "errors", "refused", "rateLimited"] {
            let count = hour[outcome].as_i64().unwrap_or_default();
            if count > 0 {
                let operation = hour["operationId"].as_str().unwrap_or_default().to_owned();
                *sums.entry((operation, outcome)).or_default() += count;
            }
        }
    }
    sums
}

fn all(sums: &Sums) -> i64 {
    sums.values().sum()
}

/// The calls over a socket: one that is answered, one that is refused.
async fn over_the_socket(stack: &Handle, program: &Program) -> Result<()> {
    let mut socket = Socket::connect(&stack.info.ws_url, Some(PROTOCOL)).await?;
    socket.send(&json!({ "type": "connection_init", "payload": { "apiKey": program.key } })).await?;
    let acknowledged = socket.frame(SOON).await?;
    ensure!(matches!(&acknowledged, Frame::Json(ack) if ack["type"] == "connection_ack"), "{acknowledged:?}");
    let id = socket.subscribe_with(json!({ "documentId": "me" })).await?;
    let answer = socket.next(&id, SOON).await?.payload()?;
    ensure!(answer["data"]["me"]["user"]["id"] == program.partner.service.id, "{answer}");
    program.note("me", "ok");
    let id = socket.subscribe_with(json!({ "documentId": "nobody's" })).await?;
    let refused = socket.next(&id, SOON).await?;
    ensure!(matches!(&refused, Event::Errors(_)), "{refused:?}");
    program.note("", "refused");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_reported_by_hour_and_operation_with_what_came_of_them() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let program = Program::start(&stack).await?;
    let ids = [vec!["me"; 30], vec!["failing"; 10], vec!["nobody's"; 5]].concat();
    try_join_all(ids.into_iter().map(|id| program.call(id))).await?;
    try_join_all(["me", "me", "me"].map(|id| program.get(id))).await?;
    over_the_socket(&stack, &program).await?;
    program.is_counted(SOON).await?;

    let hours = program.hours().await?;
    let of_me: Vec<&Value> = hours.iter().filter(|hour| hour["operationId"] == "me").collect();
    assert!(of_me.iter().all(|hour| hour["cost"].as_f64() > Some(0.0)), "{of_me:?}");
    assert!(of_me.iter().all(|hour| hour["latencyP50Ms"].as_f64() > Some(0.0)), "{of_me:?}");
    assert!(of_me.iter().all(|hour| hour["latencyP95Ms"].as_f64() >= hour["latencyP50Ms"].as_f64()), "{of_me:?}");

    // What the router and its check of new schemas read of it.
    let (partner, answered) = (&program.partner, program.answered());
    let id = partner
        .admin
        .ask("query($s: String!) { partner(slug: $s) { id keys { prefix lastUsedAt } } }", json!({ "s": partner.slug }))
        .await?;
    let let_through: i64 =
        answered.iter().filter(|((_, came), _)| ["ok", "errors"].contains(came)).map(|(_, count)| count).sum();
    let month = hours[0]["hour"].as_str().and_then(|hour| hour.get(..7)).context("an hour")?;
    let field = format!("{}:{month}", id["partner"]["id"].as_str().unwrap_or_default());
    let months = hash_field(&stack, "accounts:usage:months", &field).await?.context("a month")?;
    assert_eq!(months["calls"], let_through, "{months}");
    assert!(months["cost"].as_i64() > Some(0), "{months}");
    let operation = hash_field(&stack, "accounts:usage:operations", &format!("{}/me", partner.slug)).await?;
    let operation = operation.context("an operation")?;
    assert_eq!(operation["calls"].as_i64(), answered.get(&("me".to_owned(), "ok")).copied(), "{operation}");
    assert!(operation["lastCalledAt"].as_str() >= hours[0]["hour"].as_str(), "{operation}");
    assert!(id["partner"]["keys"][0]["lastUsedAt"].is_string(), "{id}");

    // And what the database keeps.
    let query = format!(
        "SELECT sum(ok + error + refused + rate_limited) AS calls FROM {{shard}}.partner_usage WHERE slug = '{}'",
        partner.slug
    );
    until("the rows", SOON, || async {
        let rows = everywhere(&stack, &query).await?;
        let calls: i64 = rows.iter().filter_map(|row| row["calls"].as_i64()).sum();
        ensure!(calls == all(&answered), "{calls} of {}", all(&answered));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_partner_sees_its_own_usage_and_nobody_elses() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (program, other) = (Program::start(&stack).await?, Partner::create(&stack).await?);
    program.is_counted(SOON).await?;
    let expected = program.answered().get(&("me".to_owned(), "ok")).copied();
    let token = program.partner.token(&program.key).await?;
    let client = stack.subgraph_client("accounts")?.bearer(&token);
    let own = client.data(OWN, json!({})).await?["partnerUsage"]["nodes"].take();
    let of_me = own.as_array().into_iter().flatten().find(|hour| hour["operationId"] == "me");
    assert_eq!(of_me.and_then(|hour| hour["calls"].as_i64()), expected, "{own}");
    let asked = client.send(USAGE, json!({ "slug": other.slug })).await?;
    assert_eq!(asked.code(), Some("FORBIDDEN"));
    // Not even its own, with a user's token: that is the service account, and not the partner.
    let asked = program.partner.service.client.send(USAGE, json!({ "slug": program.partner.slug })).await?;
    assert_eq!(asked.code(), Some("FORBIDDEN"));
    let nobody = program.partner.admin.ask(USAGE, json!({ "slug": "nobody-at-all" })).await?;
    assert_eq!(nobody["partnerUsage"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn nobody_counts_without_knowing_a_keys_hash() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let key = partner.key().await?;
    let batch = json!({
        "router": "0123456789abcdef0123456789abcdef", "sequence": 1, "madeAt": "2026-11-21T12:00:00Z",
        "key": prefix_of(&key), "hours": [], "keys": [],
    });
    let url = format!("{}/accounts/partners/usage", stack.info.api_url);
    for signature in ["", &"00".repeat(32)] {
        let request = reqwest::Client::new().post(&url).header("x-velvet-usage-signature", signature).json(&batch);
        assert_eq!(request.send().await?.status().as_u16(), 401);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_redis_is_wiped_the_same_is_counted_and_counting_goes_on() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let program = Program::start(&stack).await?;
    try_join_all(["me", "failing", "nobody's", "me"].map(|id| program.call(id))).await?;
    program.is_counted(SOON).await?;
    let before = program.hours().await?;
    let field = format!("{}/me", program.partner.slug);
    let operation = hash_field(&stack, "accounts:usage:operations", &field).await?;
    stack.wipe_redis().await?;
    program.partner.back(&stack).await?;
    assert_eq!(program.hours().await?, before);
    assert_eq!(hash_field(&stack, "accounts:usage:operations", &field).await?, operation);
    // The state is as it was, not only what can be seen of it.
    try_join_all(["me", "failing", "nobody's", "me"].map(|id| program.call(id))).await?;
    program.is_counted(HEALED).await
}

/// Calls in all, and at once.
const CALLS: usize = 300;
const AT_ONCE: usize = 10;

/// Calls while a part is killed in the middle and started again; how many calls got no answer.
async fn call_while_killed(stack: &Handle, program: &Program, part: &str) -> Result<usize> {
    let (done, unanswered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let kill = async {
        until("the middle of the calls", HEALED, || async {
            ensure!(done.load(Ordering::Relaxed) >= CALLS / 3, "not there yet");
            Ok(())
        })
        .await?;
        stack.part(part).kill9().await?;
        stack.part(part).start().await
    };
    let next = AtomicUsize::new(0);
    let call = async {
        let workers = (0..AT_ONCE).map(|_| async {
            while next.fetch_add(1, Ordering::Relaxed) < CALLS {
                if program.call("me").await.is_err() {
                    unanswered.fetch_add(1, Ordering::Relaxed);
                    // The router is away: there is no use in asking faster than it can come back.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        futures::future::join_all(workers).await;
        anyhow::Ok(())
    };
    futures::try_join!(kill, call)?;
    Ok(unanswered.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_api_and_projector_neither_loses_nor_doubles_a_call() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let program = Program::start(&stack).await?;
    // Before it is back, the router tells its callers so; those calls are counted, too.
    assert_eq!(call_while_killed(&stack, &program, "api").await?, 0);
    program.is_counted(HEALED).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_writer_neither_loses_nor_doubles_a_call() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let program = Program::start(&stack).await?;
    assert_eq!(call_while_killed(&stack, &program, "writer").await?, 0);
    program.is_counted(HEALED).await?;
    stack.wipe_redis().await?;
    program.partner.back(&stack).await?;
    program.is_counted(HEALED).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_router_leaves_no_answered_call_uncounted() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let program = Program::start(&stack).await?;
    let unanswered = i64::try_from(call_while_killed(&stack, &program, "router").await?)?;
    let answered = program.answered();
    until("each answered call is counted", HEALED, || async {
        let counted = program.counted().await?;
        let ok = |sums: &Sums| sums.get(&("me".to_owned(), "ok")).copied().unwrap_or_default();
        ensure!(ok(&counted) >= ok(&answered), "counted {counted:?}, answered {answered:?}");
        Ok(())
    })
    .await?;
    // Those whose answer was lost on the way are counted once at most. A router that does not know the key yet says so,
    // and counts nothing.
    let counted = program.counted().await?;
    assert!(all(&counted) - all(&answered) <= unanswered, "{counted:?} for {answered:?} and {unanswered} unanswered");
    Ok(())
}
