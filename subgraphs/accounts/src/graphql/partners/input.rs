//! What is asked of partners, and how it becomes values: all problems of an input at once.

use crate::{
    event::PartnerUpdate,
    model::{self, KeyMode, Limits, LimitsChange, Slug},
    service::partners::{KeyWanted, OVERLAP_DEFAULT, OVERLAP_MAX},
};
use async_graphql::{ID, InputObject};
use chrono::{DateTime, Utc};
use velvet_kernel::{
    graph::{InputInvalid, Problems},
    id::UserId,
};

/// What of the limits is set; what is absent or null stays, or is the usual.
#[derive(InputObject)]
pub(crate) struct PartnerLimitsInput {
    /// Requests in a second, in the long run: 1 to 10,000; 50 unless set.
    requests_per_second: Option<u32>,
    /// Requests at once: 1 to 20,000; 100 unless set.
    burst: Option<u32>,
    /// The sum of operations' costs in a minute: 1 to 100,000,000; 60,000 unless set.
    cost_per_minute: Option<u32>,
    /// Requests in a calendar month: 1 to 2,000,000,000; 10,000,000 unless set.
    monthly_quota: Option<u64>,
}

fn limits(input: Option<PartnerLimitsInput>, problems: &mut Problems) -> LimitsChange {
    let change = input.map_or_else(LimitsChange::default, |input| LimitsChange {
        requests_per_second: input.requests_per_second,
        burst: input.burst,
        cost_per_minute: input.cost_per_minute,
        monthly_quota: input.monthly_quota,
    });
    change.check("limits", problems);
    change
}

fn slug(text: &str, problems: &mut Problems) -> Option<Slug> {
    problems.check("slug", Slug::parse(text))
}

fn idempotency_key(key: Option<&str>, problems: &mut Problems) {
    if let Some(key) = key {
        problems.check("idempotencyKey", model::idempotency_key(key));
    }
}

fn ends_later(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>, problems: &mut Problems) {
    if expires_at.is_some_and(|ends| ends <= now) {
        problems.add("expiresAt", "must be later than now");
    }
}

/// Asks for a partner.
#[derive(InputObject)]
pub(crate) struct CreatePartnerInput {
    /// Its short name, for good: 3 to 32 of a-z, 0-9 and -.
    slug: String,
    /// What people call it: 1 to 80 characters.
    name: String,
    /// The service account: the user as whom its calls act when no user's token comes along.
    user_id: ID,
    /// How much it may ask for.
    limits: Option<PartnerLimitsInput>,
    /// Names the request, so that a repeat is the same one: 1 to 128 characters.
    pub idempotency_key: Option<String>,
}

/// A partner that is asked for; no user when the id is none.
pub(crate) struct PartnerWanted {
    pub slug: Slug,
    pub name: String,
    pub user_id: Option<UserId>,
    pub limits: Limits,
}

impl CreatePartnerInput {
    pub fn parse(&mut self) -> Result<PartnerWanted, InputInvalid> {
        let mut problems = Problems::default();
        let slug = slug(&self.slug, &mut problems);
        let name = problems.check("name", model::partner_name(&self.name));
        let limits = limits(self.limits.take(), &mut problems).applied(&Limits::default());
        idempotency_key(self.idempotency_key.as_deref(), &mut problems);
        match (slug, name) {
            (Some(slug), Some(name)) if problems.is_empty() => {
                Ok(PartnerWanted { slug, name, user_id: UserId::parse(&self.user_id), limits })
            }
            _ => Err(problems.into()),
        }
    }
}

/// What of a partner changes; what is absent or null stays.
#[derive(InputObject)]
pub(crate) struct UpdatePartnerInput {
    /// The partner.
    slug: String,
    /// What people call it: 1 to 80 characters.
    name: Option<String>,
    /// Its service account.
    pub user_id: Option<ID>,
    /// How much it may ask for.
    limits: Option<PartnerLimitsInput>,
    /// Whether it is shut out: its keys let nobody in from now on.
    disabled: Option<bool>,
}

