//! Commands: decided one by one, in the order of their topic, in one transaction of the shard of
//! their key. What was decided goes to the outbox in the same transaction.

use crate::{
    apply::{Error, Work},
    decided::session,
    domain::{DOMAINS, Domain, Outgoing, Ruling, Rulings, Unruled, of_topic},
    outbox::{self, Carrier},
    reader::{self, Fill},
    retry::Stopped,
    run::Parts,
    shards::Lane,
    table::{Unfit, stored_version},
};
use async_trait::async_trait;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use uuid::Uuid;
use velvet_kernel::log::{Pace, Recorded, Stage, Topic};

/// All writers are one group for each lane, so that each partition has one.
const GROUP: &str = "writer.commands";

/// The table of outcomes.
pub mod entity {
    use sea_orm::entity::prelude::*;

    /// What was decided of a command.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "commands")]
    pub struct Model {
        /// The command.
        #[sea_orm(primary_key, auto_increment = false)]
        pub command_id: Uuid,
        /// Its type.
        pub kind: String,
        /// What it came to.
        #[sea_orm(column_type = "JsonBinary")]
        pub outcome: Json,
        /// When it was asked for.
        pub decided_at: DateTimeUtc,
        /// Its place in the log.
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Commands that are decided in one transaction: somebody waits for each.
const COMMANDS_MAX: usize = 1_000;

/// Decides a lane's commands until the process is to end.
pub async fn run(parts: Arc<Parts>, lane: Lane) {
    let carrier = parts.carrier();
    let applier = parts.applier(Commands { carrier });
    // Somebody waits for each command: what is there is decided at once.
    let fill = Fill { max: parts.config.writer.batch_max.min(COMMANDS_MAX), pace: Pace::AtOnce };
    reader::forever("commands", &parts.stop, || session(&parts, &applier, (GROUP, &lane), topics(), fill)).await;
}

/// The topics of commands of the domains that have some.
pub fn topics() -> Vec<Topic> {
    let with_commands = DOMAINS.iter().filter(|domain| domain.rulings().is_some());
    with_commands.map(|domain| Topic::of(domain.name(), Stage::Commands)).collect()
}

struct Commands {
    carrier: Carrier,
}

#[async_trait]
impl Work for Commands {
    fn name(&self) -> &'static str {
        "commands"
    }

    async fn write(&self, tx: &DatabaseTransaction, events: &[Recorded]) -> Result<u64, Error> {
        let mut by_domain: BTreeMap<&'static str, (&'static dyn Rulings, Vec<&Recorded>)> = BTreeMap::new();
        for event in events {
            let (domain, rulings) = rulings_of(event)?;
            rulings.check(event)?;
            by_domain.entry(domain.name()).or_insert_with(|| (rulings, Vec::new())).1.push(event);
        }
        for (rulings, commands) in by_domain.values() {
            decide(tx, *rulings, commands).await.map_err(|error| match error {
                Unruled::Database(error) => Error::Database(error),
                Unruled::Unfit(error) => Error::Unfit(error),
            })?;
        }
        Ok(events.len() as u64)
    }

    async fn after(&self, shard: u8) -> Result<(), Stopped> {
        self.carrier.empty(shard).await
    }
}

fn rulings_of(event: &Recorded) -> Result<(&'static dyn Domain, &'static dyn Rulings), Unfit> {
    let unknown = || Unfit::Unknown(event.topic.0.clone());
    let domain = of_topic(&event.topic).ok_or_else(unknown)?;
    Ok((domain, domain.rulings().ok_or_else(unknown)?))
}

/// Decides those that are new; repeats are told the first outcome again.
async fn decide(tx: &DatabaseTransaction, rulings: &dyn Rulings, commands: &[&Recorded]) -> Result<(), Unruled> {
    let mut outcomes = known(tx, commands).await?;
    let (fresh, repeats) = split(commands, &outcomes);
    let decided = rulings.decide(tx, &fresh).await?;
    let mut rows = Vec::with_capacity(fresh.len());
    let mut outgoing: Vec<Outgoing> = Vec::with_capacity(commands.len());
    for (command, Ruling { outcome, events }) in fresh.iter().zip(decided) {
        rows.push(entity::ActiveModel {
            command_id: Set(command.id),
            kind: Set(command.kind.clone()),
            outcome: Set(outcome.clone()),
            decided_at: Set(command.time),
            version: Set(stored_version(command.version)),
        });
        outcomes.insert(command.id, outcome);
        outgoing.extend(events);
    }
    for repeat in repeats {
        if let Some(outcome) = outcomes.get(&repeat.id) {
            outgoing.extend(rulings.retell(repeat, outcome)?);
        }
    }
    entity::Entity::insert_many(rows).exec_without_returning(tx).await?;
    outbox::put(tx, outgoing).await?;
    Ok(())
}

async fn known<C: ConnectionTrait>(tx: &C, commands: &[&Recorded]) -> Result<HashMap<Uuid, Value>, DbErr> {
    let ids = commands.iter().map(|command| command.id);
    let rows = entity::Entity::find().filter(entity::Column::CommandId.is_in(ids)).all(tx).await?;
    Ok(rows.into_iter().map(|row| (row.command_id, row.outcome)).collect())
}

/// The first of each id that is not known yet, and the rest.
fn split<'a>(commands: &[&'a Recorded], known: &HashMap<Uuid, Value>) -> (Vec<&'a Recorded>, Vec<&'a Recorded>) {
    let mut seen = HashSet::new();
    commands.iter().partition(|command| !known.contains_key(&command.id) && seen.insert(command.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use velvet_kernel::fold::Version;

    fn command(id: u128, offset: i64) -> Recorded {
        Recorded {
            topic: Topic::of("accounts", Stage::Commands),
            partition: 0,
            offset,
            id: Uuid::from_u128(id),
            kind: "accounts.register".to_owned(),
            key: "a@b.example".to_owned(),
            time: chrono::DateTime::UNIX_EPOCH,
            version: Version::of_offset(offset),
            traceparent: None,
            data: Vec::new().into(),
        }
    }

    #[test]
    fn repeats_within_a_batch_and_of_earlier_ones_are_not_decided_again() {
        let commands = [command(1, 0), command(2, 1), command(1, 2), command(3, 3)];
        let known = HashMap::from([(Uuid::from_u128(3), Value::Null)]);
        let (fresh, repeats) = split(&commands.iter().collect::<Vec<_>>(), &known);
        let offsets = |commands: Vec<&Recorded>| commands.iter().map(|command| command.offset).collect::<Vec<_>>();
        assert_eq!((offsets(fresh), offsets(repeats)), (vec![0, 1], vec![2, 3]));
    }
}
