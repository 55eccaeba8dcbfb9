//! Rows of accounts, read back.

mod partners;
mod usage;

use super::rows::{sessions, users};
use crate::{
    matching,
    retry::Stopped,
    table::{Unfit, value_of, version_of},
    warm::{Dump, LoadError, Reads, Warmed},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use velvet_accounts::{
    model::{Cell, Slug},
    row::{BlockRow, Row, SessionRow, UserRow},
};
use velvet_kernel::{fold::Version, id::UserId};

const DOMAIN: &str = velvet_accounts::DOMAIN.name;

/// A user with the sessions, a partner with all that it has, or what was counted of one.
pub async fn entity(reads: &Reads, entity: &str) -> Result<Vec<Warmed>, LoadError> {
    if let Some(slug) = Slug::of_usage_entity(entity) {
        return usage::usage(reads, &slug).await;
    }
    match Slug::of_entity(entity) {
        Some(slug) => partners::partner(reads, &slug).await,
        None => user(reads, entity).await,
    }
}

async fn user(reads: &Reads, entity: &str) -> Result<Vec<Warmed>, LoadError> {
    let Some(UserId(id)) = UserId::parse(entity) else { return Ok(Vec::new()) };
    let tx = reads.open(DOMAIN, entity).await?;
    let user = users::Entity::find_by_id(id).one(&tx).await?;
    let stored = sessions::Entity::find().filter(sessions::Column::UserId.eq(id)).all(&tx).await?;
    tx.commit().await?;
    let mut rows = Vec::with_capacity(stored.len() + 1);
    if let Some(user) = user {
        rows.push(warmed_user(user)?);
    }
    for session in stored {
        rows.push(warmed_session(session));
    }
    Ok(rows)
}

/// One shard's users, sessions and partners with their usage; matching keeps something of the users as well.
pub async fn all(dump: &Dump<'_>) -> Result<(), Stopped> {
    dump.table::<users::Model>(|user| {
        let for_matching = matching::load::warmed_user(user.clone())?;
        Ok(vec![warmed_user(user)?, for_matching])
    })
    .await?;
    dump.table::<sessions::Model>(|session| Ok(vec![warmed_session(session)])).await?;
    partners::all(dump).await?;
    usage::all(dump).await
}

/// A block, as accounts keeps it: once is enough for both. Its version is of matching's log, so
/// accounts orders nothing by it.
pub fn warmed_block(block: BlockRow) -> Warmed {
    let row = Row::Block(block);
    Warmed::new(DOMAIN, row.entity(), Version::default(), row)
}

fn warmed_user(user: users::Model) -> Result<Warmed, Unfit> {
    let version = version_of(user.version);
    let row = Row::User(Box::new(user_row(user)?));
    Ok(Warmed::new(DOMAIN, row.entity(), version, row))
}

fn warmed_session(session: sessions::Model) -> Warmed {
    let version = version_of(session.version);
    let row = Row::Session(session_row(session));
    Warmed::new(DOMAIN, row.entity(), version, row)
}

/// A user, as the domain has it.
pub fn user_row(user: users::Model) -> Result<UserRow, Unfit> {
    let cell = user.latitude.zip(user.longitude).map(|(latitude, longitude)| Cell { latitude, longitude });
    Ok(UserRow {
        user_id: UserId(user.user_id),
        email: user.email,
        password_hash: user.password_hash,
        display_name: user.display_name,
        bio: user.bio,
        avatar_url: user.avatar_url,
        birth_date: user.birth_date,
        gender: value_of(user.gender, "gender")?,
        side: value_of(user.side, "side")?,
        preferences: serde_json::from_value(user.preferences).map_err(|_| Unfit::Value("preferences"))?,
        verification_status: value_of(user.verification_status, "verification_status")?,
        cell,
        roles: serde_json::from_value(user.roles).map_err(|_| Unfit::Value("roles"))?,
        last_active_at: user.last_active_at,
        created_at: user.created_at,
        updated_at: user.updated_at,
        registration_id: user.registration_id,
    })
}

fn session_row(session: sessions::Model) -> SessionRow {
    SessionRow {
        user_id: UserId(session.user_id),
        family_id: session.family_id,
        current_hash: session.current_hash,
        previous_hash: session.previous_hash,
        replaced_at: session.replaced_at,
        grace_used: session.grace_used,
        started_at: session.started_at,
        expires_at: session.expires_at,
        ended_at: session.ended_at,
    }
}