impl UpdatePartnerInput {
    pub fn parse(self) -> Result<(Slug, PartnerUpdate), InputInvalid> {
        let mut problems = Problems::default();
        let slug = slug(&self.slug, &mut problems);
        let name = self.name.as_deref().and_then(|name| problems.check("name", model::partner_name(name)));
        let user_id = self.user_id.as_ref().and_then(|id| UserId::parse(id));
        let limits = limits(self.limits, &mut problems);
        match slug {
            Some(slug) if problems.is_empty() => {
                Ok((slug, PartnerUpdate { name, user_id, limits, disabled: self.disabled }))
            }
            _ => Err(problems.into()),
        }
    }
}

/// Asks for a key.
#[derive(InputObject)]
pub(crate) struct CreatePartnerKeyInput {
    /// The partner.
    slug: String,
    /// What it is made for.
    mode: KeyMode,
    /// What it lets in to, 1 to 32 of `<subgraph>:<query|mutation|subscription>`, or `*` for everything.
    scopes: Vec<String>,
    /// Whether requests must be signed.
    #[graphql(default = false)]
    require_signature: bool,
    /// When it ends; it does not unless this is set.
    expires_at: Option<DateTime<Utc>>,
    /// Names the request, so that a repeat is the same one: 1 to 128 characters.
    pub idempotency_key: Option<String>,
}

impl CreatePartnerKeyInput {
    pub fn parse(&self, now: DateTime<Utc>) -> Result<(Slug, KeyWanted), InputInvalid> {
        let mut problems = Problems::default();
        let slug = slug(&self.slug, &mut problems);
        let scopes = problems.check("scopes", model::scopes(&self.scopes));
        ends_later(self.expires_at, now, &mut problems);
        idempotency_key(self.idempotency_key.as_deref(), &mut problems);
        match (slug, scopes) {
            (Some(slug), Some(scopes)) if problems.is_empty() => {
                let Self { mode, require_signature, expires_at, .. } = *self;
                Ok((slug, KeyWanted { mode, scopes, require_signature, expires_at }))
            }
            _ => Err(problems.into()),
        }
    }
}

/// Replaces a key by another with the same mode and scopes.
#[derive(InputObject)]
pub(crate) struct RotatePartnerKeyInput {
    /// The partner.
    slug: String,
    /// The key that is to end.
    pub prefix: String,
    /// How long it is good beside the new one, in seconds: 0 to 2,592,000 (30 days); a day unless set.
    overlap_seconds: Option<u32>,
    /// When the new one ends; it does not unless this is set.
    pub expires_at: Option<DateTime<Utc>>,
    /// Names the request, so that a repeat is the same one: 1 to 128 characters.
    pub idempotency_key: Option<String>,
}

impl RotatePartnerKeyInput {
    pub fn parse(&self, now: DateTime<Utc>) -> Result<(Slug, u32), InputInvalid> {
        let mut problems = Problems::default();
        let slug = slug(&self.slug, &mut problems);
        let seconds = |time: chrono::TimeDelta| u32::try_from(time.num_seconds()).unwrap_or_default();
        let overlap_s = self.overlap_seconds.unwrap_or(seconds(OVERLAP_DEFAULT));
        if overlap_s > seconds(OVERLAP_MAX) {
            problems.add("overlapSeconds", "must be 0 to 2592000");
        }
        ends_later(self.expires_at, now, &mut problems);
        idempotency_key(self.idempotency_key.as_deref(), &mut problems);
        match slug {
            Some(slug) if problems.is_empty() => Ok((slug, overlap_s)),
            _ => Err(problems.into()),
        }
    }
}

/// Ends a key at once.
#[derive(InputObject)]
pub(crate) struct RevokePartnerKeyInput {
    /// The partner.
    pub slug: String,
    /// The key.
    pub prefix: String,
}

/// Ends an operation at once.
#[derive(InputObject)]
pub(crate) struct RetireOperationInput {
    /// The partner.
    pub slug: String,
    /// The operation.
    pub id: String,
}
