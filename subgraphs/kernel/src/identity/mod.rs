//! Who asks: access tokens, the keys that sign them, and the viewer that a valid one names.

mod jwks;
mod token;

pub use jwks::{Jwk, JwkSet, Verifier, generate_key};
pub use token::{ACCESS_TOKEN_LIFETIME, Claims, PARTNER_TOKEN_LIFETIME, PartnerAccess, Role, Signer};

use crate::{fault::Fault, id::UserId};
use async_graphql::Context;
use chrono::{DateTime, Utc};

/// The signed-in user of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// Who.
    pub id: UserId,
    /// What staff rights they have.
    pub roles: Vec<Role>,
    /// Which partner acts as them, if one does.
    pub partner: Option<PartnerAccess>,
    /// When the token ends.
    pub expires_at: DateTime<Utc>,
}

/// What came of a request's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// No token came.
    Anonymous,
    /// A valid one.
    Viewer(Viewer),
    /// One that is expired, forged or foreign.
    Refused,
}

/// The viewer of a request, or the fault that there is none.
pub fn viewer<'a>(ctx: &Context<'a>) -> Result<&'a Viewer, Fault> {
    match ctx.data_opt::<Caller>() {
        Some(Caller::Viewer(viewer)) => Ok(viewer),
        Some(Caller::Anonymous | Caller::Refused) | None => Err(Fault::unauthenticated()),
    }
}

/// The viewer of a request, or the fault that there is none, or that they do not run the platform.
pub fn admin<'a>(ctx: &Context<'a>) -> Result<&'a Viewer, Fault> {
    let viewer = viewer(ctx)?;
    if viewer.roles.contains(&Role::Admin) { Ok(viewer) } else { Err(Fault::forbidden()) }
}

/// The token of an `Authorization` header or of a socket's `authorization`.
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
