//! What the writer decides: who an email address belongs to. One shard knows the truth of each
//! address, so that a hundred registrations of one address at once make one account.

use crate::{
    event::{Fact, following},
    model::{Cell, Preferences, Side, VerificationStatus},
    row::UserRow,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::{graph::Gender, id::UserId, log::NewEvent};

/// The type of the command's event. Its id is the command's, its key the address in lower case.
pub const REGISTER: &str = "accounts.register";

/// Asks for an account under an address.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterCommand {
    /// Names the request; the same for a repeat, which gets the first outcome.
    pub command_id: Uuid,
    /// The account's id, if this is the first to ask for the address.
    pub user_id: UserId,
    /// The address, as its owner wrote it.
    pub email: String,
    /// The address, in the form in which it is unique.
    pub email_normalized: String,
    /// The password's Argon2id hash, in PHC form.
    pub password_hash: String,
    /// What others call the user.
    pub display_name: String,
    /// What the user says of themselves.
    #[serde(default)]
    pub bio: String,
    /// The birth date.
    pub birth_date: NaiveDate,
    /// The gender.
    pub gender: Gender,
    /// The side.
    pub side: Side,
    /// Whom the user wants to meet.
    pub preferences: Preferences,
    /// The cell that the user is in, if it is known already.
    #[serde(default)]
    pub cell: Option<Cell>,
    /// When the user last did anything, if not now.
    #[serde(default)]
    pub last_active_at: Option<DateTime<Utc>>,
    /// What an operator has found out already.
    #[serde(default)]
    pub verification_status: VerificationStatus,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

impl std::fmt::Debug for RegisterCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No personal data in logs.
        f.debug_struct("RegisterCommand").field("command_id", &self.command_id).finish_non_exhaustive()
    }
}

impl RegisterCommand {
    /// The event that carries the command.
    pub fn event(&self) -> NewEvent {
        NewEvent::new(self.command_id, REGISTER, self.email_normalized.as_str(), self.created_at, self)
    }

    /// The account that the command asks for.
    fn into_user(self) -> UserRow {
        UserRow {
            user_id: self.user_id,
            email: self.email,
            password_hash: self.password_hash,
            display_name: self.display_name,
            bio: self.bio,
            avatar_url: None,
            birth_date: self.birth_date,
            gender: self.gender,
            side: self.side,
            preferences: self.preferences,
            verification_status: self.verification_status,
            cell: self.cell,
            roles: Vec::new(),
            last_active_at: self.last_active_at.unwrap_or(self.created_at),
            created_at: self.created_at,
            updated_at: self.created_at,
            registration_id: self.command_id,
        }
    }
}

/// Who an address belongs to already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The account.
    pub user_id: UserId,
    /// The command that got the address.
    pub command_id: Uuid,
}

/// What has been decided on a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The address is free, or was given to this very command: it is this account's.
    Registered(Box<UserRow>),
    /// The address is another's.
    Refused,
}

/// Decides. A repeat of the command that got the address names the account that it made.
pub fn decide(owner: Option<Owner>, mut command: RegisterCommand) -> Decision {
    match owner {
        None => Decision::Registered(Box::new(command.into_user())),
        Some(owner) if owner.command_id == command.command_id => {
            command.user_id = owner.user_id;
            Decision::Registered(Box::new(command.into_user()))
        }
        Some(_) => Decision::Refused,
    }
}

impl Decision {
    /// The fact for the domain's intake; its id follows from the command's, so that a repeat changes
    /// nothing.
    pub fn fact(self, command_id: Uuid, time: DateTime<Utc>) -> NewEvent {
        let id = following(command_id, "register");
        match self {
            Self::Registered(user) => {
                let entity = user.user_id.to_string();
                Fact::Registered { command_id, user }.event(id, entity, time)
            }
            Self::Refused => Fact::RegisterRefused { command_id }.event(id, command_id.to_string(), time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::register;

    #[test]
    fn a_free_address_is_given_to_who_asks() {
        let command = register("alice@example.com");
        let Decision::Registered(user) = decide(None, command.clone()) else { panic!("refused") };
        assert_eq!((user.user_id, user.registration_id), (command.user_id, command.command_id));
    }

    #[test]
    fn an_address_is_given_once() {
        let (first, second) = (register("alice@example.com"), register("alice@example.com"));
        let owner = Owner { user_id: first.user_id, command_id: first.command_id };
        assert_eq!(decide(Some(owner), second), Decision::Refused);
    }

    #[test]
    fn a_repeat_names_the_account_that_the_first_made() {
        let first = register("alice@example.com");
        let owner = Owner { user_id: first.user_id, command_id: first.command_id };
        let repeat = RegisterCommand { user_id: register("x@example.com").user_id, ..first.clone() };
        let Decision::Registered(user) = decide(Some(owner), repeat.clone()) else { panic!("refused") };
        assert_eq!(user.user_id, first.user_id);
        let ids = [first, repeat]
            .map(|command| decide(None, command.clone()).fact(command.command_id, command.created_at).id);
        assert_eq!(ids[0], ids[1]);
    }
}
