//! Calibration: samples are read back as if they were cold. Where a view has drifted, merging by
//! version puts it right; where it has not, nothing changes.

use crate::{
    accounts::rows::users,
    domain::named,
    matching::rows::matches,
    messaging::rows::conversations,
    retry,
    run::Parts,
    shards::COUNT,
    table::Stored,
    warm::{LoadError, Reads, append},
};
use sea_orm::{
    EntityTrait, FromQueryResult, Iterable, PrimaryKeyToColumn, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;
use velvet_kernel::time::fresh_id;

/// Between two samples; a shard's turn comes every 16 minutes.
const PAUSE: Duration = Duration::from_mins(1);
/// Entities of each kind in one sample.
const SAMPLE: u64 = 20;

/// Samples until the process is to end.
pub async fn run(parts: Arc<Parts>) {
    let reads = Reads { shards: Arc::clone(&parts.shards), partitions: parts.config.kafka.partitions };
    for shard in (0..COUNT).cycle() {
        if parts.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
        // While Redis is rebuilt, everything is read back anyway.
        if matches!(parts.store.epoch().await, Ok(Some(_)))
            && let Err(error) = calibrate(&parts, &reads, shard).await
        {
            retry::note("calibrate", &error);
        }
    }
}

async fn calibrate(parts: &Parts, reads: &Reads, shard: u8) -> Result<(), LoadError> {
    let mut entities: Vec<(&'static str, String)> = Vec::new();
    for user in sample::<users::Model>(parts, shard).await? {
        entities.push((velvet_accounts::DOMAIN.name, user.user_id.to_string()));
        entities.push((velvet_matching::DOMAIN.name, user.user_id.to_string()));
    }
    for matched in sample::<matches::Model>(parts, shard).await? {
        let (one, other) = (Ord::min(matched.owner_id, matched.other_id), Ord::max(matched.owner_id, matched.other_id));
        entities.push((velvet_matching::DOMAIN.name, format!("{one}:{other}")));
    }
    for conversation in sample::<conversations::Model>(parts, shard).await? {
        entities.push((velvet_messaging::DOMAIN.name, conversation.conversation_id.to_string()));
    }
    for (name, entity) in entities {
        let Some(domain) = named(name) else { continue };
        let rows = domain.load(reads, &entity, "sample").await?;
        append(&parts.log, &rows).await?;
        metrics::counter!("velvet_writer_calibrated_rows_total", "domain" => name).increment(rows.len() as u64);
    }
    Ok(())
}

/// Rows from a random place on.
async fn sample<M: Stored + FromQueryResult>(parts: &Parts, shard: u8) -> Result<Vec<M>, sea_orm::DbErr>
where
    M::Entity: EntityTrait<Model = M>,
{
    let Some(first) = <M::Entity as EntityTrait>::PrimaryKey::iter().next() else { return Ok(Vec::new()) };
    let owner = first.into_column();
    M::Entity::find()
        .filter(Expr::col(owner).gte(anywhere()))
        .order_by_asc(owner)
        .limit(SAMPLE)
        .all(parts.shards.replica(shard))
        .await
}

/// A random place among ids: a fresh id begins with the time, so its end comes first here.
fn anywhere() -> Uuid {
    let mut bytes = fresh_id().into_bytes();
    bytes.reverse();
    Uuid::from_bytes(bytes)
}
