//! Records that can be no rows: each is put aside with its cause and its bytes, and holds up nothing.

#![expect(clippy::disallowed_methods, reason = "tests make ids up as they go")]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;
use velvet_faults::{
    HEALED,
    tap::{Tap, event},
};
use velvet_kernel::log::{NewEvent, Stage, Topic};
use velvet_kit::{Handle, until};

const SENT: &str = "message.sent";
/// Neither JSON nor UTF-8.
const NOISE: &[u8] = b"{\"position\": \xff\x00";

fn message(conversation: &str, position: i64, body: &str) -> Value {
    json!({
        "conversation_id": conversation, "position": position, "message_id": "m", "event_id": Uuid::new_v4(),
        "client_id": format!("c{position}"), "sender_id": Uuid::new_v4(), "body": body,
        "sent_at": "2026-11-21T10:00:00Z", "edited_at": null, "deleted": false,
    })
}

fn sent(conversation: &str, position: i64) -> NewEvent {
    event(Uuid::new_v4(), SENT, conversation, &message(conversation, position, &format!("message {position}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_records_are_put_aside_whole_and_the_records_around_them_arrive() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let tap = Tap::open(&stack)?;
    let decided = Topic::of("messaging", Stage::Decided);
    let conversation = Uuid::new_v4().to_string();

    let with_nul = event(Uuid::new_v4(), SENT, &conversation, &message(&conversation, 90, "a\0b"));
    let at_zero = event(Uuid::new_v4(), SENT, &conversation, &message(&conversation, 0, "nowhere"));
    let cut_off = NewEvent { data: b"{\"conversation_id\":".to_vec(), ..sent(&conversation, 91) };
    let noise = NewEvent { data: NOISE.to_vec(), ..sent(&conversation, 92) };
    let unknown = event(Uuid::new_v4(), "message.sung", &conversation, &json!({ "song": "none" }));
    let bad = [&with_nul, &at_zero, &cut_off, &noise, &unknown];
    let mut records = vec![sent(&conversation, 1)];
    for (position, bad) in (2..).zip(bad) {
        records.extend([bad.clone(), sent(&conversation, position)]);
    }
    tap.append(&decided, &records).await?;
    tap.append_bytes(&decided, &conversation, NOISE).await?;
    tap.append(&decided, &[sent(&conversation, 7)]).await?;

    let stored = until("the good records in PostgreSQL", HEALED, || async {
        let rows = velvet_e2e::database::messages(&stack, &conversation).await?;
        ensure!(rows.len() >= 7, "{} rows so far", rows.len());
        Ok(rows)
    })
    .await?;
    assert_eq!(stored, (1..=7).map(|position| (position, format!("message {position}"))).collect::<Vec<_>>());

    let letters = tap.find(&Topic::dead_letters(), 6, |letter| letter["key"] == conversation.as_str()).await?;
    let letter_with = |cause: &str| {
        let found = letters.iter().find(|letter| letter["cause"].as_str().is_some_and(|said| said.contains(cause)));
        found.with_context(|| format!("no dead letter says {cause}: {letters:?}"))
    };
    for (cause, record) in [
        ("SQLSTATE 22021", &with_nul),
        ("SQLSTATE 23514 on messages, constraint messages_position_check", &at_zero),
        ("does not parse: EOF", &cut_off),
        ("message.sung is no type of event that the writer knows", &unknown),
    ] {
        let letter = letter_with(cause)?;
        assert_eq!(letter["data"], String::from_utf8(record.data.clone())?, "{cause}");
        assert_eq!((&letter["topic"], &letter["kind"]), (&json!(decided.0), &json!(record.kind)));
    }
    let in_base64 = |letter: &&Value| letter["data_base64"] == "eyJwb3NpdGlvbiI6IP8A";
    assert_eq!(letters.iter().filter(in_base64).count(), 2, "{letters:?}");
    let bare = letter_with("the attribute ce_id is missing or malformed")?;
    assert!(in_base64(&bare), "its bytes: {bare}");
    assert!(bare["partition"].is_i64() && bare["offset"].as_i64() > Some(0), "its place: {bare}");
    assert_eq!(letters.len(), 6);
    Ok(())
}
