//! What operators find out about people. There is no public mutation for it.

use crate::{
    DOMAIN_NAME,
    event::{Fact, ProfileOutcome},
    model::VerificationStatus,
    view,
};
use anyhow::{Context as _, bail};
use velvet_kernel::{api::Serve, id::UserId, store::view::Slot, time::fresh_id};

/// Sets a user's status (`unverified`, `pending`, `verified` or `rejected`) and waits until it stands.
pub async fn set_verification(serve: &Serve, user: UserId, status: &str) -> anyhow::Result<()> {
    let Some(status) = VerificationStatus::parse(status) else {
        bail!("the status is unverified, pending, verified or rejected, not {status}");
    };
    // A fact about somebody who is not there would leave an entity behind that stands for nobody.
    if !matches!(view::account(&serve.store, user).await.context("reading the account")?, Slot::Present(_)) {
        bail!("there is no user {user}");
    }
    let fact = Fact::Verified { status }.event(fresh_id(), user.to_string(), serve.clock.now());
    let outcome = serve.intake(DOMAIN_NAME).submit::<ProfileOutcome>(&fact).await;
    match outcome.map_err(|fault| anyhow::anyhow!("setting the status of {user}: {}", fault.code().as_str()))? {
        ProfileOutcome::Changed => Ok(()),
        ProfileOutcome::NoAccount | ProfileOutcome::AgesCrossed => bail!("there is no user {user}"),
    }
}
