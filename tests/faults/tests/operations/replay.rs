//! Dead letters are applied once their cause is mended.

use super::writer;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;
use velvet_e2e::database::messages;
use velvet_faults::{
    HEALED,
    tap::{Tap, event},
};
use velvet_kernel::log::{NewEvent, SHARDS, Stage, Topic, partition_of};
use velvet_kit::{Database, Handle, until};

fn message(kind: &str, conversation: &str, position: i64, body: &str) -> NewEvent {
    let row = json!({
        "conversation_id": conversation, "position": position, "message_id": "m", "event_id": Uuid::new_v4(),
        "client_id": format!("c{position}"), "sender_id": Uuid::new_v4(), "body": body,
        "sent_at": "2026-11-21T10:00:00Z", "edited_at": null, "deleted": false,
    });
    event(Uuid::new_v4(), kind, conversation, &row)
}

fn place(letter: &Value) -> String {
    format!("{}/{}/{}", letter["topic"].as_str().unwrap_or_default(), letter["partition"], letter["offset"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_applied_once_their_cause_is_mended_and_overtake_nothing() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let tap = Tap::open(&stack)?;
    let decided = Topic::of("messaging", Stage::Decided);
    let conversation = Uuid::new_v4().to_string();
    let shard = partition_of(&conversation, SHARDS);
    let database = stack.database(usize::from(shard >= SHARDS / 2))?;
    let table = format!("shard_{shard:02}.messages");

    // A rule that a migration should not have made.
    let mistake = format!("ALTER TABLE {table} ADD CONSTRAINT mistaken CHECK (body NOT LIKE 'no %') NOT VALID");
    database.execute(&mistake).await?;
    let letters = put_aside(&stack, &tap, &decided, &conversation).await;
    mend(&database, &table).await?;
    let letters = letters?;

    let listed = writer(&stack, &["dead-letters", "list"]).await?;
    for letter in &letters {
        let place = place(letter);
        assert!(listed.contains(&place), "{place} in {listed}");
        let told = writer(&stack, &["dead-letters", "replay", "--at", &place]).await?;
        assert!(told.contains("1 dead letters applied"), "{told}");
    }
    let expected = [(1, "yes 1"), (2, "no 2"), (3, "yes 3")].map(|(position, body)| (position, body.to_owned()));
    assert_eq!(
        messages(&stack, &conversation).await?,
        expected,
        "the third was edited before its sending was replayed"
    );

    let listed = writer(&stack, &["dead-letters", "list"]).await?;
    for letter in &letters {
        let place = place(letter);
        assert!(!listed.contains(&place), "{place} in {listed}");
        let again = writer(&stack, &["dead-letters", "replay", "--at", &place]).await;
        assert!(again.is_err_and(|error| format!("{error:#}").contains("no dead letter")));
    }
    Ok(())
}

async fn mend(database: &Database, table: &str) -> Result<()> {
    database.execute(&format!("ALTER TABLE {table} DROP CONSTRAINT mistaken")).await.map(drop)
}

/// Three messages are sent, two of which the rule refuses, and one of those is edited to what it allows.
async fn put_aside(stack: &Handle, tap: &Tap, decided: &Topic, conversation: &str) -> Result<Vec<Value>> {
    let sent = |position, body| message("message.sent", conversation, position, body);
    tap.append(decided, &[sent(1, "yes 1"), sent(2, "no 2"), sent(3, "no 3")]).await?;
    let letters = tap.find(&Topic::dead_letters(), 2, |letter| letter["key"] == conversation).await?;
    tap.append(decided, &[message("message.edited", conversation, 3, "yes 3")]).await?;
    until("the messages that the rule allows", HEALED, || async {
        let stored = messages(stack, conversation).await?;
        ensure!(stored.len() == 2, "{stored:?}");
        Ok(())
    })
    .await?;
    // While the rule stands, they stay where they are.
    let refused = writer(stack, &["dead-letters", "replay", "--at", &place(&letters[0])]).await;
    let refused = refused.err().context("a replay that must fail")?;
    ensure!(format!("{refused:#}").contains("constraint mistaken"), "{refused:#}");
    Ok(letters)
}
