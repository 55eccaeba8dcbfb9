//! Changing accounts.

use super::{
    account::Account,
    input::{LoginInput, LogoutInput, RefreshSessionInput, RegisterInput, SetLocationInput, UpdateProfileInput},
    partners::{
        self, CreatePartnerInput, CreatePartnerKeyInput, CreatePartnerKeyResult, CreatePartnerResult,
        RetireOperationInput, RetireOperationResult, RevokePartnerKeyInput, RevokePartnerKeyResult,
        RotatePartnerKeyInput, RotatePartnerKeyResult, UpdatePartnerInput, UpdatePartnerResult,
    },
    service,
    session::{
        CredentialsRefused, EmailTaken, LoggedOut, LoginResult, LogoutResult, RefreshSessionResult, RegisterResult,
        Session, TooManyAttempts,
    },
};
use crate::{
    event::ProfileOutcome,
    service::{Registered, SignedIn},
};
use async_graphql::{Context, Object, SimpleObject, Union};
use velvet_kernel::{
    api::ClientAddress,
    fault::Fault,
    graph::{InputInvalid, Pending, Problems, annotations::cost},
    identity::{admin, viewer},
};

/// When asking again for an undecided registration is worth it, in seconds.
const PENDING_RETRY_AFTER_S: i32 = 2;

/// What hashing a password costs: as much processor time as some hundred entries read from Redis.
const HASH_WEIGHT: &str = "100";

/// The profile has changed.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
struct ProfileUpdated {
    /// The account after the change.
    account: Account,
}

/// What came of `updateProfile`.
#[derive(Debug, Clone, PartialEq, Eq, Union)]
enum UpdateProfileResult {
    /// The profile has changed.
    ProfileUpdated(Box<ProfileUpdated>),
    /// The input is out of its bounds; nothing has changed.
    InputInvalid(InputInvalid),
}

/// The cell that the viewer is in is known.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
struct LocationSet {
    /// Always true.
    ok: bool,
}

/// What came of `setLocation`.
#[derive(Debug, Clone, PartialEq, Eq, Union)]
enum SetLocationResult {
    /// The cell that the viewer is in is known.
    LocationSet(LocationSet),
    /// The input is out of its bounds; nothing has changed.
    InputInvalid(InputInvalid),
}

/// The root of mutations.
pub(crate) struct Mutation;

#[Object]
impl Mutation {
    /// Makes an account and signs in.
    #[graphql(directive = cost::apply(HASH_WEIGHT.to_owned()))]
    async fn register(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account.")] input: RegisterInput,
    ) -> Result<RegisterResult, Fault> {
        let service = service(ctx)?;
        let registration = match input.parse(service.today()) {
            Ok(registration) => registration,
            Err(invalid) => return Ok(RegisterResult::InputInvalid(invalid)),
        };
        Ok(match service.register(registration).await? {
            Registered::Session(granted) => RegisterResult::Session(Box::new(Session::of(*granted, service.today()))),
            Registered::EmailTaken => {
                RegisterResult::EmailTaken(EmailTaken { reason: "the address belongs to another account".to_owned() })
            }
            Registered::Pending => RegisterResult::Pending(Pending {
                reason: "accepted and durable, not yet decided: ask again with the same idempotencyKey".to_owned(),
                retry_after_seconds: PENDING_RETRY_AFTER_S,
            }),
        })
    }

    /// Signs in by address and password.
    #[graphql(directive = cost::apply(HASH_WEIGHT.to_owned()))]
    async fn login(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The credentials.")] input: LoginInput,
    ) -> Result<LoginResult, Fault> {
        let service = service(ctx)?;
        let address = ctx.data_opt::<ClientAddress>().and_then(|address| address.0.as_deref());
        Ok(match service.sign_in(&input.email, &input.password, address).await? {
            SignedIn::Session(granted) => LoginResult::Session(Box::new(Session::of(*granted, service.today()))),
            SignedIn::Refused => LoginResult::CredentialsRefused(refused("the address or the password is wrong")),
            SignedIn::TooManyAttempts { retry_after_seconds } => LoginResult::TooManyAttempts(TooManyAttempts {
                reason: "too many attempts have failed; wait, then try again".to_owned(),
                retry_after_seconds: i32::try_from(retry_after_seconds).unwrap_or(i32::MAX),
            }),
        })
    }

