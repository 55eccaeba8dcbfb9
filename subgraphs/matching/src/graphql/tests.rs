//! The schema, as clients and composition rely on it.

use super::*;

fn squeezed(sdl: &str) -> String {
    sdl.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_schema_keeps_its_public_names() {
    let text = sdl();
    let sdl = squeezed(&without_descriptions(&text));
    for part in [
        "deck( filter: DeckFilter, first: Int = 10 ): [Card!]! @cost(weight: \"3\")",
        "matches( after: String, first: Int = 20 ): MatchConnection!",
        "swipeQuota: SwipeQuota!",
        "swipe( input: SwipeInput! ): SwipeResult!",
        "unmatch( input: UnmatchInput! ): UnmatchResult!",
        "blockUser( input: BlockUserInput! ): BlockUserResult!",
        "matchEvents( after: Cursor ): MatchEvent!",
        "type Card { distanceKm: Int! superLikedYou: Boolean! user: User! }",
        "input DeckFilter { ageMax: Int ageMin: Int distanceKmMax: Int genders: [Gender!] verifiedOnly: Boolean }",
        "enum SwipeAction { LIKE PASS SUPER_LIKE }",
        "input SwipeInput { action: SwipeAction! idempotencyKey: String userId: ID! }",
        "union SwipeResult = QuotaUsedUp | Swiped | UserNotFound",
        "type Swiped { match: Match }",
        "type QuotaUsedUp { quota: SwipeQuota! reason: String! }",
        "type SwipeQuota { limit: Int remaining: Int resetsAt: DateTime! }",
        "type Match @key(fields: \"id\") { conversation: Conversation id: ID! matchedAt: DateTime! with: User! }",
        "type MatchConnection { edges: [MatchEdge!]! nodes: [Match!]! pageInfo: PageInfo! }",
        "type MatchEdge { cursor: String! node: Match! }",
        "input UnmatchInput { matchId: ID! }",
        "union UnmatchResult = MatchNotFound | Unmatched",
        "input BlockUserInput { userId: ID! }",
        "union BlockUserResult = UserBlocked | UserNotFound",
        "union MatchEvent = MatchCreated | MatchEnded | StreamReset",
        "type MatchCreated { cursor: Cursor match: Match! }",
        "type MatchEnded { cursor: Cursor matchId: ID! }",
        "type User @key(fields: \"id\", resolvable: false) { id: ID! }",
        "type Conversation @key(fields: \"id\", resolvable: false) { id: ID! }",
        "type UserNotFound @shareable { reason: String! }",
        "type StreamReset @shareable { cursor: Cursor reason: String! }",
        "type PageInfo @cacheControl(inheritMaxAge: true) @shareable {",
    ] {
        assert!(unordered(&sdl, part), "{part}\nis not in\n{text}");
    }
}

/// Unions keep the order of their members; the sorted export does not sort them.
fn unordered(sdl: &str, part: &str) -> bool {
    let Some((name, members)) = part.strip_prefix("union ").and_then(|rest| rest.split_once(" = ")) else {
        return sdl.contains(part);
    };
    let Some((_, rest)) = sdl.split_once(&format!("union {name} = ")) else { return false };
    members
        .split(" | ")
        .all(|member| rest.split(" | ").take(members.split(" | ").count()).any(|one| one.starts_with(member)))
}

fn without_descriptions(sdl: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in sdl.lines() {
        match line.trim() {
            "\"\"\"" => inside = !inside,
            trimmed if trimmed.starts_with("\"\"\"") && trimmed.ends_with("\"\"\"") => {}
            _ if inside => {}
            _ => {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    kept
}

#[tokio::test]
async fn introspection_is_within_the_limits() {
    let schema: MatchingSchema = schema().finish();
    let query = "{ __schema { types { name fields(includeDeprecated: true) { name args { name type { name ofType { name
        ofType { name ofType { name ofType { name } } } } } } type { name ofType { name ofType { name } } } } } } }";
    let response = schema.execute(query).await;
    assert!(response.is_ok(), "{:?}", response.errors);
}

#[tokio::test]
async fn every_root_field_wants_a_viewer() {
    let schema: MatchingSchema = schema().finish();
    let id = "\"00000000-0000-0000-0000-000000000007\"";
    let entities =
        format!("{{ _entities(representations: [{{ __typename: \"Match\", id: {id} }}]) {{ __typename }} }}");
    let mut requests = vec![
        "{ deck { distanceKm } }".to_owned(),
        "{ matches { nodes { id } } }".to_owned(),
        "{ swipeQuota { limit } }".to_owned(),
        entities,
    ];
    for field in [
        "swipe(input: { userId: ID, action: LIKE })",
        "blockUser(input: { userId: ID })",
        "unmatch(input: { matchId: ID })",
    ] {
        requests.push(format!("mutation {{ {} {{ __typename }} }}", field.replace("ID", id)));
    }
    for request in requests {
        let response = schema.execute(request.as_str()).await;
        let code = response.errors.first().and_then(|error| error.extensions.as_ref()?.get("code").cloned());
        // Without a token nothing else is looked at, not even what the resolver works with.
        assert_eq!(code, Some("UNAUTHENTICATED".into()), "{request}: {:?}", response.errors);
    }
}
