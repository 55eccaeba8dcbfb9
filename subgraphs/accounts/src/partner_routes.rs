//! What the router and partners' tools ask over plain HTTP: a token for a key, a partner's operations, and to have its
//! calls counted.

mod usage;

use crate::{
    event::{NewOperation, PartnerOutcome},
    graphql::Place,
    model::{self, OperationKind, Slug},
    row::Operation,
    service::{
        Service,
        partners::{Actor, Asked, unexpected},
    },
    view::partners as views,
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Query, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use velvet_kernel::{
    fault::{Code, Fault},
    graph::{FieldProblem, InputInvalid, Problems, page_size},
    identity::{Caller, Viewer},
};

/// The largest request: the bodies that one release may have, with room for how JSON writes them.
const REQUEST_SIZE_MAX_BYTES: usize = 1_200_000;
/// Operations of one release.
const OPERATIONS_MAX: usize = 500;
/// The longest body of an operation, in bytes.
const BODY_SIZE_MAX_BYTES: usize = 64 * 1024;
/// All bodies of one release, in bytes.
const BODIES_SIZE_MAX_BYTES: usize = 512 * 1024;
/// Operations on a page, unless the caller says otherwise.
const PAGE_DEFAULT: usize = 50;

/// The routes.
pub(crate) fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/accounts/partners/token", post(token))
        .route("/accounts/partners/operations", get(list).post(publish))
        .route("/accounts/partners/operations/show", get(show))
        .route("/accounts/partners/operations/retire", post(retire))
        .route("/accounts/partners/usage", post(usage::count))
        .layer(DefaultBodyLimit::max(REQUEST_SIZE_MAX_BYTES))
        .with_state(service)
}

/// Why there is no answer, as JSON.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    more: Value,
}

