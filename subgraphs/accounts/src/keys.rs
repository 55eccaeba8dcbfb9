//! The public keys, for whoever verifies access tokens.

use axum::{Json, Router, http::header::CACHE_CONTROL, routing::get};
use std::sync::Arc;
use velvet_kernel::identity::Signer;

/// A key that was added signs at once, so verifiers should not hold on to a set for long; they ask
/// again by themselves when they meet a key that they do not know.
const CACHE: &str = "public, max-age=60";

/// `/.well-known/jwks.json`.
pub fn routes(signer: Arc<Signer>) -> Router {
    let keys = move || async move { ([(CACHE_CONTROL, CACHE)], Json(signer.public_keys().clone())) };
    Router::new().route("/.well-known/jwks.json", get(keys))
}
