//! What the mutations do, between what clients send and what they are answered.

pub(crate) mod partners;
pub(crate) mod usage;

use crate::{
    DOMAIN_NAME,
    attempts::Attempt,
    command::RegisterCommand,
    event::{Ended, Fact, ProfileChange, ProfileOutcome, RegisterOutcome, SessionOutcome},
    hasher::Hasher,
    model::{Cell, Email, Password, Preferences, Side, VerificationStatus},
    settings::Settings,
    token::RefreshToken,
    view::{self, AccountView, LoginView},
};
use chrono::{DateTime, NaiveDate, Utc};
use partners::Partners;
use std::sync::Arc;
use usage::Usage;
use velvet_kernel::{
    api::Serve,
    command::{Decision, Intake, request_id},
    fault::{Code, Fault},
    graph::Gender,
    id::UserId,
    identity::{PARTNER_TOKEN_LIFETIME, Signer},
    store::view::Slot,
    time::fresh_id,
};

/// What the resolvers work with.
#[derive(Clone)]
pub(crate) struct Service {
    pub serve: Serve,
    pub settings: Settings,
    pub partners: Partners,
    pub usage: Usage,
    intake: Intake,
    signer: Arc<Signer>,
    hasher: Hasher,
}

/// A registration whose fields are all within their bounds.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub email: Email,
    pub password: Password,
    pub display_name: String,
    pub birth_date: NaiveDate,
    pub gender: Gender,
    pub side: Side,
    pub idempotency_key: Option<String>,
}

/// A session that was just granted.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub access_token: String,
    pub access_expires_at: DateTime<Utc>,
    pub refresh_token: String,
    pub refresh_expires_at: DateTime<Utc>,
    pub account: AccountView,
}

/// What came of a registration.
pub(crate) enum Registered {
    Session(Box<Granted>),
    EmailTaken,
    Pending,
}

/// What came of signing in.
pub(crate) enum SignedIn {
    Session(Box<Granted>),
    Refused,
    TooManyAttempts { retry_after_seconds: u32 },
}

impl Service {
    pub fn new(serve: &Serve, signer: Arc<Signer>) -> anyhow::Result<Self> {
        let (settings, intake) = (Settings::read(&serve.config)?, serve.intake(DOMAIN_NAME));
        let (partners, usage) = (Partners::new(serve), Usage::new(serve));
        Ok(Self { serve: serve.clone(), settings, partners, usage, intake, signer, hasher: Hasher::new()? })
    }

    /// Today, in UTC.
    pub fn today(&self) -> NaiveDate {
        self.serve.clock.now().date_naive()
    }

    /// A user's own account; none when there is no such user.
    pub async fn account(&self, user: UserId) -> Result<Option<AccountView>, Fault> {
        match view::account(&self.serve.store, user).await? {
            Slot::Present(account) => Ok(Some(account)),
            Slot::Removed => Ok(None),
            Slot::Missing => {
                self.serve.absent().await?;
                Ok(None)
            }
        }
    }

    /// Registers, or finds what the same request came to before, and signs in.
    pub async fn register(&self, registration: Registration) -> Result<Registered, Fault> {
        let Registration { email, password, .. } = &registration;
        let key = registration.idempotency_key.as_deref();
        let command_id = request_id(email.normalized(), "register", key, fresh_id());
        let password_hash = self.hasher.hash(password).await?;
        let command = RegisterCommand {
            command_id,
            user_id: UserId(fresh_id()),
            email: email.as_written().to_owned(),
            email_normalized: email.normalized().to_owned(),
            password_hash,
            display_name: registration.display_name.clone(),
            bio: String::new(),
            birth_date: registration.birth_date,
            gender: registration.gender,
            side: registration.side,
            preferences: Preferences::first(self.settings.distance_km_max),
            cell: None,
            last_active_at: None,
            verification_status: VerificationStatus::Unverified,
            created_at: self.serve.clock.now(),
        };
        match self.intake.command(&command.event()).await? {
            Decision::Pending => Ok(Registered::Pending),
            Decision::Decided(RegisterOutcome::EmailTaken) => Ok(Registered::EmailTaken),
            Decision::Decided(RegisterOutcome::Registered { user_id }) => {
                if self.is_own(email, user_id, password, &command.password_hash).await? {
                    Ok(Registered::Session(Box::new(self.start_session(user_id).await?)))
                } else {
                    Ok(Registered::EmailTaken)
                }
            }
        }
    }

    /// Whether who asks knows the password of the account that the registration came to.
    async fn is_own(&self, email: &Email, user: UserId, password: &Password, hash: &str) -> Result<bool, Fault> {
        let Some(login) = self.login_of(&email.digest()).await?.filter(|login| login.user_id == user) else {
            return Ok(false);
        };
        // The hash of this very request is in the account: nothing is left to compare.
        if login.password_hash == hash {
            return Ok(true);
        }
        // A repeat is an attempt on the password like any other.
        let attempt = Attempt::new(&self.settings, &email.digest(), None);
        if let Err(seconds) = attempt.count(&self.serve.store).await? {
            return Err(Fault::new(Code::RateLimited, "too many attempts on this account").retry_after(seconds));
        }
        let own = self.hasher.verify(Some(password.clone()), Some(&login.password_hash)).await?;
        if own {
            attempt.forgive(&self.serve.store).await?;
        }
        Ok(own)
    }

