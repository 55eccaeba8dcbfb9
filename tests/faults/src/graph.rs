//! The operations that virtual people send.

/// An operation with one input, and the field that answers it.
#[derive(Debug)]
pub struct Operation {
    pub field: &'static str,
    pub document: &'static str,
}

/// Made here alone, so that a field and its document cannot drift apart.
macro_rules! operations {
    ($($name:ident = $field:literal, $document:literal;)+) => {
        $(pub const $name: Operation = Operation { field: $field, document: $document };)+
    };
}

operations! {
    REGISTER = "register", "mutation($input: RegisterInput!) { register(input: $input) {
        __typename
        ... on Session { accessToken account { user { id } email } }
    } }";
    SET_LOCATION = "setLocation", "mutation($input: SetLocationInput!) { setLocation(input: $input) { __typename } }";
    UPDATE_PROFILE = "updateProfile", "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) {
        __typename ... on ProfileUpdated { account { user { id bio } } }
    } }";
    SWIPE = "swipe", "mutation($input: SwipeInput!) { swipe(input: $input) {
        __typename ... on Swiped { match { id with { id } } }
    } }";
    UNMATCH = "unmatch", "mutation($input: UnmatchInput!) { unmatch(input: $input) { __typename } }";
    BLOCK = "blockUser", "mutation($input: BlockUserInput!) { blockUser(input: $input) { __typename } }";
    SEND = "sendMessage", "mutation($input: SendMessageInput!) { sendMessage(input: $input) {
        __typename ... on MessageSent { message { id position body } }
    } }";
    EDIT = "editMessage", "mutation($input: EditMessageInput!) { editMessage(input: $input) {
        __typename ... on MessageEdited { message { id position body } }
    } }";
    DELETE = "deleteMessage", "mutation($input: DeleteMessageInput!) { deleteMessage(input: $input) { __typename } }";
    REACT = "reactToMessage", "mutation($input: ReactToMessageInput!) { reactToMessage(input: $input) {
        __typename ... on MessageReacted { message { id position } }
    } }";
    MARK_READ = "markRead", "mutation($input: MarkReadInput!) { markRead(input: $input) {
        __typename ... on ReadMarked { position }
    } }";
    ME = "me", "{ me { email user { id displayName bio } } }";
    DECK = "deck", "{ deck(first: 5) { user { id } } }";
    USER = "user", "query($input: ID!) { user(id: $input) { id displayName bio } }";
    MATCHES = "matches", "{ matches(first: 50) { nodes { id with { id } conversation { id open } } } }";
    CONVERSATIONS = "conversations", "{ conversations(first: 50) { nodes {
        id open unreadCount readByOther with { id } lastMessage { position }
    } } }";
    CONVERSATION = "conversation", "query($input: ID!) { conversation(id: $input) {
        id open with { id } messages(last: 50) { nodes { id position body deleted sender { id } } }
    } }";
    HISTORY = "conversation", "query($input: ID!, $after: String) { conversation(id: $input) {
        messages(first: 50, after: $after) {
            nodes { id position body deleted editedAt reactions { emoji userIds } }
            pageInfo { hasNextPage endCursor }
        }
    } }";
}

/// A stream and all that it says within its own subgraph.
pub const MESSAGE_EVENTS: Operation = Operation {
    field: "messageEvents",
    document: "subscription { messageEvents {
        __typename
        ... on MessageSent { message { id position body conversationId } }
        ... on MessageEdited { message { id position body conversationId } }
        ... on MessageDeleted { conversationId messageId }
        ... on MessageReacted { message { id position conversationId } }
        ... on ReadMarked { conversationId userId position }
        ... on StreamReset { reason }
    } }",
};

/// The same with names, which come from another subgraph.
pub const MESSAGE_EVENTS_WITH_NAMES: Operation = Operation {
    field: "messageEvents",
    document: "subscription { messageEvents {
        __typename
        ... on MessageSent { message { id position body conversationId sender { id displayName } } }
        ... on MessageEdited { message { id position body conversationId sender { displayName } } }
        ... on MessageDeleted { conversationId messageId }
        ... on MessageReacted { message { id position conversationId } }
        ... on ReadMarked { conversationId userId position }
        ... on StreamReset { reason }
    } }",
};

/// Matches as they come, with what three subgraphs say of them.
pub const MATCH_EVENTS: Operation = Operation {
    field: "matchEvents",
    document: "subscription { matchEvents {
        __typename
        ... on MatchCreated { match { id with { id displayName } conversation { id open } } }
        ... on MatchEnded { matchId }
        ... on StreamReset { reason }
    } }",
};
