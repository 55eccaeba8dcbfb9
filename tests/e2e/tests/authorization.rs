//! Every root field has a case: what an anonymous caller gets.

use anyhow::{Context, Result};
use serde_json::json;
use std::collections::BTreeSet;
use velvet_kit::{
    Handle,
    client::ws::{Event, Socket},
};

/// Root fields that anybody may ask.
const PUBLIC: [&str; 4] = ["register", "login", "refreshSession", "logout"];

/// Every other root field, as somebody would call it. Whoever adds a root field adds it here, or to `PUBLIC`.
const SIGNED_IN: [(&str, &str); 29] = [
    ("me", "{ me { email } }"),
    ("user", "{ user(id: \"x\") { id } }"),
    ("partners", "{ partners { nodes { slug } } }"),
    ("partner", "{ partner(slug: \"acme\") { slug } }"),
    ("partnerUsage", "{ partnerUsage(slug: \"acme\") { nodes { calls } } }"),
    (
        "createPartner",
        "mutation { createPartner(input: { slug: \"acme\", name: \"x\", userId: \"x\" }) { __typename } }",
    ),
    ("updatePartner", "mutation { updatePartner(input: { slug: \"acme\" }) { __typename } }"),
    (
        "createPartnerKey",
        "mutation { createPartnerKey(input: { slug: \"acme\", mode: TEST, scopes: [\"*\"] }) { __typename } }",
    ),
    ("rotatePartnerKey", "mutation { rotatePartnerKey(input: { slug: \"acme\", prefix: \"x\" }) { __typename } }"),
    ("revokePartnerKey", "mutation { revokePartnerKey(input: { slug: \"acme\", prefix: \"x\" }) { __typename } }"),
    ("retireOperation", "mutation { retireOperation(input: { slug: \"acme\", id: \"x\" }) { __typename } }"),
    ("deck", "{ deck { distanceKm } }"),
    ("matches", "{ matches { nodes { id } } }"),
    ("swipeQuota", "{ swipeQuota { remaining } }"),
    ("conversations", "{ conversations { nodes { id } } }"),
    ("conversation", "{ conversation(id: \"x\") { id } }"),
    ("updateProfile", "mutation { updateProfile(input: {}) { __typename } }"),
    ("setLocation", "mutation { setLocation(input: { latitude: 1, longitude: 1 }) { __typename } }"),
    ("swipe", "mutation { swipe(input: { userId: \"x\", action: LIKE }) { __typename } }"),
    ("unmatch", "mutation { unmatch(input: { matchId: \"x\" }) { __typename } }"),
    ("blockUser", "mutation { blockUser(input: { userId: \"x\" }) { __typename } }"),
    (
        "sendMessage",
        "mutation { sendMessage(input: { conversationId: \"x\", clientId: \"x\", body: \"x\" }) { __typename } }",
    ),
    ("editMessage", "mutation { editMessage(input: { messageId: \"x\", body: \"x\" }) { __typename } }"),
    ("deleteMessage", "mutation { deleteMessage(input: { messageId: \"x\" }) { __typename } }"),
    ("reactToMessage", "mutation { reactToMessage(input: { messageId: \"x\", emoji: \"👍\" }) { __typename } }"),
    ("markRead", "mutation { markRead(input: { conversationId: \"x\", position: 1 }) { __typename } }"),
    ("setTyping", "mutation { setTyping(input: { conversationId: \"x\", typing: true }) { __typename } }"),
    ("matchEvents", "subscription { matchEvents { __typename } }"),
    ("messageEvents", "subscription { messageEvents { __typename } }"),
];

/// Subscriptions with an argument that anonymous callers cannot get right anyway.
const SIGNED_IN_STREAMS: [(&str, &str); 1] = [("typing", "subscription { typing(conversationId: \"x\") { typing } }")];

#[tokio::test]
async fn every_root_field_has_a_case() -> Result<()> {
    let stack = Handle::from_env()?;
    let query = "{ __schema { queryType { fields { name } } mutationType { fields { name } } subscriptionType { fields { name } } } }";
    let schema = stack.client()?.data(query, json!({})).await?;
    let mut fields = BTreeSet::new();
    for kind in ["queryType", "mutationType", "subscriptionType"] {
        let listed = schema["__schema"][kind]["fields"].as_array().with_context(|| format!("no {kind}"))?;
        fields.extend(listed.iter().filter_map(|field| field["name"].as_str()));
    }
    let mut cases: BTreeSet<&str> = PUBLIC.into_iter().collect();
    cases.extend(SIGNED_IN.iter().chain(&SIGNED_IN_STREAMS).map(|(name, _)| *name));
    assert_eq!(fields, cases, "a root field without a case: add it to PUBLIC or SIGNED_IN");
    Ok(())
}

#[tokio::test]
async fn an_anonymous_caller_gets_unauthenticated_and_nothing_else() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    for (name, operation) in SIGNED_IN {
        if operation.starts_with("subscription") {
            assert_eq!(code_over_the_socket(&stack, operation).await?, "UNAUTHENTICATED", "{name}");
        } else {
            let answer = client.send(operation, json!({})).await?;
            assert_eq!(answer.code(), Some("UNAUTHENTICATED"), "{name}: {answer:?}");
            assert!(answer.data.is_null() || answer.data[name].is_null(), "{name}: {answer:?}");
            assert_eq!(code_over_the_socket(&stack, operation).await?, "UNAUTHENTICATED", "{name} over the socket");
        }
    }
    for (name, operation) in SIGNED_IN_STREAMS {
        assert_eq!(code_over_the_socket(&stack, operation).await?, "UNAUTHENTICATED", "{name}");
    }
    Ok(())
}

async fn code_over_the_socket(stack: &Handle, operation: &str) -> Result<String> {
    let mut socket = Socket::open(&stack.info.ws_url, None).await?;
    let id = socket.subscribe(operation, json!({})).await?;
    let errors = match socket.next(&id, velvet_e2e::SOON).await? {
        Event::Errors(errors) => errors,
        Event::Next(payload) => payload["errors"].clone(),
        Event::Complete => json!(null),
    };
    Ok(errors[0]["extensions"]["code"].as_str().unwrap_or_default().to_owned())
}
