//! Decided events of partners to rows.

use crate::table::{Unfit, Upserts, stored, stored_version, text};
use sea_orm::{DatabaseTransaction, DbErr};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use velvet_accounts::{
    event::{PARTNER, PARTNER_AUDIT, PARTNER_KEY, PARTNER_OPERATIONS},
    row::{AuditRow, KeyRow, OperationRow, OperationsRow, PartnerRow},
};
use velvet_kernel::{fold::Version, log::Recorded};

/// Partners.
pub mod partners {
    use sea_orm::entity::prelude::*;

    /// A partner.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "partners")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub partner_id: Uuid,
        #[sea_orm(column_type = "Text")]
        pub slug: String,
        #[sea_orm(column_type = "Text")]
        pub name: String,
        pub user_id: Uuid,
        #[sea_orm(column_type = "JsonBinary")]
        pub limits: Json,
        pub disabled: bool,
        pub created_at: DateTimeUtc,
        pub request_id: Uuid,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What lets partners in.
pub mod partner_keys {
    use sea_orm::entity::prelude::*;

    /// A key.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "partner_keys")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub partner_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub prefix: String,
        #[sea_orm(column_type = "Text")]
        pub slug: String,
        #[sea_orm(column_type = "Text")]
        pub hash: String,
        pub mode: String,
        #[sea_orm(column_type = "JsonBinary")]
        pub scopes: Json,
        pub require_signature: bool,
        pub created_at: DateTimeUtc,
        pub expires_at: Option<DateTimeUtc>,
        pub revoked_at: Option<DateTimeUtc>,
        pub request_id: Uuid,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What partners call by id.
pub mod partner_operations {
    use sea_orm::entity::prelude::*;

    /// An operation.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "partner_operations")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub partner_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub operation_id: String,
        #[sea_orm(column_type = "Text")]
        pub slug: String,
        #[sea_orm(column_type = "Text")]
        pub name: String,
        pub kind: String,
        #[sea_orm(column_type = "Text")]
        pub body: String,
        pub cost: i64,
        #[sea_orm(column_type = "Text")]
        pub client_name: String,
        pub release: i64,
        pub published_at: DateTimeUtc,
        pub retired_at: Option<DateTimeUtc>,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What was done with partners.
pub mod partner_audit {
    use sea_orm::entity::prelude::*;

    /// One thing that was done.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "partner_audit")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub partner_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: Uuid,
        #[sea_orm(column_type = "Text")]
        pub slug: String,
        pub at: DateTimeUtc,
        #[sea_orm(column_type = "Text")]
        pub by: String,
        #[sea_orm(column_type = "Text")]
        pub action: String,
        #[sea_orm(column_type = "Text")]
        pub subject: String,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

stored!(partners: partner_id: Uuid);
stored!(partner_keys: partner_id: Uuid, prefix: String);
stored!(partner_operations: partner_id: Uuid, operation_id: String);
stored!(partner_audit: partner_id: Uuid, event_id: Uuid);

/// Rows on their way.
#[derive(Debug, Default)]
pub struct Rows {
    partners: Upserts<partners::Model>,
    keys: Upserts<partner_keys::Model>,
    operations: Upserts<partner_operations::Model>,
    audit: Upserts<partner_audit::Model>,
}

impl Rows {
    /// Adds what an event makes.
    pub fn add(&mut self, event: &Recorded) -> Result<(), Unfit> {
        match event.kind.as_str() {
            PARTNER => self.partners.add(partner(event.parse()?, event.version)?),
            PARTNER_KEY => self.keys.add(key(event.parse()?, event.version)?),
            PARTNER_OPERATIONS => {
                for row in event.parse::<OperationsRow>()?.operations {
                    self.operations.add(operation(row, event.version)?);
                }
            }
            PARTNER_AUDIT => self.audit.add(audit(event.parse()?, event.version)),
            other => return Err(Unfit::Unknown(other.to_owned())),
        }
        Ok(())
    }

    /// Writes what is newer than what is stored. Returns how many rows were sent.
    pub async fn write(&self, tx: &DatabaseTransaction) -> Result<u64, DbErr> {
        let calls = self.operations.write(tx).await? + self.audit.write(tx).await?;
        Ok(self.partners.write(tx).await? + self.keys.write(tx).await? + calls)
    }
}

fn json<T: Serialize>(value: &T, column: &'static str) -> Result<Value, Unfit> {
    serde_json::to_value(value).map_err(|_| Unfit::Value(column))
}

fn partner(row: PartnerRow, version: Version) -> Result<partners::Model, Unfit> {
    Ok(partners::Model {
        partner_id: row.partner_id.0,
        slug: row.slug.to_string(),
        name: row.name,
        user_id: row.user_id.0,
        limits: json(&row.limits, "limits")?,
        disabled: row.disabled,
        created_at: row.created_at,
        request_id: row.request_id,
        version: stored_version(version),
    })
}

fn key(row: KeyRow, version: Version) -> Result<partner_keys::Model, Unfit> {
    Ok(partner_keys::Model {
        partner_id: row.partner_id.0,
        prefix: row.prefix,
        slug: row.slug.to_string(),
        hash: row.hash,
        mode: text(&row.mode, "mode")?,
        scopes: json(&row.scopes, "scopes")?,
        require_signature: row.require_signature,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        request_id: row.request_id,
        version: stored_version(version),
    })
}

fn operation(row: OperationRow, version: Version) -> Result<partner_operations::Model, Unfit> {
    let OperationRow { partner_id, slug, about, body } = row;
    Ok(partner_operations::Model {
        partner_id: partner_id.0,
        operation_id: about.id,
        slug: slug.to_string(),
        name: about.name,
        kind: text(&about.kind, "kind")?,
        body,
        cost: about.cost.into(),
        client_name: about.client_name,
        release: about.release.into(),
        published_at: about.published_at,
        retired_at: about.retired_at,
        version: stored_version(version),
    })
}

fn audit(row: AuditRow, version: Version) -> partner_audit::Model {
    partner_audit::Model {
        partner_id: row.partner_id.0,
        event_id: row.event_id,
        slug: row.slug.to_string(),
        at: row.at,
        by: row.by,
        action: row.action,
        subject: row.subject,
        version: stored_version(version),
    }
}
