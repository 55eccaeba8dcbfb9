//! People of the loaded population, each with a token that is signed here, and conversations that are made in the log:
//! a hundred thousand sign-ins by password would take an hour.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use uuid::Uuid;
use velvet_kit::{Handle, until};

use crate::bench::{Bench, counter, say};
use crate::raw::kafka::{Kafka, Record};
use crate::schedule::exact;
use crate::shards::schemas_of;

/// Where swipes are appended.
pub const SWIPES: &str = "matching.intake";
/// Where messages are appended.
pub const MESSAGES: &str = "messaging.intake";
/// Longer than any scenario, as nobody renews these.
const TOKEN_SECONDS: i64 = 3 * 3_600;
/// Facts that are appended before it is waited for them.
const CHUNK: usize = 20_000;
const OPENED_WITHIN: Duration = Duration::from_mins(5);

/// One of the population.
#[derive(Debug)]
pub struct Member {
    pub id: String,
    pub token: String,
}

/// Two members, by their index, and where they write.
#[derive(Debug, Clone)]
pub struct Conversation {
    pub id: String,
    pub members: [usize; 2],
}

pub type Members = Arc<Vec<Member>>;

/// As many as there are, up to `most`, the same ones each time; an error when they are fewer than `least`.
pub async fn members(handle: &Handle, least: u32, most: u32) -> Result<Members> {
    sign(handle, ids(handle, least, most).await?)
}

/// Who they are.
pub async fn ids(handle: &Handle, least: u32, most: u32) -> Result<Vec<String>> {
    let servers = handle.info.postgres.len();
    let mut ids: Vec<String> = Vec::new();
    for server in 0..servers {
        let all: Vec<String> = schemas_of(server, servers)
            .iter()
            .map(|schema| format!("SELECT user_id FROM {schema}.users WHERE email LIKE 'person-%@demo.velvet.test'"))
            .collect();
        let left = (most as usize).saturating_sub(ids.len());
        let query = format!("SELECT user_id FROM ({}) AS u ORDER BY user_id LIMIT {left}", all.join(" UNION ALL "));
        let printed = handle.database(server)?.execute(&query).await.context("reading the population")?;
        ids.extend(printed.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()));
    }
    ensure!(
        ids.len() >= least as usize,
        "the population has {} of the {least} people that this needs: start the stack with more (--people)",
        ids.len()
    );
    Ok(ids)
}

/// A token for each.
pub fn sign(handle: &Handle, ids: Vec<String>) -> Result<Members> {
    let signer = Signer::load(&handle.info.state.join("keys"))?;
    let member = |id: String| Ok(Member { token: signer.sign(&id)?, id });
    Ok(Arc::new(ids.into_iter().map(member).collect::<Result<_>>()?))
}

/// Signs as the accounts subgraph does, with its own key: the newest by name.
struct Signer {
    header: Header,
    key: EncodingKey,
}

impl Signer {
    fn load(folder: &Path) -> Result<Self> {
        let files = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        let paths =
            files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|of| of == "pem"));
        let newest = paths.max().with_context(|| format!("no key in {}", folder.display()))?;
        let key = EncodingKey::from_ed_pem(&std::fs::read(&newest).context("reading the signing key")?)
            .context("reading the signing key")?;
        let kid = newest.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { header: Header { kid: Some(kid), ..Header::new(Algorithm::EdDSA) }, key })
    }

    fn sign(&self, user: &str) -> Result<String> {
        let now = chrono::Utc::now().timestamp();
        let claims = json!({
            "sub": user, "iss": "velvet", "aud": "velvet", "iat": now, "exp": now + TOKEN_SECONDS, "jti": Uuid::new_v4(),
        });
        jsonwebtoken::encode(&self.header, &claims, &self.key).context("signing a token")
    }
}

/// Each member with a neighbour, nobody twice.
pub fn couples(members: usize) -> Vec<[usize; 2]> {
    (0..members / 2).map(|couple| [2 * couple, 2 * couple + 1]).collect()
}

/// So many different pairs, everybody as often as everybody else: neighbours first, then those two apart, and so on.
pub fn ring(members: usize, pairs: usize) -> Result<Vec<[usize; 2]>> {
    // Two make one pair; of a ring of more, one of `members` steps may go half around before pairs repeat.
    let most = if members <= 2 { members / 2 } else { members * ((members - 1) / 2) };
    ensure!(
        pairs <= most,
        "{members} people make {most} such pairs, not {pairs}: start the stack with more (--people)"
    );
    Ok((0..pairs).map(|pair| [pair % members, (pair + 1 + pair / members) % members]).collect())
}

