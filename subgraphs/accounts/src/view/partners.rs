//! Views of partners.
//!
//! The registry is what the router reads: three hashes of plain JSON, each value with its version, and a
//! stream that names what has changed in them. All of it has one hash tag, so that one script sets a
//! field and says so. Beside it stand the lists that operators read.

use crate::{
    DOMAIN_NAME,
    model::{KeyMode, Limits, OperationKind, PartnerId, Scope, Slug},
    row::{AuditRow, KeyRow, Operation, OperationRow, PartnerRow},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use velvet_kernel::{
    fold::Version,
    id::UserId,
    store::{
        Call, Error, Reply, Script, Store,
        view::{self, Entry, Slot},
    },
};

/// Changes that the stream names: a reader that has missed more reads the hashes again.
const CHANGES_MAX: usize = 10_000;
/// Entries of a partner's audit that are kept here; the rest is in the database.
const AUDIT_MAX: usize = 200;
/// When a key was last used is noted no more often than this, in seconds.
const USE_PAUSE_S: i64 = 300;
/// A key that was not used for this long was not used, in seconds.
const USE_LIFETIME_S: u64 = 90 * 24 * 3600;

/// Sets a field of the registry unless a newer version is there, and says so.
/// KEYS: hash, stream. ARGV: field, version, JSON, kind, changes kept.
static PUT_REGISTERED: Script = Script::new(
    r"
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and cjson.decode(old).version >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'kind', ARGV[4], 'field', ARGV[1])
return 1
",
);

/// Adds an entry to an ordered list, of which only the newest stay. KEYS: order, entries. ARGV: id, version, score, JSON, entries kept.
static PUT_AUDIT: Script = Script::new(
    r"
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ':' .. ARGV[4])
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
while redis.call('ZCARD', KEYS[1]) > tonumber(ARGV[5]) do
  redis.call('HDEL', KEYS[2], redis.call('ZPOPMIN', KEYS[1])[1])
end
return 1
",
);

/// Notes that a key was used, unless that was noted just before. KEYS: note. ARGV: now, pause, lifetime, all in seconds.
static NOTE_USE: Script = Script::new(
    r"
local noted = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) - noted < tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
return 1
",
);

/// A partner, as the router reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisteredPartner {
    pub version: u64,
    pub id: PartnerId,
    pub slug: Slug,
    pub name: String,
    pub user_id: UserId,
    pub limits: RegisteredLimits,
    pub disabled: bool,
}

/// A partner's limits, as the router reads them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisteredLimits {
    requests_per_second: u32,
    burst: u32,
    cost_per_minute: u32,
    monthly_quota: u64,
}

/// A key, as the router reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisteredKey {
    pub version: u64,
    pub prefix: String,
    pub partner_id: PartnerId,
    pub mode: KeyMode,
    pub hash: String,
    pub scopes: Vec<Scope>,
    pub require_signature: bool,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// An operation, as the router reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisteredOperation {
    pub version: u64,
    pub partner_id: PartnerId,
    pub id: String,
    pub name: String,
    pub kind: OperationKind,
    pub body: String,
    pub cost: u32,
    pub client_name: String,
    pub release: u32,
    pub retired_at: Option<DateTime<Utc>>,
}

/// A partner, as operators read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartnerView {
    pub slug: Slug,
    pub name: String,
    pub user_id: UserId,
    pub limits: Limits,
    pub disabled: bool,
    pub created_at: DateTime<Utc>,
}

/// A key, as operators read it: nothing of its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyView {
    pub prefix: String,
    pub mode: KeyMode,
    pub scopes: Vec<Scope>,
    pub require_signature: bool,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Something that somebody has done with a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditView {
    pub at: DateTime<Utc>,
    pub by: String,
    pub action: String,
    pub subject: String,
}

fn registry_key(what: &str) -> String {
    format!("{DOMAIN_NAME}:{what}:{{registry}}")
}

fn partners_key() -> String {
    registry_key("partner_list")
}

fn keys_of(slug: &Slug) -> String {
    format!("{DOMAIN_NAME}:partner_keys_of:{{{}}}", slug.entity())
}

