//! What the router asks of the accounts subgraph besides GraphQL: tokens for keys, and the registration of operations.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::Caller;
use super::config::PartnersConfig;
use super::refusal::Refusal;
use crate::plugins::UNUSED_MAX;

/// A token is not used in its last minute: a call that has just started must not end in a refusal.
const MARGIN: Duration = Duration::from_mins(1);
/// After a failure, callers of the same key are told so for a moment instead of each waiting for another.
const FAILURE_MEMORY: Duration = Duration::from_millis(500);
/// More than any answer of these addresses.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("accounts was not asked")]
    Transport(#[from] reqwest::Error),
    #[error("the answer of accounts is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer of accounts does not parse")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exchanged {
    token: String,
    expires_in: u64,
}

/// What was last said about one key.
enum Known {
    Token { authorization: Arc<str>, until: Instant },
    Refused { refusal: Refusal, until: Instant },
}

/// One key's place; its lock lets one exchange at a time through.
type Place = Arc<tokio::sync::Mutex<Option<Known>>>;

pub(super) struct Accounts {
    client: reqwest::Client,
    token_url: String,
    operations_url: String,
    /// By prefix. Only keys that were found good get a place.
    tokens: Mutex<HashMap<Arc<str>, Place>>,
}

impl Accounts {
    pub(super) fn new(config: &PartnersConfig) -> Result<Self, reqwest::Error> {
        let base = config.accounts_url.trim_end_matches('/');
        let timeout = Duration::from_millis(config.accounts_timeout_ms);
        Ok(Self {
            client: reqwest::Client::builder().timeout(timeout).pool_idle_timeout(UNUSED_MAX).build()?,
            token_url: format!("{base}/accounts/partners/token"),
            operations_url: format!("{base}/accounts/partners/operations"),
            tokens: Mutex::default(),
        })
    }

    /// The value of an `Authorization` header in the partner's own name.
    pub(super) async fn authorization(&self, caller: &Caller) -> Result<Arc<str>, Refusal> {
        let place = Arc::clone(self.tokens.lock().entry(Arc::clone(&caller.prefix)).or_default());
        let mut known = place.lock().await;
        let now = Instant::now();
        match &*known {
            Some(Known::Token { authorization, until }) if *until > now => return Ok(Arc::clone(authorization)),
            Some(Known::Refused { refusal, until }) if *until > now => return Err(*refusal),
            _ => {}
        }
        let exchanged = self.exchange(&caller.key).await;
        *known = Some(match &exchanged {
            Ok((authorization, lifetime)) => {
                Known::Token { authorization: Arc::clone(authorization), until: now + *lifetime }
            }
            Err(refusal) => Known::Refused { refusal: *refusal, until: Instant::now() + FAILURE_MEMORY },
        });
        exchanged.map(|(authorization, _)| authorization)
    }

    async fn exchange(&self, key: &str) -> Result<(Arc<str>, Duration), Refusal> {
        let request = self.client.post(&self.token_url).json(&json!({ "key": key }));
        match read(request).await {
            Ok((StatusCode::OK, body)) => match serde_json::from_value::<Exchanged>(body) {
                Ok(Exchanged { token, expires_in }) => {
                    let lifetime = Duration::from_secs(expires_in);
                    // A token that is shorter than two minutes is used for half of its life.
                    let used = lifetime.saturating_sub(MARGIN).max(lifetime / 2);
                    Ok((format!("Bearer {token}").into(), used))
                }
                Err(error) => {
                    tracing::error!(error = %error, "the token of a partner does not parse");
                    Err(Refusal::Unavailable)
                }
            },
            Ok((StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _)) => Err(Refusal::Key),
            Ok((status, _)) => {
                tracing::warn!(http.status = status.as_u16(), "no token for a partner");
                Err(Refusal::Unavailable)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no token for a partner");
                Err(Refusal::Unavailable)
            }
        }
    }

    /// Registers operations in the partner's name; the answer is that of accounts.
    pub(super) async fn register(&self, authorization: &str, body: &Value) -> Result<(StatusCode, Value), Refusal> {
        let request = self.client.post(&self.operations_url).header("authorization", authorization).json(body);
        read(request).await.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "operations not registered");
            Refusal::Unavailable
        })
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), Error> {
    let mut response = request.send().await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    if !response.status().is_success() {
        return Ok((response.status(), serde_json::from_slice(&body).unwrap_or_default()));
    }
    Ok((response.status(), serde_json::from_slice(&body)?))
}