/// Opens a conversation for each pair by the fact that matching's relay would append, and waits until all are there.
pub async fn converse(bench: &Bench, members: &[Member], pairs: Vec<[usize; 2]>) -> Result<Vec<Conversation>> {
    say(&format!("{} conversations are opened", pairs.len()));
    let kafka = Kafka::connect(&bench.handle.info.kafka_brokers)?;
    let partitions = kafka.partitions(MESSAGES)?;
    let base = folded(bench, "messaging").await?;
    let conversations: Vec<Conversation> =
        pairs.into_iter().map(|members| Conversation { id: Uuid::new_v4().to_string(), members }).collect();
    let now = now();
    for chunk in conversations.chunks(CHUNK) {
        let records: Vec<Record> = chunk.iter().map(|one| opened(one, members, &now)).collect();
        kafka.append(MESSAGES, partitions, &records).await?;
    }
    let wanted = base + exact(conversations.len() as u64);
    until("the conversations are open", OPENED_WITHIN.min(bench.left()), || async {
        let done = folded(bench, "messaging").await?;
        if done >= wanted { Ok(()) } else { bail!("{} of {} are", done - base, conversations.len()) }
    })
    .await?;
    Ok(conversations)
}

fn opened(conversation: &Conversation, members: &[Member], at: &str) -> Record {
    let mut ids = conversation.members.map(|index| members[index].id.as_str());
    ids.sort_unstable();
    let [a, b] = ids;
    let data = json!({ "type": "opened", "match_id": Uuid::new_v4(), "a": a, "b": b, "at": at });
    record("messaging.fact.opened", conversation.id.clone(), at, data.to_string())
}

/// A message as the API would append it.
pub fn message(conversation: &Conversation, sender: &Member, client_id: &str, body: &str) -> Record {
    let data = json!({ "type": "sent", "sender": sender.id, "client_id": client_id, "body": body });
    record("messaging.fact.sent", conversation.id.clone(), &now(), data.to_string())
}

/// A swipe as the API would append it.
pub fn swipe(by: &str, of: &str, action: &str, at: &str) -> Record {
    let (low, high) = if by <= of { (by, of) } else { (of, by) };
    let data = json!({ "type": "swiped", "swiper": by, "swiped": of, "action": action });
    record("matching.fact.swiped", format!("{low}:{high}"), at, data.to_string())
}

fn record(kind: &'static str, key: String, time: &str, data: String) -> Record {
    Record { id: Uuid::new_v4().to_string(), kind, key, time: time.to_owned(), data }
}

pub fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// Facts of a domain that the API process has folded since it started.
pub async fn folded(bench: &Bench, domain: &str) -> Result<f64> {
    let text = bench.api_metrics().await.context("reading the API's metrics")?;
    Ok(counter(&text, "velvet_project_facts_total", &format!("domain=\"{domain}\"")))
}

/// Waits until nothing has been folded for a moment: what was appended before is in the views.
pub async fn settled(bench: &Bench, domain: &str, within: Duration) -> Result<()> {
    const QUIET: Duration = Duration::from_millis(500);
    let seen = std::sync::Mutex::new((f64::NAN, Instant::now()));
    until("the projector has nothing to do", within, || async {
        let now = folded(bench, domain).await?;
        let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if (seen.0 - now).abs() < 0.5 && seen.1.elapsed() >= QUIET {
            return Ok(());
        }
        if (seen.0 - now).abs() >= 0.5 || seen.0.is_nan() {
            *seen = (now, Instant::now());
        }
        bail!("{now} facts, and more are coming")
    })
    .await
}

/// How many different people there are in pairs.
pub fn people_in(conversations: &[Conversation]) -> usize {
    conversations.iter().flat_map(|one| one.members).collect::<HashSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn couples_share_nobody() {
        assert_eq!(couples(5), [[0, 1], [2, 3]]);
    }

    #[test]
    fn a_ring_has_each_pair_once_and_everybody_as_often() {
        let pairs = ring(10, 30).unwrap();
        let sorted: HashSet<[usize; 2]> = pairs.iter().map(|[a, b]| [*a.min(b), *a.max(b)]).collect();
        assert_eq!(sorted.len(), 30);
        for person in 0..10 {
            assert_eq!(pairs.iter().flatten().filter(|member| **member == person).count(), 6);
        }
        assert_eq!(ring(2, 1).unwrap(), [[0, 1]]);
        assert!(ring(2, 2).is_err() && ring(10, 41).is_err());
    }

    #[test]
    fn a_swipe_is_under_its_pairs_key_whoever_swipes() {
        let (one, other) = (swipe("a", "b", "like", "now"), swipe("b", "a", "like", "now"));
        assert_eq!((one.key.as_str(), other.key.as_str()), ("a:b", "a:b"));
    }
}