fn operations_of(slug: &Slug) -> String {
    format!("{DOMAIN_NAME}:partner_operations_of:{{{}}}", slug.entity())
}

fn audit_of(slug: &Slug) -> String {
    format!("{DOMAIN_NAME}:partner_audit_of:{{{}}}", slug.entity())
}

fn use_key(prefix: &str) -> String {
    format!("{DOMAIN_NAME}:partner_key_used:{{{prefix}}}")
}

fn operation_field(partner: PartnerId, id: &str) -> String {
    format!("{partner}/{id}")
}

fn put_registered(what: &str, kind: &str, field: &str, version: Version, value: &impl Serialize) -> Call {
    Call::script(&PUT_REGISTERED, [registry_key(what), registry_key("registry_changes")])
        .arg(field)
        .arg(version.0)
        .arg(serde_json::to_string(value).unwrap_or_default())
        .arg(kind)
        .arg(CHANGES_MAX)
}

/// Sets a partner.
pub(crate) fn put_partner(row: &PartnerRow, version: Version) -> [Call; 2] {
    let Limits { requests_per_second, burst, cost_per_minute, monthly_quota } = row.limits;
    let registered = RegisteredPartner {
        version: version.0,
        id: row.partner_id,
        slug: row.slug.clone(),
        name: row.name.clone(),
        user_id: row.user_id,
        limits: RegisteredLimits { requests_per_second, burst, cost_per_minute, monthly_quota },
        disabled: row.disabled,
    };
    let listed = PartnerView {
        slug: row.slug.clone(),
        name: row.name.clone(),
        user_id: row.user_id,
        limits: row.limits,
        disabled: row.disabled,
        created_at: row.created_at,
    };
    let score = row.created_at.timestamp_micros();
    [
        put_registered("partners", "partner", &row.partner_id.to_string(), version, &registered),
        view::put_entry(&partners_key(), row.slug.as_str(), version, score, &listed),
    ]
}

/// Sets a key.
pub(crate) fn put_key(row: &KeyRow, version: Version) -> [Call; 2] {
    let registered = RegisteredKey {
        version: version.0,
        prefix: row.prefix.clone(),
        partner_id: row.partner_id,
        mode: row.mode,
        hash: row.hash.clone(),
        scopes: row.scopes.clone(),
        require_signature: row.require_signature,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    };
    let listed = KeyView {
        prefix: row.prefix.clone(),
        mode: row.mode,
        scopes: row.scopes.clone(),
        require_signature: row.require_signature,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    };
    let score = row.created_at.timestamp_micros();
    [
        put_registered("partner_keys", "key", &row.prefix, version, &registered),
        view::put_entry(&keys_of(&row.slug), &row.prefix, version, score, &listed),
    ]
}

/// Sets an operation.
pub(crate) fn put_operation(row: &OperationRow, version: Version) -> [Call; 2] {
    let about = &row.about;
    let registered = RegisteredOperation {
        version: version.0,
        partner_id: row.partner_id,
        id: about.id.clone(),
        name: about.name.clone(),
        kind: about.kind,
        body: row.body.clone(),
        cost: about.cost,
        client_name: about.client_name.clone(),
        release: about.release,
        retired_at: about.retired_at,
    };
    let score = about.published_at.timestamp_micros();
    let field = operation_field(row.partner_id, &about.id);
    [
        put_registered("operations", "operation", &field, version, &registered),
        view::put_entry(&operations_of(&row.slug), &about.id, version, score, about),
    ]
}

/// Adds what somebody has done.
pub(crate) fn put_audit(row: &AuditRow, version: Version) -> Call {
    let AuditRow { at, by, action, subject, .. } = row.clone();
    let entry = AuditView { at, by, action, subject };
    let key = audit_of(&row.slug);
    Call::script(&PUT_AUDIT, [key.clone(), format!("{key}:e")])
        .arg(row.event_id.to_string())
        .arg(version.0)
        .arg(at.timestamp_micros())
        .arg(serde_json::to_string(&entry).unwrap_or_default())
        .arg(AUDIT_MAX)
}