    /// Continues a session: a fresh access token, and a fresh refresh token in place of the one given.
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The refresh token.")] input: RefreshSessionInput,
    ) -> Result<RefreshSessionResult, Fault> {
        let service = service(ctx)?;
        Ok(match service.refresh(&input.refresh_token).await? {
            Some(granted) => RefreshSessionResult::Session(Box::new(Session::of(granted, service.today()))),
            None => {
                RefreshSessionResult::CredentialsRefused(refused("the refresh token is not good any more; sign in"))
            }
        })
    }

    /// Ends a session: its refresh tokens are refused from now on.
    async fn logout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session.")] input: LogoutInput,
    ) -> Result<LogoutResult, Fault> {
        service(ctx)?.sign_out(&input.refresh_token).await?;
        Ok(LogoutResult::LoggedOut(LoggedOut { ok: true }))
    }

    /// Changes the viewer's own profile and preferences.
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What changes.")] input: UpdateProfileInput,
    ) -> Result<UpdateProfileResult, Fault> {
        let (viewer, service) = (viewer(ctx)?, service(ctx)?);
        let change = match input.parse(service.settings.distance_km_max) {
            Ok(change) => change,
            Err(invalid) => return Ok(UpdateProfileResult::InputInvalid(invalid)),
        };
        match service.update_profile(viewer.id, change).await? {
            ProfileOutcome::Changed => {
                let account = service.account(viewer.id).await?.ok_or_else(Fault::unauthenticated)?;
                let account = Account::of(account, service.today());
                Ok(UpdateProfileResult::ProfileUpdated(Box::new(ProfileUpdated { account })))
            }
            ProfileOutcome::AgesCrossed => Ok(UpdateProfileResult::InputInvalid(ages_crossed())),
            ProfileOutcome::NoAccount => Err(Fault::unauthenticated()),
        }
    }

    /// Says where the viewer is. Snapped to a coarse cell before it is stored anywhere; the exact
    /// point is never kept.
    async fn set_location(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The place.")] input: SetLocationInput,
    ) -> Result<SetLocationResult, Fault> {
        let (viewer, service) = (viewer(ctx)?, service(ctx)?);
        let cell = match input.parse() {
            Ok(cell) => cell,
            Err(invalid) => return Ok(SetLocationResult::InputInvalid(invalid)),
        };
        match service.locate(viewer.id, cell).await? {
            ProfileOutcome::Changed => Ok(SetLocationResult::LocationSet(LocationSet { ok: true })),
            ProfileOutcome::AgesCrossed | ProfileOutcome::NoAccount => Err(Fault::unauthenticated()),
        }
    }

    /// Makes a partner. For who runs the platform, like all that follows: others get the error FORBIDDEN.
    async fn create_partner(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The partner.")] input: CreatePartnerInput,
    ) -> Result<CreatePartnerResult, Fault> {
        partners::create(admin(ctx)?, service(ctx)?, input).await
    }

    /// Changes a partner, or shuts it out.
    async fn update_partner(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What changes.")] input: UpdatePartnerInput,
    ) -> Result<UpdatePartnerResult, Fault> {
        partners::update(admin(ctx)?, service(ctx)?, input).await
    }

    /// Makes a key for a partner. The answer is the only place where it stands in full.
    async fn create_partner_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key.")] input: CreatePartnerKeyInput,
    ) -> Result<CreatePartnerKeyResult, Fault> {
        partners::create_key(admin(ctx)?, service(ctx)?, input).await
    }

    /// Replaces a key by another; both are good for a while.
    async fn rotate_partner_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key.")] input: RotatePartnerKeyInput,
    ) -> Result<RotatePartnerKeyResult, Fault> {
        partners::rotate_key(admin(ctx)?, service(ctx)?, input).await
    }

    /// Ends a key at once.
    async fn revoke_partner_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key.")] input: RevokePartnerKeyInput,
    ) -> Result<RevokePartnerKeyResult, Fault> {
        partners::revoke_key(admin(ctx)?, service(ctx)?, input).await
    }

    /// Ends an operation at once: nobody calls it by its id any more.
    async fn retire_operation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The operation.")] input: RetireOperationInput,
    ) -> Result<RetireOperationResult, Fault> {
        partners::retire(admin(ctx)?, service(ctx)?, input).await
    }
}

fn refused(reason: &str) -> CredentialsRefused {
    CredentialsRefused { reason: reason.to_owned() }
}

/// One age was given and the other, which stays, does not go with it.
fn ages_crossed() -> InputInvalid {
    let mut problems = Problems::default();
    problems.add("preferences", "ageMin must not be more than ageMax, of which the one not given stays");
    problems.into()
}
