use super::{message::Message, sdl, subscription::MessageEvent};
use crate::{
    event::LiveEvent,
    model::{self, ConversationId, MessageId},
};
use async_graphql::Request;
use chrono::DateTime;
use uuid::Uuid;
use velvet_kernel::{graph::Cursor, id::UserId, live::Item};

/// The schema without descriptions, each run of blanks as one.
fn bare() -> String {
    let sdl = sdl();
    let code: Vec<&str> = sdl.split("\"\"\"").step_by(2).flat_map(str::split_whitespace).collect();
    format!(" {} ", code.join(" ")).replace("( ", "(").replace(" )", ")")
}

#[test]
fn the_schema_has_the_public_names() {
    let bare = bare();
    for expected in [
        "conversations(after: String, first: Int = 20): ConversationConnection!",
        "conversation(id: ID!): Conversation",
        "sendMessage(input: SendMessageInput!): SendMessageResult!",
        "editMessage(input: EditMessageInput!): EditMessageResult!",
        "deleteMessage(input: DeleteMessageInput!): DeleteMessageResult!",
        "reactToMessage(input: ReactToMessageInput!): ReactToMessageResult!",
        "markRead(input: MarkReadInput!): MarkReadResult!",
        "setTyping(input: SetTypingInput!): SetTypingResult!",
        "messageEvents(after: Cursor): MessageEvent!",
        "typing(conversationId: ID!): Typing!",
        "messages(after: String, before: String, first: Int, last: Int): MessageConnection!",
        "lastMessage: Message",
        "unreadCount: Int!",
        "readByOther: Int!",
        "remove: Boolean = false",
        "reactions: [Reaction!]! @listSize(assumedSize: 5)",
        "userIds: [ID!]!",
        "editedAt: DateTime",
        "cursor: Cursor",
        "union SendMessageResult = MessageSent | ConversationNotFound | ConversationClosed | InputInvalid",
        "union EditMessageResult = MessageEdited | MessageNotFound | InputInvalid",
        "union DeleteMessageResult = MessageDeleted | MessageNotFound",
        "union ReactToMessageResult = MessageReacted | MessageNotFound | InputInvalid",
        "union MarkReadResult = ReadMarked | ConversationNotFound",
        "union SetTypingResult = TypingSet | ConversationNotFound",
        "union MessageEvent = MessageSent | MessageEdited | MessageDeleted | MessageReacted | ReadMarked | StreamReset",
        "type Conversation @key(fields: \"id\") {",
        "type Message @key(fields: \"id\") {",
        "type User @key(fields: \"id\", resolvable: false) {",
        "type PageInfo @cacheControl(inheritMaxAge: true) @shareable {",
        "type StreamReset @shareable {",
        "type InputInvalid @shareable {",
    ] {
        assert!(bare.contains(&format!(" {expected} ")), "{expected} is missing from\n{bare}");
    }
}

#[tokio::test]
async fn every_root_field_needs_a_viewer() {
    let schema = super::subgraph(None).schema;
    for operation in [
        "{ conversations { nodes { id } } }",
        "{ conversation(id: \"x\") { id } }",
        "mutation { sendMessage(input: { conversationId: \"x\", clientId: \"c\", body: \"b\" }) { __typename } }",
        "mutation { editMessage(input: { messageId: \"x\", body: \"b\" }) { __typename } }",
        "mutation { deleteMessage(input: { messageId: \"x\" }) { __typename } }",
        "mutation { reactToMessage(input: { messageId: \"x\", emoji: \"👍\" }) { __typename } }",
        "mutation { markRead(input: { conversationId: \"x\", position: 1 }) { __typename } }",
        "mutation { setTyping(input: { conversationId: \"x\", typing: true }) { __typename } }",
    ] {
        let answer = serde_json::to_value(schema.execute(operation).await).unwrap();
        assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{operation}: {answer}");
    }
    for operation in
        ["subscription { messageEvents { __typename } }", "subscription { typing(conversationId: \"x\") { typing } }"]
    {
        let mut answers = schema.execute_stream(Request::new(operation));
        let answer = serde_json::to_value(futures::StreamExt::next(&mut answers).await).unwrap();
        assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{operation}: {answer}");
    }
}

#[tokio::test]
async fn entities_are_null_without_a_viewer() {
    let query = "{ _entities(representations: [{ __typename: \"Conversation\", id: \"x\" }, { __typename: \"Message\", id: \"x\" }]) { __typename } }";
    let answer = serde_json::to_value(super::subgraph(None).schema.execute(query).await).unwrap();
    assert_eq!(answer, serde_json::json!({ "data": { "_entities": [null, null] } }));
}

fn message() -> model::Message {
    let alice = UserId(Uuid::from_u128(1));
    model::Message::new(3, Uuid::from_u128(9), "c".to_owned(), alice, "hi".to_owned(), DateTime::UNIX_EPOCH)
}

#[test]
fn reactions_are_grouped_by_emoji() {
    let (alice, bob) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
    let message =
        message().reacted(bob, "🎉", false, at(1)).reacted(bob, "👍", false, at(2)).reacted(alice, "🎉", false, at(3));
    let shown = Message::of(ConversationId(Uuid::from_u128(7)), &message);
    let groups: Vec<_> = shown.reactions.iter().map(|group| (group.emoji.as_str(), group.user_ids.len())).collect();
    assert_eq!(groups, [("🎉", 2), ("👍", 1)]);
    assert_eq!(shown.reactions[0].user_ids, [bob.global(), alice.global()]);
}

#[test]
fn live_events_carry_their_cursor_and_the_ids_that_clients_see() {
    let conversation = ConversationId(Uuid::from_u128(7));
    let cursor = Cursor("c1".to_owned());
    let event = LiveEvent::Deleted { conversation_id: conversation, position: 3 };
    let MessageEvent::Deleted(deleted) = MessageEvent::of(Item::Event { cursor: cursor.clone(), event }) else {
        panic!("a deletion");
    };
    assert_eq!(deleted.cursor, Some(cursor.clone()));
    assert_eq!(deleted.message_id.as_str(), MessageId { conversation, position: 3 }.to_string());
    let event = LiveEvent::Sent { conversation_id: conversation, message: message() };
    let MessageEvent::Sent(sent) = MessageEvent::of(Item::Event { cursor: cursor.clone(), event }) else {
        panic!("a message");
    };
    assert_eq!((sent.cursor, sent.message.position, sent.message.body.as_str()), (Some(cursor.clone()), 3, "hi"));
    let MessageEvent::Reset(reset) = MessageEvent::of(Item::Reset { cursor: cursor.clone(), reason: "old" }) else {
        panic!("a reset");
    };
    assert_eq!(reset.cursor, Some(cursor));
}
