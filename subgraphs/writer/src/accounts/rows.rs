//! Decided events of accounts to rows.

pub mod partner;
pub mod usage;

use crate::{
    domain::Changes,
    table::{Unfit, Upserts, stored, stored_version, text},
};
use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;
use velvet_accounts::{
    event::{
        PARTNER, PARTNER_AUDIT, PARTNER_KEY, PARTNER_OPERATIONS, PARTNER_USAGE, SESSION_ENDED, SESSION_ROTATED,
        SESSION_STARTED, USER_ACTIVE, USER_CREATED, USER_LOCATED, USER_UPDATED, USER_VERIFIED,
    },
    row::{SessionRow, UserRow},
};
use velvet_kernel::{fold::Version, log::Recorded};

/// People.
pub mod users {
    use sea_orm::entity::prelude::*;

    /// A person.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        #[sea_orm(column_type = "Text")]
        pub email: String,
        #[sea_orm(column_type = "Text")]
        pub password_hash: String,
        #[sea_orm(column_type = "Text")]
        pub display_name: String,
        #[sea_orm(column_type = "Text")]
        pub bio: String,
        #[sea_orm(column_type = "Text", nullable)]
        pub avatar_url: Option<String>,
        pub birth_date: Date,
        pub gender: String,
        pub side: String,
        #[sea_orm(column_type = "JsonBinary")]
        pub preferences: Json,
        pub verification_status: String,
        #[sea_orm(column_type = "Double", nullable)]
        pub latitude: Option<f64>,
        #[sea_orm(column_type = "Double", nullable)]
        pub longitude: Option<f64>,
        #[sea_orm(column_type = "JsonBinary")]
        pub roles: Json,
        pub last_active_at: DateTimeUtc,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
        pub registration_id: Uuid,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Sign-ins.
pub mod sessions {
    use sea_orm::entity::prelude::*;

    /// A sign-in.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sessions")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub family_id: Uuid,
        pub current_hash: String,
        pub previous_hash: Option<String>,
        pub replaced_at: Option<DateTimeUtc>,
        pub grace_used: bool,
        pub started_at: DateTimeUtc,
        pub expires_at: DateTimeUtc,
        pub ended_at: Option<DateTimeUtc>,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Whose each address is.
pub mod account_emails {
    use sea_orm::entity::prelude::*;

    /// An address and its owner.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "account_emails")]
    #[expect(missing_docs, reason = "the columns are what the command says")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub email_normalized: String,
        pub user_id: Uuid,
        pub command_id: Uuid,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

stored!(users: user_id: Uuid);
stored!(sessions: user_id: Uuid, family_id: Uuid);

/// Rows on their way.
#[derive(Debug, Default)]
pub struct Rows {
    users: Upserts<users::Model>,
    sessions: Upserts<sessions::Model>,
    partners: partner::Rows,
    usage: usage::Rows,
}

#[async_trait]
impl Changes for Rows {
    fn add(&mut self, event: &Recorded) -> Result<(), Unfit> {
        match event.kind.as_str() {
            USER_CREATED | USER_UPDATED | USER_LOCATED | USER_ACTIVE | USER_VERIFIED => {
                self.users.add(user(event.parse()?, event.version)?);
            }
            SESSION_STARTED | SESSION_ROTATED | SESSION_ENDED => {
                self.sessions.add(session(event.parse()?, event.version));
            }
            PARTNER | PARTNER_KEY | PARTNER_OPERATIONS | PARTNER_AUDIT => self.partners.add(event)?,
            PARTNER_USAGE => self.usage.add(event)?,
            other => return Err(Unfit::Unknown(other.to_owned())),
        }
        Ok(())
    }

    async fn write(&self, tx: &DatabaseTransaction) -> Result<u64, DbErr> {
        let people = self.users.write(tx).await? + self.sessions.write(tx).await?;
        Ok(people + self.partners.write(tx).await? + self.usage.write(tx).await?)
    }
}

fn user(row: UserRow, version: Version) -> Result<users::Model, Unfit> {
    Ok(users::Model {
        user_id: row.user_id.0,
        email: row.email,
        password_hash: row.password_hash,
        display_name: row.display_name,
        bio: row.bio,
        avatar_url: row.avatar_url,
        birth_date: row.birth_date,
        gender: text(&row.gender, "gender")?,
        side: text(&row.side, "side")?,
        preferences: serde_json::to_value(&row.preferences).map_err(|_| Unfit::Value("preferences"))?,
        verification_status: text(&row.verification_status, "verification_status")?,
        latitude: row.cell.map(|cell| cell.latitude),
        longitude: row.cell.map(|cell| cell.longitude),
        roles: serde_json::to_value(&row.roles).map_err(|_| Unfit::Value("roles"))?,
        last_active_at: row.last_active_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        registration_id: row.registration_id,
        version: stored_version(version),
    })
}

fn session(row: SessionRow, version: Version) -> sessions::Model {
    sessions::Model {
        user_id: row.user_id.0,
        family_id: row.family_id,
        current_hash: row.current_hash,
        previous_hash: row.previous_hash,
        replaced_at: row.replaced_at,
        grace_used: row.grace_used,
        started_at: row.started_at,
        expires_at: row.expires_at,
        ended_at: row.ended_at,
        version: stored_version(version),
    }
}
