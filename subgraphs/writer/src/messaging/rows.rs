//! Decided events of messaging to rows.

use crate::{
    domain::Changes,
    table::{Unfit, Upserts, stored, stored_version, text},
};
use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;
use velvet_kernel::{fold::Version, log::Recorded};
use velvet_messaging::{
    event::{
        CONVERSATION_CLOSED, CONVERSATION_JOINED, CONVERSATION_OPENED, MESSAGE_DELETED, MESSAGE_EDITED,
        MESSAGE_REACTED, MESSAGE_READ, MESSAGE_SENT,
    },
    row::{ConversationRow, MemberRow, MessageRow, ReactionRow, ReadRow},
};

/// Conversations.
pub mod conversations {
    use sea_orm::entity::prelude::*;

    /// A conversation.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "conversations")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub conversation_id: Uuid,
        pub match_id: Uuid,
        pub user_a_id: Uuid,
        pub user_b_id: Uuid,
        pub status: String,
        pub opened_at: DateTimeUtc,
        pub closed_at: Option<DateTimeUtc>,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Whose each conversation is.
pub mod conversation_members {
    use sea_orm::entity::prelude::*;

    /// A conversation among those of a member.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "conversation_members")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub conversation_id: Uuid,
        pub other_id: Uuid,
        pub joined_at: DateTimeUtc,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Messages.
pub mod messages {
    use sea_orm::entity::prelude::*;

    /// A message.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "messages")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub conversation_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub position: i64,
        pub message_id: String,
        pub event_id: Uuid,
        #[sea_orm(column_type = "Text")]
        pub client_id: String,
        pub sender_id: Uuid,
        #[sea_orm(column_type = "Text")]
        pub body: String,
        pub sent_at: DateTimeUtc,
        pub edited_at: Option<DateTimeUtc>,
        pub deleted: bool,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Reactions.
pub mod reactions {
    use sea_orm::entity::prelude::*;

    /// One user's emoji on a message, or the mark that it was taken away.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "reactions")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub conversation_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub position: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub emoji: String,
        pub removed: bool,
        pub reacted_at: DateTimeUtc,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Who has read how far.
pub mod read_marks {
    use sea_orm::entity::prelude::*;

    /// How far a member has read.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "read_marks")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub conversation_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        pub position: i64,
        pub read_at: DateTimeUtc,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

stored!(conversations: conversation_id: Uuid);
stored!(conversation_members: user_id: Uuid, conversation_id: Uuid);
stored!(messages: conversation_id: Uuid, position: i64);
stored!(reactions: conversation_id: Uuid, position: i64, user_id: Uuid, emoji: String);
stored!(read_marks: conversation_id: Uuid, user_id: Uuid);

/// Rows on their way.
#[derive(Debug, Default)]
pub struct Rows {
    conversations: Upserts<conversations::Model>,
    members: Upserts<conversation_members::Model>,
    messages: Upserts<messages::Model>,
    reactions: Upserts<reactions::Model>,
    reads: Upserts<read_marks::Model>,
}

#[async_trait]
impl Changes for Rows {
    fn add(&mut self, event: &Recorded) -> Result<(), Unfit> {
        match event.kind.as_str() {
            CONVERSATION_OPENED | CONVERSATION_CLOSED => {
                self.conversations.add(conversation(&event.parse()?, event.version)?);
            }
            CONVERSATION_JOINED => self.members.add(member(&event.parse()?, event.version)),
            MESSAGE_SENT | MESSAGE_EDITED | MESSAGE_DELETED => {
                self.messages.add(message(event.parse()?, event.version));
            }
            MESSAGE_REACTED => self.reactions.add(reaction(event.parse()?, event.version)),
            MESSAGE_READ => self.reads.add(read(&event.parse()?, event.version)),
            other => return Err(Unfit::Unknown(other.to_owned())),
        }
        Ok(())
    }

    async fn write(&self, tx: &DatabaseTransaction) -> Result<u64, DbErr> {
        Ok(self.conversations.write(tx).await?
            + self.members.write(tx).await?
            + self.messages.write(tx).await?
            + self.reactions.write(tx).await?
            + self.reads.write(tx).await?)
    }
}

fn conversation(row: &ConversationRow, version: Version) -> Result<conversations::Model, Unfit> {
    Ok(conversations::Model {
        conversation_id: row.conversation_id.0,
        match_id: row.match_id.0,
        user_a_id: row.user_a_id.0,
        user_b_id: row.user_b_id.0,
        status: text(&row.status, "status")?,
        opened_at: row.opened_at,
        closed_at: row.closed_at,
        version: stored_version(version),
    })
}

fn member(row: &MemberRow, version: Version) -> conversation_members::Model {
    conversation_members::Model {
        user_id: row.user_id.0,
        conversation_id: row.conversation_id.0,
        other_id: row.other_id.0,
        joined_at: row.joined_at,
        version: stored_version(version),
    }
}

fn message(row: MessageRow, version: Version) -> messages::Model {
    messages::Model {
        conversation_id: row.conversation_id.0,
        position: row.position,
        message_id: row.message_id,
        event_id: row.event_id,
        client_id: row.client_id,
        sender_id: row.sender_id.0,
        body: row.body,
        sent_at: row.sent_at,
        edited_at: row.edited_at,
        deleted: row.deleted,
        version: stored_version(version),
    }
}

fn reaction(row: ReactionRow, version: Version) -> reactions::Model {
    reactions::Model {
        conversation_id: row.conversation_id.0,
        position: row.position,
        user_id: row.user_id.0,
        emoji: row.emoji,
        removed: row.removed,
        reacted_at: row.reacted_at,
        version: stored_version(version),
    }
}

fn read(row: &ReadRow, version: Version) -> read_marks::Model {
    read_marks::Model {
        conversation_id: row.conversation_id.0,
        user_id: row.user_id.0,
        position: row.position,
        read_at: row.read_at,
        version: stored_version(version),
    }
}