/// A place in a list: after this score and id.
pub(crate) type After<'a> = Option<(i64, &'a str)>;

/// Reads a partner.
pub(crate) async fn partner(store: &Store, slug: &Slug) -> Result<Option<PartnerView>, Error> {
    Ok(store.entry(&partners_key(), slug.as_str()).await?.present())
}

/// Reads a page of partners, newest first.
pub(crate) async fn partners(store: &Store, after: After<'_>, count: usize) -> Result<Vec<Entry<PartnerView>>, Error> {
    store.page(&partners_key(), after, count).await
}

/// Reads one key of a partner.
pub(crate) async fn key(store: &Store, slug: &Slug, prefix: &str) -> Result<Option<KeyView>, Error> {
    Ok(store.entry(&keys_of(slug), prefix).await?.present())
}

/// Reads a partner's newest keys, newest first.
pub(crate) async fn keys(store: &Store, slug: &Slug, count: usize) -> Result<Vec<KeyView>, Error> {
    let page: Vec<Entry<KeyView>> = store.page(&keys_of(slug), None, count).await?;
    Ok(page.into_iter().map(|entry| entry.value).collect())
}

/// Reads a page of a partner's operations, newest first.
pub(crate) async fn operations(
    store: &Store,
    slug: &Slug,
    after: After<'_>,
    count: usize,
) -> Result<Vec<Entry<Operation>>, Error> {
    store.page(&operations_of(slug), after, count).await
}

/// Reads a page of what was done with a partner, newest first.
pub(crate) async fn audit(
    store: &Store,
    slug: &Slug,
    after: After<'_>,
    count: usize,
) -> Result<Vec<Entry<AuditView>>, Error> {
    store.page(&audit_of(slug), after, count).await
}

async fn registered<T: DeserializeOwned>(store: &Store, what: &str, field: &str) -> Result<Option<T>, Error> {
    let key = registry_key(what);
    let json: Option<String> = store.ask(Call::command_on("HGET", key.as_str()).arg(field)).await?;
    json.map(|json| serde_json::from_str(&json).map_err(|source| Error::Malformed { key, source })).transpose()
}

/// Reads a key, as the router does.
pub(crate) async fn registered_key(store: &Store, prefix: &str) -> Result<Option<RegisteredKey>, Error> {
    registered(store, "partner_keys", prefix).await
}

/// Reads a partner, as the router does.
pub(crate) async fn registered_partner(store: &Store, id: PartnerId) -> Result<Option<RegisteredPartner>, Error> {
    registered(store, "partners", &id.to_string()).await
}

/// Reads an operation with its body, and when it was published.
pub(crate) async fn operation(
    store: &Store,
    slug: &Slug,
    id: &str,
) -> Result<Option<(Operation, RegisteredOperation)>, Error> {
    let about: Slot<Operation> = store.entry(&operations_of(slug), id).await?;
    let stored = registered(store, "operations", &operation_field(slug.id(), id)).await?;
    Ok(about.present().zip(stored))
}

/// Notes that a key was used.
pub(crate) async fn note_use(store: &Store, prefix: &str, now: DateTime<Utc>) -> Result<(), Error> {
    let call = Call::script(&NOTE_USE, [use_key(prefix)]).arg(now.timestamp()).arg(USE_PAUSE_S).arg(USE_LIFETIME_S);
    store.ask::<i64>(call).await.map(drop)
}

/// When each of some keys was last used, as far as that is known.
pub(crate) async fn last_used(store: &Store, prefixes: &[&str]) -> Result<Vec<Option<DateTime<Utc>>>, Error> {
    let calls: Vec<Call> = prefixes.iter().map(|prefix| view::get(use_key(prefix))).collect();
    let replies: Vec<Reply> = store.run(&calls).await?;
    replies
        .iter()
        .map(|reply| {
            let seconds: Option<i64> = redis::FromRedisValue::from_redis_value_ref(reply)?;
            Ok(seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)))
        })
        .collect()
}