impl Refusal {
    fn conflict(code: &'static str, message: &str, more: Value) -> Self {
        Self { status: StatusCode::CONFLICT, code, message: message.to_owned(), more }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let status = match fault.code() {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::Conflict => StatusCode::CONFLICT,
            Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let message = fault.message().to_owned();
        let more = fault.retry_after_seconds().map_or(json!({}), |seconds| json!({ "retryAfterSeconds": seconds }));
        Self { status, code: fault.code().as_str(), message, more }
    }
}

impl From<InputInvalid> for Refusal {
    fn from(invalid: InputInvalid) -> Self {
        let field = |problem: FieldProblem| json!({ "field": problem.field, "message": problem.message });
        let fields: Vec<Value> = invalid.fields.into_iter().map(field).collect();
        let more = json!({ "fields": fields });
        let code = Code::InvalidArgument.as_str();
        Self { status: StatusCode::BAD_REQUEST, code, message: invalid.reason, more }
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        let message = "the body must be JSON of the stated fields, no longer than a release may be".to_owned();
        Self { status: rejection.status(), code: Code::InvalidArgument.as_str(), message, more: json!({}) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = self.more;
        error["code"] = self.code.into();
        error["message"] = self.message.into();
        (self.status, Json(json!({ "error": error }))).into_response()
    }
}

type Answer = Result<Json<Value>, Refusal>;
type Body<T> = Result<Json<T>, JsonRejection>;

#[derive(Deserialize)]
struct TokenRequest {
    key: String,
}

async fn token(State(service): State<Arc<Service>>, body: Body<TokenRequest>) -> Answer {
    let Json(TokenRequest { key }) = body?;
    match service.exchange(&key).await? {
        Some((token, expires_in)) => Ok(Json(json!({ "token": token, "expiresIn": expires_in }))),
        // Unknown, over, revoked, shut out: one answer, so that nobody learns which keys there are.
        None => Err(Fault::new(Code::Unauthenticated, "the key does not let anybody in").into()),
    }
}

/// Who asks about the operations of a partner.
async fn actor(service: &Service, headers: &HeaderMap, slug: &Slug) -> Result<Actor, Refusal> {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let viewer: Viewer = match service.serve.verifier.caller(authorization).await {
        Caller::Viewer(viewer) => viewer,
        Caller::Anonymous | Caller::Refused => return Err(Fault::unauthenticated().into()),
    };
    Ok(service.partners.actor(&viewer, slug).await?)
}

fn slug_of(partner: &str) -> Result<Slug, Refusal> {
    let mut problems = Problems::default();
    problems.check("partner", Slug::parse(partner)).ok_or_else(|| InputInvalid::from(problems).into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Release {
    partner: String,
    #[serde(default)]
    client_name: Option<String>,
    operations: Vec<NewOperation>,
    #[serde(default)]
    idempotency_key: Option<String>,
}

async fn publish(State(service): State<Arc<Service>>, headers: HeaderMap, body: Body<Release>) -> Answer {
    let Json(release) = body?;
    let slug = slug_of(&release.partner)?;
    let by = actor(&service, &headers, &slug).await?;
    let client_name = release.check()?;
    let asked = Asked { slug: &slug, by: &by, idempotency_key: release.idempotency_key.as_deref() };
    match service.partners.publish(asked, client_name, release.operations).await? {
        Some(PartnerOutcome::Published { release, added, unchanged }) => {
            Ok(Json(json!({ "release": release, "added": added, "unchanged": unchanged })))
        }
        Some(PartnerOutcome::OperationChanged { ids }) => Err(Refusal::conflict(
            "OPERATION_CHANGED",
            "operations are published under these ids with other bodies; nothing was published",
            json!({ "operations": ids }),
        )),
        Some(PartnerOutcome::TooManyOperations) => Err(Refusal::conflict(
            "TOO_MANY_OPERATIONS",
            "the partner would have more operations than it may; retire some; nothing was published",
            json!({}),
        )),
        Some(PartnerOutcome::NotFound) => Err(not_found("there is no such partner")),
        Some(other) => Err(unexpected(&other).into()),
        None => Err(Fault::invalid("the operations are too long for one release").into()),
    }
}

impl Release {
    /// The client's name, if all is within its bounds.
    fn check(&self) -> Result<String, InputInvalid> {
        let mut problems = Problems::default();
        let client = problems.check("clientName", model::client_name(self.client_name.as_deref().unwrap_or_default()));
        if let Some(key) = &self.idempotency_key {
            problems.check("idempotencyKey", model::idempotency_key(key));
        }
        if !(1..=OPERATIONS_MAX).contains(&self.operations.len()) {
            problems.add("operations", "must be 1 to 500 operations");
        }
        if self.operations.iter().map(|operation| operation.body.len()).sum::<usize>() > BODIES_SIZE_MAX_BYTES {
            problems.add("operations", "must have at most 524288 bytes of bodies in all");
        }
        for (index, operation) in self.operations.iter().enumerate().take(OPERATIONS_MAX) {
            let field = |name: &str| format!("operations.{index}.{name}");
            problems.check(&field("id"), model::operation_id(&operation.id));
            problems.check(&field("name"), model::operation_name(&operation.name));
            if !(1..=BODY_SIZE_MAX_BYTES).contains(&operation.body.len()) {
                problems.add(&field("body"), "must have 1 to 65536 bytes");
            }
        }
        match client {
            Some(client) if problems.is_empty() => Ok(client),
            _ => Err(problems.into()),
        }
    }
}

fn not_found(message: &'static str) -> Refusal {
    Fault::new(Code::NotFound, message).into()
}

/// An operation, as partners' tools see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    id: &'a str,
    name: &'a str,
    kind: OperationKind,
    cost: u32,
    client_name: &'a str,
    release: u32,
    published_at: String,
    retired_at: Option<String>,
}

fn listed(operation: &Operation) -> Value {
    let Operation { id, name, kind, cost, client_name, release, .. } = operation;
    let listed = Listed {
        id,
        name,
        kind: *kind,
        cost: *cost,
        client_name,
        release: *release,
        published_at: operation.published_at.to_rfc3339(),
        retired_at: operation.retired_at.map(|at| at.to_rfc3339()),
    };
    serde_json::to_value(listed).unwrap_or_default()
}

#[derive(Deserialize)]
struct Page {
    partner: String,
    first: Option<i32>,
    after: Option<String>,
}

async fn list(State(service): State<Arc<Service>>, headers: HeaderMap, Query(page): Query<Page>) -> Answer {
    let slug = slug_of(&page.partner)?;
    actor(&service, &headers, &slug).await?;
    let first = page_size(page.first, PAGE_DEFAULT)?;
    let after = page.after.as_deref().map(Place::parse).transpose()?;
    let after = after.as_ref().map(Place::as_after);
    let store = service.partners.store();
    let entries = views::operations(store, &slug, after, first + 1).await.map_err(Fault::from)?;
    if entries.is_empty() {
        service.serve.absent().await?;
    }
    let shown = &entries[..entries.len().min(first)];
    let operations: Vec<Value> = shown.iter().map(|entry| listed(&entry.value)).collect();
    let next = shown.last().filter(|_| entries.len() > first).map(|entry| Place::of(entry).text());
    Ok(Json(json!({ "operations": operations, "next": next })))
}

#[derive(Deserialize)]
struct Named {
    partner: String,
    id: String,
}

async fn show(State(service): State<Arc<Service>>, headers: HeaderMap, Query(named): Query<Named>) -> Answer {
    let slug = slug_of(&named.partner)?;
    actor(&service, &headers, &slug).await?;
    let found = service.partners.operation(&slug, &named.id).await?;
    let (operation, body) = found.ok_or_else(|| not_found("there is no such operation"))?;
    let mut shown = listed(&operation);
    shown["body"] = body.into();
    Ok(Json(json!({ "operation": shown })))
}

async fn retire(State(service): State<Arc<Service>>, headers: HeaderMap, body: Body<Named>) -> Answer {
    let Json(named) = body?;
    let slug = slug_of(&named.partner)?;
    let by = actor(&service, &headers, &slug).await?;
    let asked = Asked { slug: &slug, by: &by, idempotency_key: None };
    let retired = service.partners.retire(asked, &named.id).await?;
    let retired = retired.ok_or_else(|| not_found("there is no such operation"))?;
    Ok(Json(json!({ "operation": listed(&retired) })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(operations: Vec<NewOperation>) -> Release {
        Release { partner: "acme".to_owned(), client_name: None, operations, idempotency_key: None }
    }

    fn operation(id: &str, body: String) -> NewOperation {
        NewOperation { id: id.to_owned(), name: "Deck".to_owned(), kind: OperationKind::Query, body, cost: 1 }
    }

    fn fields(release: &Release) -> Vec<String> {
        release.check().unwrap_err().fields.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_release_learns_of_all_its_problems_at_once() {
        assert_eq!(fields(&release(Vec::new())), ["operations"]);
        let odd = release(vec![operation("a b", String::new()), operation("b", "x".repeat(BODY_SIZE_MAX_BYTES + 1))]);
        assert_eq!(fields(&odd), ["operations.0.id", "operations.0.body", "operations.1.body"]);
    }

    #[test]
    fn a_release_has_a_size() {
        let full = |count: usize| {
            release((0..count).map(|n| operation(&n.to_string(), "x".repeat(BODY_SIZE_MAX_BYTES))).collect())
        };
        assert!(full(8).check().is_ok());
        assert_eq!(fields(&full(9)), ["operations"]);
        let many = |count: usize| release((0..count).map(|n| operation(&n.to_string(), "x".to_owned())).collect());
        assert!(many(500).check().is_ok());
        assert_eq!(fields(&many(501)), ["operations"]);
    }
}
