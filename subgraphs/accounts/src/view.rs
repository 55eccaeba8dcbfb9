//! Views in Redis: the account by user, the login by address, the sessions that are on, and blocks.

pub(crate) mod partners;
pub(crate) mod usage;

use crate::{
    DOMAIN_NAME,
    fold::REFRESH_TOKEN_LIFETIME,
    model::{Cell, Email, Preferences, Side, VerificationStatus},
    row::{SessionRow, UserRow},
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::{
    fold::Version,
    graph::Gender,
    id::UserId,
    identity::Role,
    live::inbox::blocks_key,
    store::{Call, Error, Reply, Store, view, view::Slot},
};

/// An account, without what proves that it is one's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountView {
    /// Who.
    pub user_id: UserId,
    /// The address, as its owner wrote it; for the owner alone.
    pub email: String,
    /// What others call the user.
    pub display_name: String,
    /// What the user says of themselves.
    pub bio: String,
    /// Where a picture is.
    pub avatar_url: Option<String>,
    /// The birth date; for the owner alone.
    pub birth_date: NaiveDate,
    /// The gender.
    pub gender: Gender,
    /// The side.
    pub side: Side,
    /// Whom the user wants to meet; for the owner alone.
    pub preferences: Preferences,
    /// What an operator has found out; others learn only whether it is `verified`.
    pub verification_status: VerificationStatus,
    /// The cell that the user was last in; for nobody to see.
    pub cell: Option<Cell>,
    /// Staff rights; in the user's own tokens alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// When the user last did anything.
    pub last_active_at: DateTime<Utc>,
    /// When the account was made; for the owner alone.
    pub created_at: DateTime<Utc>,
}

/// What signing in by an address needs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginView {
    /// Whose address it is.
    pub user_id: UserId,
    /// The password's Argon2id hash, in PHC form.
    pub password_hash: String,
}

/// A session that is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SessionView {
    expires_at: DateTime<Utc>,
}

fn account_key(user: UserId) -> String {
    format!("{DOMAIN_NAME}:user:{{{user}}}")
}

fn login_key(email_digest: &str) -> String {
    format!("{DOMAIN_NAME}:login:{{{email_digest}}}")
}

fn sessions_key(user: UserId) -> String {
    format!("{DOMAIN_NAME}:sessions:{{{user}}}")
}

/// Sets the account of a user.
pub(crate) fn put_account(row: &UserRow, version: Version) -> Call {
    let account = AccountView {
        user_id: row.user_id,
        email: row.email.clone(),
        display_name: row.display_name.clone(),
        bio: row.bio.clone(),
        avatar_url: row.avatar_url.clone(),
        birth_date: row.birth_date,
        gender: row.gender,
        side: row.side,
        preferences: row.preferences.clone(),
        verification_status: row.verification_status,
        cell: row.cell,
        roles: row.roles.clone(),
        last_active_at: row.last_active_at,
        created_at: row.created_at,
    };
    view::put(account_key(row.user_id), version, &account, 0)
}

/// Sets what signing in by a user's address needs.
pub(crate) fn put_login(row: &UserRow, version: Version) -> Call {
    let login = LoginView { user_id: row.user_id, password_hash: row.password_hash.clone() };
    view::put(login_key(&Email::digest_of_stored(&row.email)), version, &login, 0)
}

/// Sets a session that is on. After the longest that any may last, the whole list may go.
pub(crate) fn put_session(row: &SessionRow, version: Version) -> Call {
    let lifetime_s = u64::try_from(REFRESH_TOKEN_LIFETIME.num_seconds()).unwrap_or_default();
    let session = SessionView { expires_at: row.expires_at };
    view::put_field(sessions_key(row.user_id), &row.family_id.to_string(), version, &session, lifetime_s)
}

/// Removes a session that is over. The view only spares the log what is surely refused: should a late
/// repeat put it back, the fold refuses its tokens all the same.
pub(crate) fn remove_session(row: &SessionRow) -> Call {
    Call::command_on("HDEL", sessions_key(row.user_id)).arg(row.family_id.to_string())
}

/// A user, as far as a viewer may know.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Nobody by this id was ever there.
    Nobody,
    /// Somebody is or was there whom the viewer does not see.
    Hidden,
    /// The account.
    Visible(Box<AccountView>),
}

/// Reads the account of a user.
pub(crate) async fn account(store: &Store, user: UserId) -> Result<Slot<AccountView>, Error> {
    store.document(account_key(user)).await
}

/// Reads what signing in by an address needs.
pub(crate) async fn login(store: &Store, email_digest: &str) -> Result<Slot<LoginView>, Error> {
    store.document(login_key(email_digest)).await
}

/// Whether a session may be on.
pub(crate) async fn is_session_on(store: &Store, user: UserId, family_id: Uuid) -> Result<bool, Error> {
    let found = store.fields::<SessionView>(&sessions_key(user), &[family_id.to_string()]).await?;
    Ok(found.into_iter().any(|slot| matches!(slot, Slot::Present(_))))
}

/// Reads what a viewer may know of some users, in their order and in one round trip.
pub(crate) async fn seen_by(store: &Store, viewer: UserId, users: &[UserId]) -> Result<Vec<Seen>, Error> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = users.iter().map(UserId::to_string).collect();
    let mut calls: Vec<Call> = users.iter().map(|user| view::get(account_key(*user))).collect();
    calls.push(Call::command_on("SMISMEMBER", blocks_key(DOMAIN_NAME, viewer)).arg(ids));
    let mut replies = store.run(&calls).await?;
    let blocked: Vec<bool> = redis::FromRedisValue::from_redis_value(replies.pop().unwrap_or(Reply::Nil))?;
    let mut seen = Vec::with_capacity(users.len());
    for (index, (user, reply)) in users.iter().zip(&replies).enumerate() {
        let hidden = blocked.get(index).copied().unwrap_or_default();
        seen.push(match view::parse::<AccountView>(&account_key(*user), reply)? {
            Slot::Missing => Seen::Nobody,
            Slot::Removed => Seen::Hidden,
            Slot::Present(_) if hidden => Seen::Hidden,
            Slot::Present(account) => Seen::Visible(Box::new(account)),
        });
    }
    Ok(seen)
}
