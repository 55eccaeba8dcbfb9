//! A partner publishes its operations: all of them are good and registered, or none is.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use serde::Serialize;
use serde_json::{Value, json};
use url::form_urlencoded;
use velvet_edge::manifest::{Listed, Manifest};
use velvet_edge::signature::Signed;

use super::Gate;
use super::caller::{Caller, KEY_HEADER, Proof};
use super::graph::Graph;
use super::planning;
use super::refusal::Refusal;
use crate::check::Checker;

const CLIENT_NAME_CHARS_MAX: usize = 64;
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 128;

/// Why a manifest was not looked into.
pub(super) enum Refused {
    Caller(Refusal),
    Request(String),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Caller(refusal)
    }
}

/// What is said about one operation.
#[derive(Serialize)]
struct Checked {
    id: String,
    name: Option<String>,
    kind: Option<String>,
    cost: u32,
    scopes: Vec<String>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    /// The release that the operations are in; none when they were refused.
    release: Option<u64>,
    operations: Vec<Checked>,
}

/// What the publisher says about the manifest, in the address.
struct About {
    client: String,
    idempotency_key: String,
}

/// Looks into a manifest and registers it: the status and the report.
pub(super) async fn publish(gate: &Arc<Gate>, parts: &Parts, body: &[u8]) -> Result<(StatusCode, Value), Refused> {
    let caller = admit(gate, parts, body).await?;
    let about = About::read(parts.uri.query().unwrap_or_default())?;
    let manifest = Arc::new(Manifest::parse(body).map_err(|error| Refused::Request(error.to_string()))?);
    let checked = check(gate, &caller, &manifest).await?;
    if checked.iter().any(|checked| !checked.problems.is_empty()) {
        let report = Report { ok: false, release: None, operations: checked };
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, json!(report)));
    }
    register(gate, &caller, &about, &manifest, checked).await
}

async fn admit(gate: &Gate, parts: &Parts, body: &[u8]) -> Result<Arc<Caller>, Refusal> {
    let mut keys = parts.headers.get_all(KEY_HEADER).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(Refusal::Key);
    };
    let path_and_query = parts.uri.path_and_query().map_or("/", |address| address.as_str());
    let signed = Signed { method: parts.method.as_str(), path_and_query, body };
    let key = key.to_str().map_err(|_| Refusal::Key)?;
    gate.admit(key, &Proof::from_headers(&parts.headers), signed).await.map(Arc::new)
}

impl About {
    fn read(query: &str) -> Result<Self, Refused> {
        let value = |wanted: &str, chars_max: usize| {
            let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
            let (value, another) = (values.next(), values.next());
            match (value, another) {
                (Some((_, value)), None) if (1..=chars_max).contains(&value.chars().count()) => Ok(value.into_owned()),
                _ => Err(Refused::Request(format!("{wanted} must be given once, with 1 to {chars_max} characters"))),
            }
        };
        Ok(Self {
            client: value("client", CLIENT_NAME_CHARS_MAX)?,
            idempotency_key: value("idempotencyKey", IDEMPOTENCY_KEY_CHARS_MAX)?,
        })
    }
}

async fn check(gate: &Arc<Gate>, caller: &Arc<Caller>, manifest: &Arc<Manifest>) -> Result<Vec<Checked>, Refusal> {
    let patience = Duration::from_millis(gate.config.request_timeout_ms);
    let Ok(Some(_permit)) = tokio::time::timeout(patience, gate.planning.permit()).await else {
        return Err(Refusal::Unavailable);
    };
    let checker = gate.planning.checker().await.map_err(|error| {
        tracing::error!(error = %error, "no planner for operations that are published");
        Refusal::Unavailable
    })?;
    let (gate, caller, manifest) = (Arc::clone(gate), Arc::clone(caller), Arc::clone(manifest));
    let checking = tokio::task::spawn_blocking(move || {
        let problems = manifest.problems();
        let listed = manifest.operations.iter().zip(problems);
        listed.map(|(operation, problems)| check_one(&gate.graph, &checker, &caller, operation, &problems)).collect()
    });
    checking.await.map_err(|error| {
        tracing::error!(error = %error, "looking into a manifest failed");
        Refusal::Unavailable
    })
}

fn check_one(graph: &Graph, checker: &Checker, caller: &Caller, listed: &Listed, problems: &[&str]) -> Checked {
    let mut found = Checked {
        id: listed.id.clone(),
        name: listed.name.clone(),
        kind: listed.kind.clone(),
        cost: 0,
        scopes: Vec::new(),
        problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
    };
    // What is too large or stands twice is not looked into.
    if !found.problems.is_empty() {
        return found;
    }
    let roots = match graph.read(&listed.body) {
        Ok(roots) => roots,
        Err(error) => {
            found.problems.push(error.to_string());
            return found;
        }
    };
    let kind = roots.kind.to_string();
    if listed.kind.as_ref().is_some_and(|listed| *listed != kind) {
        found.problems.push(format!("the operation is a {kind}"));
    }
    if listed.name.is_some() && listed.name != roots.name {
        found.problems.push("the operation has another name".to_owned());
    }
    found.kind = Some(kind);
    found.name.clone_from(&roots.name);
    found.scopes = roots.scopes().into_iter().map(str::to_owned).collect();
    match planning::check(checker, &listed.body) {
        Ok(cost) => found.cost = cost,
        Err(problems) => found.problems.extend(problems),
    }
    for (field, needed) in roots.fields.iter().filter(|(_, needed)| !needed.is_covered_by(&caller.scopes)) {
        let scopes = if needed.any_of.is_empty() { "*".to_owned() } else { needed.any_of.join(" or ") };
        found.problems.push(format!("{field} needs the scope {scopes}"));
    }
    found
}

async fn register(
    gate: &Gate,
    caller: &Caller,
    about: &About,
    manifest: &Manifest,
    checked: Vec<Checked>,
) -> Result<(StatusCode, Value), Refused> {
    let operations: Vec<Value> = manifest
        .operations
        .iter()
        .zip(&checked)
        .map(|(listed, checked)| {
            json!({
                "id": listed.id, "name": checked.name, "kind": checked.kind, "body": listed.body, "cost": checked.cost,
            })
        })
        .collect();
    let body = json!({
        "partner": &*caller.slug,
        "clientName": about.client,
        "operations": operations,
        "idempotencyKey": about.idempotency_key,
    });
    let authorization = gate.authorization(caller).await?;
    let (status, answer) = gate.accounts.register(&authorization, &body).await?;
    if !status.is_success() {
        // What accounts says of it, in its own words and with its own status.
        let unavailable = status.is_server_error() && answer.is_null();
        return if unavailable { Err(Refusal::Unavailable.into()) } else { Ok((status, answer)) };
    }
    let release = answer.get("release").and_then(Value::as_u64);
    Ok((StatusCode::OK, json!(Report { ok: true, release, operations: checked })))
}
