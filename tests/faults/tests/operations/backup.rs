//! A PostgreSQL server is lost and set back to a moment of its backup; the log brings it to the present.

use super::writer;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use velvet_e2e::{Person, conversation_of, database::everywhere, meet};
use velvet_faults::{HEALED, talk::Talk};
use velvet_kit::{Handle, backup::Backup, until};

/// The server that is lost.
const LOST: usize = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_goes_back_to_its_backup_and_forward_by_the_log() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let mut talk = Talk::open(&stack).await?;
    talk.say(800).await?;
    talk.stored(&stack, talk.said()).await?;
    let backup = Backup::take(&stack, LOST).await?;

    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let conversation = conversation_of(&alice, &meet(&alice, &bob).await?).await?;
    talk.say(800).await?;
    talk.stored(&stack, talk.said()).await?;
    let then = talk.stored_on(&stack, LOST).await?;
    let moment = stack.database(LOST)?.value("SELECT clock_timestamp()::text AS t").await?;
    let moment = moment.as_str().context("a time")?.to_owned();

    // What comes after the moment is decided, stored and acknowledged, and then lost with the server.
    let mut late = Vec::new();
    for _ in 0..8 {
        late.push(Person::sign_up(&stack, "late").await?);
    }
    for number in 1..=20 {
        alice.send(&conversation, &format!("c{number}"), &format!("message {number}")).await?;
    }
    talk.say(800).await?;
    talk.stored(&stack, talk.said()).await?;
    stack.postgres_replica(LOST).stop().await?;
    stack.postgres(LOST).kill9().await?;
    std::fs::remove_dir_all(backup.data()).context("losing a server's data")?;

    // People do not notice.
    talk.say(400).await?;
    stack.writer().stop().await?;
    let restored = async {
        backup.restore(&stack, &moment).await?;
        talk.stored_on(&stack, LOST).await
    }
    .await;
    stack.writer().start().await?;
    assert_eq!(restored?, then, "what was stored at that moment, and nothing that came later");

    talk.say(400).await?;
    talk.stored(&stack, talk.said()).await?;
    talk.check_stored_once_each(&stack).await?;
    let expected: Vec<(i64, String)> = (1..=20).map(|number| (number, format!("message {number}"))).collect();
    until("what two people said, in PostgreSQL", HEALED, || async {
        let stored = velvet_e2e::database::messages(&stack, &conversation).await?;
        ensure!(stored == expected, "{} of {}", stored.len(), expected.len());
        Ok(())
    })
    .await?;
    for person in &late {
        until("an account that was made after that moment", HEALED, || account(&stack, person)).await?;
    }
    let told = writer(&stack, &["positions"]).await?;
    assert!(!told.contains("the log begins at"), "{told}");
    Ok(())
}

/// One user and one owner of the address, the same as was told; nothing waits in an outbox.
async fn account(stack: &Handle, person: &Person) -> Result<()> {
    for (table, column) in [("users", "email"), ("account_emails", "email_normalized")] {
        let select = format!("SELECT user_id FROM {{shard}}.{table} WHERE {column} = '{}'", person.email);
        let rows = everywhere(stack, &select).await?;
        ensure!(rows == [json!({ "user_id": person.id })], "{table}: {}", Value::from(rows));
    }
    let waiting = everywhere(stack, "SELECT id FROM {shard}.outbox").await?.len();
    ensure!(waiting == 0, "{waiting} events in outboxes");
    Ok(())
}
