//! Rows of partners, read back.

use super::super::rows::partner::{partner_audit, partner_keys, partner_operations, partners};
use crate::{
    retry::Stopped,
    table::{Unfit, value_of, version_of},
    warm::{Dump, LoadError, Reads, Warmed},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use velvet_accounts::{
    model::{PartnerId, Slug},
    row::{AuditRow, KeyRow, Operation, OperationRow, PartnerRow, Row},
};
use velvet_kernel::{fold::Version, id::UserId};

const DOMAIN: &str = velvet_accounts::DOMAIN.name;
/// What a view has of an audit.
const AUDIT_MAX: u64 = 200;

/// A partner with its keys, its operations, and the newest of what was done with it.
pub async fn partner(reads: &Reads, slug: &Slug) -> Result<Vec<Warmed>, LoadError> {
    let PartnerId(id) = slug.id();
    let tx = reads.open(DOMAIN, &id.to_string()).await?;
    let partner = partners::Entity::find_by_id(id).one(&tx).await?;
    let keys = partner_keys::Entity::find().filter(partner_keys::Column::PartnerId.eq(id)).all(&tx).await?;
    let of_partner = partner_operations::Column::PartnerId.eq(id);
    let operations = partner_operations::Entity::find().filter(of_partner).all(&tx).await?;
    let audit = partner_audit::Entity::find()
        .filter(partner_audit::Column::PartnerId.eq(id))
        .order_by_desc(partner_audit::Column::At)
        .limit(AUDIT_MAX)
        .all(&tx)
        .await?;
    tx.commit().await?;
    let mut rows = Vec::with_capacity(keys.len() + operations.len() + audit.len() + 1);
    rows.extend(partner.map(warmed_partner).transpose()?);
    for key in keys {
        rows.push(warmed_key(key)?);
    }
    for operation in operations {
        rows.push(warmed_operation(operation)?);
    }
    for entry in audit {
        rows.push(warmed_audit(entry)?);
    }
    Ok(rows)
}

/// One shard's partners, and all that they have.
pub async fn all(dump: &Dump<'_>) -> Result<(), Stopped> {
    dump.table::<partners::Model>(|partner| Ok(vec![warmed_partner(partner)?])).await?;
    dump.table::<partner_keys::Model>(|key| Ok(vec![warmed_key(key)?])).await?;
    dump.table::<partner_operations::Model>(|operation| Ok(vec![warmed_operation(operation)?])).await?;
    dump.table::<partner_audit::Model>(|entry| Ok(vec![warmed_audit(entry)?])).await
}

fn warmed(version: i64, row: Row) -> Warmed {
    let version: Version = version_of(version);
    Warmed::new(DOMAIN, row.entity(), version, row)
}

fn slug_of(text: &str) -> Result<Slug, Unfit> {
    Slug::parse(text).map_err(|_| Unfit::Value("slug"))
}

fn warmed_partner(partner: partners::Model) -> Result<Warmed, Unfit> {
    let row = PartnerRow {
        partner_id: PartnerId(partner.partner_id),
        slug: slug_of(&partner.slug)?,
        name: partner.name,
        user_id: UserId(partner.user_id),
        limits: serde_json::from_value(partner.limits).map_err(|_| Unfit::Value("limits"))?,
        disabled: partner.disabled,
        created_at: partner.created_at,
        request_id: partner.request_id,
    };
    Ok(warmed(partner.version, Row::Partner(row)))
}

fn warmed_key(key: partner_keys::Model) -> Result<Warmed, Unfit> {
    let row = KeyRow {
        partner_id: PartnerId(key.partner_id),
        slug: slug_of(&key.slug)?,
        prefix: key.prefix,
        hash: key.hash,
        mode: value_of(key.mode, "mode")?,
        scopes: serde_json::from_value(key.scopes).map_err(|_| Unfit::Value("scopes"))?,
        require_signature: key.require_signature,
        created_at: key.created_at,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
        request_id: key.request_id,
    };
    Ok(warmed(key.version, Row::PartnerKey(row)))
}

fn warmed_operation(operation: partner_operations::Model) -> Result<Warmed, Unfit> {
    let about = Operation {
        id: operation.operation_id,
        name: operation.name,
        kind: value_of(operation.kind, "kind")?,
        cost: u32::try_from(operation.cost).map_err(|_| Unfit::Value("cost"))?,
        client_name: operation.client_name,
        release: u32::try_from(operation.release).map_err(|_| Unfit::Value("release"))?,
        published_at: operation.published_at,
        retired_at: operation.retired_at,
    };
    let (partner_id, slug) = (PartnerId(operation.partner_id), slug_of(&operation.slug)?);
    let row = OperationRow { partner_id, slug, about, body: operation.body };
    Ok(warmed(operation.version, Row::PartnerOperation(Box::new(row))))
}

fn warmed_audit(entry: partner_audit::Model) -> Result<Warmed, Unfit> {
    let row = AuditRow {
        partner_id: PartnerId(entry.partner_id),
        slug: slug_of(&entry.slug)?,
        event_id: entry.event_id,
        at: entry.at,
        by: entry.by,
        action: entry.action,
        subject: entry.subject,
    };
    Ok(warmed(entry.version, Row::PartnerAudit(row)))
}
