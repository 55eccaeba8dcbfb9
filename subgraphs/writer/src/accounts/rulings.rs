//! Registrations: the address goes to whoever asks for it first, in the order of the log.

use super::rows::account_emails;
use crate::{
    domain::{Outgoing, Ruling, Rulings, Unruled},
    table::{Unfit, stored_version},
};
use async_trait::async_trait;
use sea_orm::{ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel as _, QueryFilter};
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;
use velvet_accounts::{
    command::{Decision, Owner, REGISTER, RegisterCommand, decide},
    event::{RegisterOutcome, following},
};
use velvet_kernel::{
    id::UserId,
    log::{Recorded, Stage, Topic},
};

/// The rules of registering.
pub struct Registrations;

#[async_trait]
impl Rulings for Registrations {
    fn check(&self, command: &Recorded) -> Result<(), Unfit> {
        if command.kind != REGISTER {
            return Err(Unfit::Unknown(command.kind.clone()));
        }
        command.parse::<RegisterCommand>()?;
        Ok(())
    }

    async fn decide(&self, tx: &DatabaseTransaction, commands: &[&Recorded]) -> Result<Vec<Ruling>, Unruled> {
        let commands: Vec<(&Recorded, RegisterCommand)> = commands
            .iter()
            .map(|recorded| Ok((*recorded, recorded.parse::<RegisterCommand>()?)))
            .collect::<Result<_, Unfit>>()?;
        let mut owners = owners(tx, commands.iter().map(|(_, command)| command.email_normalized.clone())).await?;
        let mut given = Vec::new();
        let mut ruled = Vec::with_capacity(commands.len());
        for (recorded, command) in commands {
            let address = command.email_normalized.clone();
            let decision = decide(owners.get(&address).copied(), command);
            if let Decision::Registered(user) = &decision
                && !owners.contains_key(&address)
            {
                owners.insert(address.clone(), Owner { user_id: user.user_id, command_id: recorded.id });
                given.push(account_emails::Model {
                    email_normalized: address,
                    user_id: user.user_id.0,
                    command_id: recorded.id,
                    version: stored_version(recorded.version),
                });
            }
            ruled.push(ruling(recorded, decision)?);
        }
        // Two shards never have the same address, and a shard has one writer: a conflict means that this
        // is no longer the writer, and then the positions do not move either.
        account_emails::Entity::insert_many(given.into_iter().map(account_emails::Model::into_active_model))
            .exec_without_returning(tx)
            .await?;
        Ok(ruled)
    }

    fn retell(&self, repeat: &Recorded, outcome: &Value) -> Result<Vec<Outgoing>, Unfit> {
        let command = repeat.parse::<RegisterCommand>()?;
        let outcome: RegisterOutcome = serde_json::from_value(outcome.clone()).map_err(|_| Unfit::Value("outcome"))?;
        let decision = match outcome {
            RegisterOutcome::EmailTaken => Decision::Refused,
            RegisterOutcome::Registered { user_id } => decide(Some(Owner { user_id, command_id: repeat.id }), command),
        };
        let mut event = decision.fact(repeat.id, repeat.time);
        // The first telling may be forgotten, so this is a fact of its own; an account that is there stays as it is.
        event.id = following(repeat.id, &format!("retold:{}:{}", repeat.partition, repeat.offset));
        Ok(vec![Outgoing { topic: intake(), event }])
    }
}

fn intake() -> Topic {
    Topic::of(velvet_accounts::DOMAIN.name, Stage::Intake)
}

fn ruling(command: &Recorded, decision: Decision) -> Result<Ruling, Unfit> {
    let outcome = match &decision {
        Decision::Registered(user) => RegisterOutcome::Registered { user_id: user.user_id },
        Decision::Refused => RegisterOutcome::EmailTaken,
    };
    let outcome = serde_json::to_value(outcome).map_err(|_| Unfit::Value("outcome"))?;
    let event = decision.fact(command.id, command.time);
    Ok(Ruling { outcome, events: vec![Outgoing { topic: intake(), event }] })
}

async fn owners(
    tx: &DatabaseTransaction,
    addresses: impl Iterator<Item = String>,
) -> Result<HashMap<String, Owner>, DbErr> {
    let found =
        account_emails::Entity::find().filter(account_emails::Column::EmailNormalized.is_in(addresses)).all(tx).await?;
    Ok(found.into_iter().map(|row| (row.email_normalized, owner(row.user_id, row.command_id))).collect())
}

fn owner(user_id: Uuid, command_id: Uuid) -> Owner {
    Owner { user_id: UserId(user_id), command_id }
}
