//! `conversations`: the one with the newest message first, page by page.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use velvet_e2e::{Person, SOON, conversation_of, meet};
use velvet_kit::{Handle, until};

const PAGE: &str = "query($first: Int, $after: String) { conversations(first: $first, after: $after) {
    edges { cursor node { id } } nodes { id lastMessage { body } unreadCount }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
} }";

async fn page(person: &Person, first: usize, after: &Value) -> Result<Value> {
    Ok(person.ask(PAGE, json!({ "first": first, "after": after })).await?["conversations"].take())
}

fn ids(page: &Value) -> Vec<String> {
    let nodes = page["nodes"].as_array().into_iter().flatten();
    nodes.map(|node| node["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The list comes from its own view, a moment after the message.
async fn listed(person: &Person, expected: &[String]) -> Result<()> {
    until("that order", SOON, || async {
        let seen = ids(&page(person, 100, &json!(null)).await?);
        ensure!(seen == expected, "{seen:?} and not {expected:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn conversations_are_ordered_by_their_last_message_and_come_page_by_page() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let (mut others, mut newest_first) = (Vec::new(), Vec::new());
    for number in 0..5 {
        let other = Person::sign_up(&stack, &format!("other-{number}")).await?;
        let id = conversation_of(&alice, &meet(&alice, &other).await?).await?;
        newest_first.insert(0, id.clone());
        others.push((other, id));
    }
    // Without a message, by when they were opened.
    listed(&alice, &newest_first).await?;
    for (number, who) in [2, 0, 4, 1, 3].into_iter().enumerate() {
        let (other, id) = &others[who];
        // Either side's message counts.
        let sender = if number % 2 == 0 { other } else { &alice };
        sender.send(id, &format!("c{number}"), &format!("message {number}")).await?;
    }
    let order = [3, 1, 4, 0, 2].map(|who: usize| others[who].1.clone());
    listed(&alice, &order).await?;

    let first = page(&alice, 2, &json!(null)).await?;
    assert_eq!(ids(&first), order[..2]);
    assert_eq!(first["nodes"][0]["lastMessage"]["body"], "message 4");
    assert_eq!(
        (&first["pageInfo"]["hasPreviousPage"], &first["pageInfo"]["hasNextPage"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(first["pageInfo"]["startCursor"], first["edges"][0]["cursor"]);
    assert_eq!(first["pageInfo"]["endCursor"], first["edges"][1]["cursor"]);

    let second = page(&alice, 2, &first["pageInfo"]["endCursor"]).await?;
    assert_eq!(ids(&second), order[2..4]);
    assert_eq!(
        (&second["pageInfo"]["hasPreviousPage"], &second["pageInfo"]["hasNextPage"]),
        (&json!(true), &json!(true))
    );
    let third = page(&alice, 2, &second["pageInfo"]["endCursor"]).await?;
    assert_eq!(ids(&third), order[4..]);
    assert_eq!(third["pageInfo"]["hasNextPage"], false);
    let beyond = page(&alice, 2, &third["pageInfo"]["endCursor"]).await?;
    assert_eq!((ids(&beyond), &beyond["pageInfo"]["hasNextPage"]), (Vec::new(), &json!(false)));

    // The last becomes the first; whoever goes on from an earlier page meets nobody twice.
    let (other, id) = &others[2];
    other.send(id, "again", "again").await?;
    listed(&alice, &[2, 3, 1, 4, 0].map(|who: usize| others[who].1.clone())).await?;
    assert_eq!(ids(&page(&alice, 2, &second["pageInfo"]["endCursor"]).await?), Vec::<String>::new());
    // Reading moves nothing.
    let unread = page(&alice, 1, &json!(null)).await?;
    assert_eq!(unread["nodes"][0]["unreadCount"], 2);
    let mark = "mutation($id: ID!) { markRead(input: { conversationId: $id, position: 2 }) { __typename } }";
    alice.ask(mark, json!({ "id": id })).await?;
    let read = page(&alice, 1, &json!(null)).await?;
    assert_eq!((ids(&read), &read["nodes"][0]["unreadCount"]), (vec![id.clone()], &json!(0)));
    Ok(())
}
