//! Views of partners' usage.
//!
//! Hours are an ordered list for each partner. Totals are fields of three hashes of plain JSON, each value with its
//! version: the router begins a month's count with `accounts:usage:months`, and its check of a new schema reads in
//! `accounts:usage:operations` what is called.

use crate::{
    DOMAIN_NAME,
    model::Slug,
    row::{Total, TotalOf, USAGE_HOURS_KEPT, UsageRow, UsageTotalRow},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::json;
use velvet_kernel::{
    fold::Version,
    store::{Call, Error, Script, Store, view::Entry},
};

/// Entries of a partner's hours that are kept here; the rest is in the database.
const HOURS_SIZE_MAX: usize = 50_000;
/// Old entries that one change takes out: more than it can add.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// Sets an entry of an ordered list unless a newer version is there, and takes out what is too old or too much.
/// KEYS: order, entries. ARGV: id, version, score, JSON, span of the scores that are kept, entries kept, taken out at once.
static PUT_HOUR: Script = Script::new(
    r"
local score = tonumber(ARGV[3])
local newest = tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or ARGV[3])
local floor = math.max(newest, score) - tonumber(ARGV[5])
if score < floor then return 0 end
local old = redis.call('HGET', KEYS[2], ARGV[1])
if old and tonumber(string.match(old, '^(%d+):')) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ':' .. ARGV[4])
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%d', floor), 'LIMIT', 0, ARGV[7])
local surplus = redis.call('ZCARD', KEYS[1]) - #over - tonumber(ARGV[6])
if #over == 0 and surplus > 0 then
  over = redis.call('ZRANGE', KEYS[1], 0, math.min(surplus, tonumber(ARGV[7])) - 1)
end
for _, id in ipairs(over) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
return 1
",
);

/// Sets a field of a hash of JSON unless a newer version is there. KEYS: hash. ARGV: field, version, JSON.
static PUT_TOTAL: Script = Script::new(
    r"
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and cjson.decode(old).version >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
",
);

fn hours_of(slug: &Slug) -> String {
    format!("{DOMAIN_NAME}:partner_usage_of:{{{}}}", slug.usage_entity())
}

fn totals_key(of: TotalOf) -> &'static str {
    match of {
        TotalOf::Month => "accounts:usage:months",
        TotalOf::Operation => "accounts:usage:operations",
        TotalOf::Key => "accounts:usage:keys",
    }
}

fn total_field(slug: &Slug, of: TotalOf, name: &str) -> String {
    match of {
        TotalOf::Month => format!("{}:{name}", slug.id()),
        TotalOf::Operation | TotalOf::Key => format!("{slug}/{name}"),
    }
}

/// Sets an hour's calls of an operation.
pub(crate) fn put_hour(row: &UsageRow, version: Version) -> Call {
    let key = hours_of(&row.slug);
    let score = row.hour.timestamp();
    // Operations' ids are visible characters; none begins with the digits of another hour.
    let id = format!("{score}/{}", row.operation);
    Call::script(&PUT_HOUR, [key.clone(), format!("{key}:e")])
        .arg(id)
        .arg(version.0)
        .arg(score)
        .arg(serde_json::to_string(row).unwrap_or_default())
        .arg(i64::from(USAGE_HOURS_KEPT) * 3_600)
        .arg(HOURS_SIZE_MAX)
        .arg(FORGOTTEN_AT_ONCE)
}

/// Sets a total.
pub(crate) fn put_total(row: &UsageTotalRow, version: Version) -> Call {
    let Total { calls, cost, last_at } = &row.total;
    let value = match row.of {
        TotalOf::Month => json!({ "version": version.0, "calls": calls, "cost": cost }),
        TotalOf::Operation | TotalOf::Key => {
            let last_at = last_at.to_rfc3339_opts(SecondsFormat::Millis, true);
            json!({ "version": version.0, "calls": calls, "lastCalledAt": last_at })
        }
    };
    Call::script(&PUT_TOTAL, [totals_key(row.of)])
        .arg(total_field(&row.slug, row.of, &row.name))
        .arg(version.0)
        .arg(value.to_string())
}

/// Takes a total out.
pub(crate) fn drop_total(slug: &Slug, of: TotalOf, name: &str) -> Call {
    Call::command_on("HDEL", totals_key(of)).arg(total_field(slug, of, name))
}

/// Reads a page of a partner's hours before a time, newest first; of one hour, by operation.
pub(crate) async fn hours(
    store: &Store,
    slug: &Slug,
    after: Option<(i64, &str)>,
    count: usize,
) -> Result<Vec<Entry<UsageRow>>, Error> {
    store.page(&hours_of(slug), after, count).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Called {
    last_called_at: DateTime<Utc>,
}

/// When a call with each of some keys was last counted.
pub(crate) async fn keys_called(
    store: &Store,
    slug: &Slug,
    prefixes: &[&str],
) -> Result<Vec<Option<DateTime<Utc>>>, Error> {
    if prefixes.is_empty() {
        return Ok(Vec::new());
    }
    let key = totals_key(TotalOf::Key);
    let fields: Vec<String> = prefixes.iter().map(|prefix| total_field(slug, TotalOf::Key, prefix)).collect();
    let found: Vec<Option<String>> = store.ask(Call::command_on("HMGET", key).arg(fields)).await?;
    let read = |json: String| {
        let called: Result<Called, _> = serde_json::from_str(&json);
        called.map(|called| called.last_called_at).map_err(|source| Error::Malformed { key: key.to_owned(), source })
    };
    found.into_iter().map(|json| json.map(read).transpose()).collect()
}
