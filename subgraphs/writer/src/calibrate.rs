//! Calibration: samples are read back as if they were cold. Where a view has drifted, merging by
//! version puts it right, and the projector counts it; where it has not, nothing changes.

use crate::{
    accounts::rows::users,
    domain::named,
    matching::rows::matches,
    messaging::rows::conversations,
    retry,
    run::Parts,
    shards::COUNT,
    table::Stored,
    warm::{LoadError, Reads, Warmed, append},
};
use sea_orm::{
    EntityTrait, FromQueryResult, Iterable, PrimaryKeyToColumn, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, ValueType},
};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;
use velvet_kernel::time::fresh_id;

/// Entities of each kind in one sample.
const SAMPLE: u64 = 20;

/// Samples until the process is to end.
pub async fn run(parts: Arc<Parts>) {
    let reads = Reads { shards: Arc::clone(&parts.shards), partitions: parts.config.kafka.partitions };
    let pause = Duration::from_millis(parts.config.writer.calibrate_pause_ms);
    for shard in (0..COUNT).cycle() {
        if parts.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
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
        let rows: Vec<Warmed> = rows.into_iter().map(Warmed::sampled).collect();
        append(&parts.log, &rows).await?;
        metrics::counter!("velvet_writer_calibrated_rows_total", "domain" => name).increment(rows.len() as u64);
    }
    Ok(())
}

/// Rows from a random place on, between the first and the last that there are: ids begin with their time,
/// so most places hold none.
async fn sample<M: Stored + FromQueryResult>(parts: &Parts, shard: u8) -> Result<Vec<M>, sea_orm::DbErr>
where
    M::Entity: EntityTrait<Model = M>,
{
    let Some(first) = <M::Entity as EntityTrait>::PrimaryKey::iter().next() else { return Ok(Vec::new()) };
    let owner = first.into_column();
    let db = parts.shards.replica(shard);
    let least = M::Entity::find().order_by_asc(owner).one(db).await?;
    let greatest = M::Entity::find().order_by_desc(owner).one(db).await?;
    let (Some(least), Some(greatest)) = (least, greatest) else { return Ok(Vec::new()) };
    let id = |row: &M| <Uuid as ValueType>::try_from(row.get(owner)).unwrap_or_default();
    let from = place_between(id(&least), id(&greatest), fresh_id());
    M::Entity::find().filter(Expr::col(owner).gte(from)).order_by_asc(owner).limit(SAMPLE).all(db).await
}

/// A place among ids, as random as the end of a fresh one: its beginning is the time.
fn place_between(least: Uuid, greatest: Uuid, fresh: Uuid) -> Uuid {
    let span = greatest.as_u128().saturating_sub(least.as_u128()).saturating_add(1);
    let mut bytes = fresh.into_bytes();
    bytes.reverse();
    Uuid::from_u128(least.as_u128() + u128::from_be_bytes(bytes) % span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_begin_among_the_ids_that_there_are() {
        let (least, middle, greatest) =
            (Uuid::from_u128(1 << 100), Uuid::from_u128(2 << 100), Uuid::from_u128(3 << 100));
        let places: Vec<Uuid> = (0..100).map(|_| place_between(least, greatest, fresh_id())).collect();
        assert!(places.iter().all(|place| (least..=greatest).contains(place)));
        let early = places.iter().filter(|place| **place < middle).count();
        assert!((1..100).contains(&early), "{early} of 100 in the first half");
        assert_eq!(place_between(least, least, fresh_id()), least);
        let all = (Uuid::nil(), Uuid::max());
        assert_ne!(place_between(all.0, all.1, fresh_id()), place_between(all.0, all.1, fresh_id()));
    }
}