    /// Signs in by address and password.
    pub async fn sign_in(&self, email: &str, password: &str, address: Option<&str>) -> Result<SignedIn, Fault> {
        // What is no address is nobody's: it is counted and refused like an unknown one.
        let digest = Email::parse(email).map_or_else(|_| Email::digest_of_stored(email), |email| email.digest());
        let attempt = Attempt::new(&self.settings, &digest, address);
        if let Err(retry_after_seconds) = attempt.count(&self.serve.store).await? {
            return Ok(SignedIn::TooManyAttempts { retry_after_seconds });
        }
        let known = self.known_by(&digest, password).await;
        // Only a wrong password is held against anyone; a fault of ours is not.
        if !matches!(known, Ok(None)) {
            attempt.forgive(&self.serve.store).await?;
        }
        match known? {
            Some(user) => Ok(SignedIn::Session(Box::new(self.start_session(user).await?))),
            None => Ok(SignedIn::Refused),
        }
    }

    /// Whose address and password these are.
    async fn known_by(&self, email_digest: &str, password: &str) -> Result<Option<UserId>, Fault> {
        let login = self.login_of(email_digest).await?;
        let hash = login.as_ref().map(|login| login.password_hash.as_str());
        let right = self.hasher.verify(Password::attempt(password), hash).await?;
        Ok(login.filter(|_| right).map(|login| login.user_id))
    }

    async fn login_of(&self, email_digest: &str) -> Result<Option<LoginView>, Fault> {
        match view::login(&self.serve.store, email_digest).await? {
            Slot::Present(login) => Ok(Some(login)),
            Slot::Removed => Ok(None),
            Slot::Missing => {
                self.serve.absent().await?;
                Ok(None)
            }
        }
    }

    async fn start_session(&self, user: UserId) -> Result<Granted, Fault> {
        let token = RefreshToken::fresh(user, fresh_id());
        let fact = Fact::SessionStarted { family_id: token.family_id, token_hash: token.hash() };
        match self.submit(user, &fact).await? {
            SessionOutcome::Granted { expires_at } => self.grant(&token, expires_at).await,
            SessionOutcome::Refused => {
                tracing::error!(user.id = %user, "session.start_refused");
                Err(Fault::internal())
            }
        }
    }

    /// Replaces a refresh token by a fresh one; nothing when it is not good any more.
    pub async fn refresh(&self, text: &str) -> Result<Option<Granted>, Fault> {
        let Some(presented) = self.possible(text).await? else {
            return Ok(None);
        };
        let next = RefreshToken::fresh(presented.user, presented.family_id);
        let fact = Fact::SessionRotated {
            family_id: presented.family_id,
            presented_hash: presented.hash(),
            next_hash: next.hash(),
        };
        match self.submit(presented.user, &fact).await? {
            SessionOutcome::Granted { expires_at } => self.grant(&next, expires_at).await.map(Some),
            SessionOutcome::Refused => Ok(None),
        }
    }

    /// Ends the session of a refresh token, if there is one.
    pub async fn sign_out(&self, text: &str) -> Result<(), Fault> {
        if let Some(token) = self.possible(text).await? {
            let Ended = self.submit(token.user, &Fact::SessionEnded { family_id: token.family_id }).await?;
        }
        Ok(())
    }

    /// A token that may be good: what is surely not should cost no place in the log.
    async fn possible(&self, text: &str) -> Result<Option<RefreshToken>, Fault> {
        let Some(token) = RefreshToken::parse(text) else {
            return Ok(None);
        };
        if view::is_session_on(&self.serve.store, token.user, token.family_id).await? {
            return Ok(Some(token));
        }
        self.serve.absent().await?;
        Ok(None)
    }

    async fn grant(&self, token: &RefreshToken, refresh_expires_at: DateTime<Utc>) -> Result<Granted, Fault> {
        let Some(account) = self.account(token.user).await? else {
            tracing::error!(user.id = %token.user, "session.account_missing");
            return Err(Fault::internal());
        };
        let signed = self.signer.sign(token.user, &account.roles, self.serve.clock.now(), fresh_id());
        let (access_token, access_expires_at) = signed.map_err(|error| {
            tracing::error!(%error, "session.signing_failed");
            Fault::internal()
        })?;
        Ok(Granted { access_token, access_expires_at, refresh_token: token.text(), refresh_expires_at, account })
    }

    /// Changes a profile.
    pub async fn update_profile(&self, user: UserId, change: ProfileChange) -> Result<ProfileOutcome, Fault> {
        self.submit(user, &Fact::ProfileUpdated(change)).await
    }

    /// Says which cell a user is in.
    pub async fn locate(&self, user: UserId, cell: Cell) -> Result<ProfileOutcome, Fault> {
        self.submit(user, &Fact::Located { cell }).await
    }

    /// A token for whom a partner's key lets in, and how long it lasts, in seconds; nothing when the key
    /// is not good.
    pub async fn exchange(&self, key: &str) -> Result<Option<(String, i64)>, Fault> {
        let Some(found) = self.partners.let_in(key).await? else {
            return Ok(None);
        };
        let now = self.serve.clock.now();
        let signed = self.signer.sign_partner(found.partner.user_id, found.access(), now, fresh_id());
        let (token, _) = signed.map_err(|error| {
            tracing::error!(%error, "partner.signing_failed");
            Fault::internal()
        })?;
        Ok(Some((token, PARTNER_TOKEN_LIFETIME.num_seconds())))
    }

    async fn submit<T: serde::de::DeserializeOwned>(&self, user: UserId, fact: &Fact) -> Result<T, Fault> {
        let event = fact.event(fresh_id(), user.to_string(), self.serve.clock.now());
        self.intake.submit(&event).await
    }
}
