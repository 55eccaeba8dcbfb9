//! What operators do about people's rights and about partners, with the server's configuration.

use crate::{
    DOMAIN_NAME,
    event::{Fact, PartnerOutcome, ProfileOutcome},
    model::{self, Email, KeyMode, Limits, Slug},
    service::partners::{Actor, Asked, KeyWanted, Keyed, Partners},
    view,
};
use anyhow::{Context as _, anyhow, bail};
use velvet_kernel::{api::Serve, fault::Fault, id::UserId, identity::Role, store::view::Slot, time::fresh_id};

/// A key that an operator makes.
#[derive(Debug, Clone)]
pub struct NewPartnerKey<'a> {
    /// The partner's slug.
    pub partner: &'a str,
    /// `test` or `live`.
    pub mode: &'a str,
    /// What it lets in to.
    pub scopes: &'a [String],
    /// Whether requests must be signed.
    pub require_signature: bool,
}

fn said(fault: &Fault) -> anyhow::Error {
    anyhow!("{}: {}", fault.code().as_str(), fault.message())
}

async fn user_of(serve: &Serve, email: &str) -> anyhow::Result<UserId> {
    let email = Email::parse(email).map_err(|problem| anyhow!("the address {problem}"))?;
    match view::login(&serve.store, &email.digest()).await.context("reading the account")? {
        Slot::Present(login) => Ok(login.user_id),
        Slot::Missing | Slot::Removed => bail!("nobody is registered under this address"),
    }
}

/// Gives a user staff rights (`ADMIN`, `MODERATOR`) or takes them, and waits until it stands. Tokens
/// that are out keep what they say until they end.
pub async fn set_role(serve: &Serve, email: &str, role: &str, held: bool) -> anyhow::Result<()> {
    let role = Role::parse(role).with_context(|| format!("the role is ADMIN or MODERATOR, not {role}"))?;
    let user = user_of(serve, email).await?;
    let fact = Fact::RoleSet { role, held }.event(fresh_id(), user.to_string(), serve.clock.now());
    match serve.intake(DOMAIN_NAME).submit(&fact).await.map_err(|fault| said(&fault))? {
        ProfileOutcome::Changed => Ok(()),
        ProfileOutcome::NoAccount | ProfileOutcome::AgesCrossed => bail!("there is no user {user}"),
    }
}

/// Makes a partner with the usual limits, whose service account is the user of this address.
pub async fn create_partner(serve: &Serve, slug: &str, name: &str, email: &str) -> anyhow::Result<()> {
    let slug = Slug::parse(slug).map_err(|problem| anyhow!("the slug {problem}"))?;
    let name = model::partner_name(name).map_err(|problem| anyhow!("the name {problem}"))?;
    let user = user_of(serve, email).await?;
    let asked = Asked { slug: &slug, by: &Actor::Operator, idempotency_key: None };
    let created = Partners::new(serve).create(asked, name, user, Limits::default()).await;
    match created.map_err(|fault| said(&fault))? {
        PartnerOutcome::Done => Ok(()),
        PartnerOutcome::Exists => bail!("there is a partner {slug}"),
        other => bail!("making the partner {slug} came to {other:?}"),
    }
}

/// Makes a key and answers with it: the only time that it is shown.
pub async fn create_partner_key(serve: &Serve, key: NewPartnerKey<'_>) -> anyhow::Result<String> {
    let slug = Slug::parse(key.partner).map_err(|problem| anyhow!("the slug {problem}"))?;
    let mode = KeyMode::parse(key.mode).with_context(|| format!("the mode is test or live, not {}", key.mode))?;
    let scopes = model::scopes(key.scopes).map_err(|problem| anyhow!("the scopes: {problem}"))?;
    let wanted = KeyWanted { mode, scopes, require_signature: key.require_signature, expires_at: None };
    let asked = Asked { slug: &slug, by: &Actor::Operator, idempotency_key: None };
    match Partners::new(serve).create_key(asked, wanted).await.map_err(|fault| said(&fault))? {
        Keyed::Made(key) => key.secret.context("the key was made before"),
        Keyed::NoPartner | Keyed::NoKey => bail!("there is no partner {slug}"),
        Keyed::TooMany => bail!("the partner {slug} has as many keys as it may"),
    }
}
