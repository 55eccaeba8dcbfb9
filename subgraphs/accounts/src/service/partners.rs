//! What is done with partners: for the graph, the HTTP routes and operators' commands.

use crate::{
    DOMAIN_NAME,
    event::{Fact, NewKey, NewOperation, PartnerChange, PartnerFact, PartnerOutcome, PartnerUpdate, Replacement},
    model::{KeyMode, Limits, PartnerId, Scope, Slug},
    partner_key::PartnerKey,
    row::Operation,
    view::{
        self,
        partners::{self as views, KeyView, PartnerView, RegisteredKey, RegisteredPartner},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;
use velvet_kernel::{
    api::Serve,
    command::{Intake, request_id},
    fault::Fault,
    id::UserId,
    identity::{PartnerAccess, Role, Viewer},
    store::{Store, view::Slot},
    telemetry,
    time::fresh_id,
};

/// The longest fact that publishes, in bytes: brokers take records of a megabyte.
const PUBLISHED_SIZE_MAX_BYTES: usize = 900_000;

/// Who does something with a partner, as the audit has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Somebody who runs the platform.
    Admin(UserId),
    /// The partner itself, by the key of this prefix.
    Key(String),
    /// Somebody with the server's configuration.
    Operator,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Admin(user) => write!(f, "user:{user}"),
            Self::Key(prefix) => write!(f, "key:{prefix}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

/// One change of a partner that somebody asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    /// Of which partner.
    pub slug: &'a Slug,
    /// Who asks.
    pub by: &'a Actor,
    /// The client's name for the request, if it has one.
    pub idempotency_key: Option<&'a str>,
}

/// A key that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct KeyWanted {
    pub mode: KeyMode,
    pub scopes: Vec<Scope>,
    pub require_signature: bool,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key that is there.
#[derive(Debug)]
pub(crate) struct KeyMade {
    pub key: KeyView,
    /// The key itself: for the request that made it, never for a repeat.
    pub secret: Option<String>,
}

/// What came of asking for a key.
#[derive(Debug)]
pub(crate) enum Keyed {
    Made(Box<KeyMade>),
    NoPartner,
    NoKey,
    TooMany,
}

/// A key that lets in.
#[derive(Debug)]
pub(crate) struct LetIn {
    pub partner: RegisteredPartner,
    pub key: RegisteredKey,
}

impl LetIn {
    /// What the partner's token says.
    pub fn access(&self) -> PartnerAccess {
        PartnerAccess {
            partner: self.partner.id.0,
            key: self.key.prefix.clone(),
            scopes: self.key.scopes.iter().map(|scope| scope.0.clone()).collect(),
        }
    }
}

/// Partners, from the API's side.
#[derive(Clone)]
pub(crate) struct Partners {
    serve: Serve,
    intake: Intake,
}

impl Partners {
    pub fn new(serve: &Serve) -> Self {
        Self { serve: serve.clone(), intake: serve.intake(DOMAIN_NAME) }
    }

    pub fn store(&self) -> &Store {
        &self.serve.store
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.serve.clock.now()
    }

    /// Whether there is an account of this id.
    pub async fn is_user(&self, user: UserId) -> Result<bool, Fault> {
        let found = view::account(self.store(), user).await?;
        if found == Slot::Missing {
            self.serve.absent().await?;
        }
        Ok(matches!(found, Slot::Present(_)))
    }

    /// A partner.
    pub async fn partner(&self, slug: &Slug) -> Result<Option<PartnerView>, Fault> {
        let found = views::partner(self.store(), slug).await?;
        if found.is_none() {
            self.serve.absent().await?;
        }
        Ok(found)
    }

    /// A key of a partner.
    pub async fn key(&self, slug: &Slug, prefix: &str) -> Result<Option<KeyView>, Fault> {
        let found = views::key(self.store(), slug, prefix).await?;
        if found.is_none() {
            self.serve.absent().await?;
        }
        Ok(found)
    }

    /// An operation with its body.
    pub async fn operation(&self, slug: &Slug, id: &str) -> Result<Option<(Operation, String)>, Fault> {
        let found = views::operation(self.store(), slug, id).await?;
        if found.is_none() {
            self.serve.absent().await?;
        }
        Ok(found.map(|(about, stored)| (about, stored.body)))
    }

    pub async fn create(
        &self,
        asked: Asked<'_>,
        name: String,
        user_id: UserId,
        limits: Limits,
    ) -> Result<PartnerOutcome, Fault> {
        self.submit("createPartner", asked, PartnerChange::Created { name, user_id, limits }).await
    }

    pub async fn update(&self, asked: Asked<'_>, update: PartnerUpdate) -> Result<PartnerOutcome, Fault> {
        self.submit("updatePartner", asked, PartnerChange::Updated(update)).await
    }

    pub async fn create_key(&self, asked: Asked<'_>, wanted: KeyWanted) -> Result<Keyed, Fault> {
        let secret = PartnerKey::fresh(wanted.mode);
        let KeyWanted { mode, scopes, require_signature, expires_at } = wanted;
        let (prefix, hash) = (secret.prefix.clone(), secret.hash());
        let key = NewKey { prefix, hash, mode, scopes, require_signature, expires_at };
        let slug = asked.slug;
        let outcome = self.submit("createPartnerKey", asked, PartnerChange::KeyCreated(key)).await?;
        self.keyed(slug, outcome, Some(&secret)).await
    }

    pub async fn rotate_key(
        &self,
        asked: Asked<'_>,
        prefix: &str,
        overlap_s: u32,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Keyed, Fault> {
        let slug = asked.slug;
        let Some(old) = self.key(slug, prefix).await? else {
            return Ok(Keyed::NoKey);
        };
        let secret = PartnerKey::fresh(old.mode);
        let replacement = Replacement { prefix: secret.prefix.clone(), hash: secret.hash(), expires_at };
        let change = PartnerChange::KeyRotated { prefix: prefix.to_owned(), replacement, overlap_s };
        let outcome = self.submit("rotatePartnerKey", asked, change).await?;
        self.keyed(slug, outcome, Some(&secret)).await
    }

    pub async fn revoke_key(&self, asked: Asked<'_>, prefix: &str) -> Result<Keyed, Fault> {
        let slug = asked.slug;
        if self.key(slug, prefix).await?.is_none() {
            return Ok(Keyed::NoKey);
        }
        let change = PartnerChange::KeyRevoked { prefix: prefix.to_owned() };
        let outcome = self.submit("revokePartnerKey", asked, change).await?;
        self.keyed(slug, outcome, None).await
    }

    async fn keyed(&self, slug: &Slug, outcome: PartnerOutcome, secret: Option<&PartnerKey>) -> Result<Keyed, Fault> {
        match outcome {
            PartnerOutcome::Key { prefix } => {
                let key = self.key(slug, &prefix).await?.ok_or_else(Fault::unavailable)?;
                // A repeat finds the key that the first request made, and nobody has its secret any more.
                let secret = secret.filter(|secret| secret.prefix == prefix).map(|secret| secret.text().to_owned());
                Ok(Keyed::Made(Box::new(KeyMade { key, secret })))
            }
            PartnerOutcome::NotFound => Ok(Keyed::NoPartner),
            PartnerOutcome::KeyNotFound => Ok(Keyed::NoKey),
            PartnerOutcome::TooManyKeys => Ok(Keyed::TooMany),
            other => Err(unexpected(&other)),
        }
    }

    /// Publishes operations, all of them or none; nothing when they are too long for one fact.
    pub async fn publish(
        &self,
        asked: Asked<'_>,
        client_name: String,
        operations: Vec<NewOperation>,
    ) -> Result<Option<PartnerOutcome>, Fault> {
        let change = PartnerChange::Published { client_name, operations };
        if serde_json::to_vec(&change).map_or(usize::MAX, |json| json.len()) > PUBLISHED_SIZE_MAX_BYTES {
            return Ok(None);
        }
        self.submit("publishOperations", asked, change).await.map(Some)
    }

    /// Retires an operation; answers with it as it is then.
    pub async fn retire(&self, asked: Asked<'_>, id: &str) -> Result<Option<Operation>, Fault> {
        let slug = asked.slug;
        let Some((_, body)) = self.operation(slug, id).await? else {
            return Ok(None);
        };
        let change = PartnerChange::OperationRetired { id: id.to_owned(), body };
        match self.submit("retireOperation", asked, change).await? {
            PartnerOutcome::Done => Ok(self.operation(slug, id).await?.map(|(about, _)| about)),
            PartnerOutcome::NotFound | PartnerOutcome::OperationNotFound => Ok(None),
            other => Err(unexpected(&other)),
        }
    }

    async fn submit(&self, operation: &str, asked: Asked<'_>, change: PartnerChange) -> Result<PartnerOutcome, Fault> {
        let Asked { slug, by, idempotency_key } = asked;
        // A fact about a partner that is not there would leave an entity behind that stands for nobody.
        let creates = matches!(change, PartnerChange::Created { .. });
        if !creates && self.partner(slug).await?.is_none() {
            return Ok(PartnerOutcome::NotFound);
        }
        // Who asks is part of the request's name: nobody gets the answer to somebody else's.
        let (entity, by) = (slug.entity(), by.to_string());
        let id: Uuid = request_id(&format!("{by}@{entity}"), operation, idempotency_key, fresh_id());
        let fact = Fact::Partner(Box::new(PartnerFact { by, change }));
        self.intake.submit(&fact.event(id, entity, self.now())).await
    }

    /// Whom a key lets in; nothing when it is unknown, over, revoked, or its partner is shut out.
    pub async fn let_in(&self, text: &str) -> Result<Option<LetIn>, Fault> {
        let Some(presented) = PartnerKey::parse(text) else {
            return Ok(None);
        };
        let found = self.good_key(&presented.prefix).await?;
        let Some(found) = found.filter(|found| found.key.hash == presented.hash()) else {
            return Ok(None);
        };
        // It is there for people to look at; nobody is refused because it could not be noted.
        if let Err(error) = views::note_use(self.store(), &presented.prefix, self.now()).await {
            tracing::warn!(error = %telemetry::chain(&error), "partner.use_not_noted");
        }
        Ok(Some(found))
    }

    async fn good_key(&self, prefix: &str) -> Result<Option<LetIn>, Fault> {
        let Some(key) = views::registered_key(self.store(), prefix).await? else {
            self.serve.absent().await?;
            return Ok(None);
        };
        let over = key.revoked_at.is_some() || key.expires_at.is_some_and(|ends| ends <= self.now());
        let Some(partner) = views::registered_partner(self.store(), key.partner_id).await? else {
            self.serve.absent().await?;
            return Ok(None);
        };
        Ok((!over && !partner.disabled).then_some(LetIn { partner, key }))
    }

    /// Who may change a partner's operations: whoever runs the platform, and the partner itself.
    pub async fn actor(&self, viewer: &Viewer, slug: &Slug) -> Result<Actor, Fault> {
        match &viewer.partner {
            None if viewer.roles.contains(&Role::Admin) => Ok(Actor::Admin(viewer.id)),
            None => Err(Fault::forbidden()),
            Some(access) if PartnerId(access.partner) != slug.id() => Err(Fault::forbidden()),
            // The token may outlive its key by a few minutes.
            Some(access) => match self.good_key(&access.key).await? {
                Some(_) => Ok(Actor::Key(access.key.clone())),
                None => Err(Fault::unauthenticated()),
            },
        }
    }
}

/// An outcome that the fold does not give to such a fact.
pub(crate) fn unexpected(outcome: &PartnerOutcome) -> Fault {
    tracing::error!(?outcome, "partner.unexpected_outcome");
    Fault::internal()
}

/// How long an old key goes on beside the one that replaces it, unless the caller says otherwise.
pub(crate) const OVERLAP_DEFAULT: TimeDelta = TimeDelta::hours(24);
/// The longest overlap.
pub(crate) const OVERLAP_MAX: TimeDelta = TimeDelta::days(30);
