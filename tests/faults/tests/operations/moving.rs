//! A shard moves from one server to another, and back.

use super::{address, writer, writer_arguments};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use velvet_e2e::{Person, conversation_of, meet};
use velvet_faults::{HEALED, talk::Talk, writers::SecondWriter};
use velvet_kernel::log::{SHARDS, partition_of};
use velvet_kit::{Handle, Profile, binaries::Binaries, until};

/// What is said on all shards for each message that two people exchange.
const AT_ONCE: usize = 32;

/// People who talk on all shards, and two whose own words are on the shard that moves.
struct World {
    talk: Talk,
    alice: Person,
    bob: Person,
    conversation: String,
    shard: i32,
    /// The server that has it by the configuration, and the other one.
    home: usize,
    away: usize,
    said: usize,
}

impl World {
    async fn make(stack: &Handle) -> Result<Self> {
        let talk = Talk::open(stack).await?;
        let (alice, bob) = (Person::sign_up(stack, "alice").await?, Person::sign_up(stack, "bob").await?);
        let conversation = conversation_of(&alice, &meet(&alice, &bob).await?).await?;
        let shard = partition_of(&conversation, SHARDS);
        let home = usize::from(shard >= SHARDS / 2);
        Ok(Self { talk, alice, bob, conversation, shard, home, away: 1 - home, said: 0 })
    }

    /// Everybody goes on until the work is done: each message is acknowledged with the next position, and whoever signs
    /// up gets a session.
    async fn while_people_talk<T>(&mut self, stack: &Handle, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = AtomicBool::new(false);
        let work = async {
            let outcome = work.await;
            done.store(true, Ordering::Relaxed);
            outcome
        };
        let Self { talk, alice, conversation, said, .. } = self;
        let talking = async {
            while !done.load(Ordering::Relaxed) {
                talk.say(AT_ONCE).await?;
                *said += 1;
                let sent = alice.send(conversation, &format!("c{said}"), &format!("message {said}")).await?;
                ensure!(sent["message"]["position"] == *said, "{sent}");
            }
            Ok(())
        };
        let joining = async {
            while !done.load(Ordering::Relaxed) {
                // While a writer is missing, nobody has its partitions for six seconds.
                until("a session", HEALED, || Person::sign_up(stack, "late")).await?;
            }
            Ok(())
        };
        let (outcome, (), ()) = futures::try_join!(work, talking, joining)?;
        Ok(outcome)
    }

    /// What the two have said, as one server has it; an error if the shard is not there.
    async fn stored_on(&self, stack: &Handle, server: usize) -> Result<usize> {
        let select = format!(
            "SELECT position FROM shard_{:02}.messages WHERE conversation_id = '{}'",
            self.shard, self.conversation
        );
        Ok(stack.database(server)?.query(&select).await?.len())
    }

    async fn all_stored_on(&self, stack: &Handle, server: usize) -> Result<()> {
        until("all that was said, on the server that has the shard", HEALED, || async {
            let stored = self.stored_on(stack, server).await?;
            ensure!(stored == self.said, "{stored} of {}", self.said);
            Ok(())
        })
        .await
    }

    /// How many rows each table of what stayed behind has.
    async fn left_behind(&self, stack: &Handle, server: usize, generation: i32) -> Result<String> {
        let schema = format!("shard_{:02}_moved_{generation}", self.shard);
        let count = |table: &str| format!("(SELECT count(*) FROM {schema}.{table})");
        let places = format!("(SELECT sum(next_offset) FROM {schema}.log_positions)");
        let select = format!("SELECT {} AS m, {} AS u, {places} AS p", count("messages"), count("users"));
        Ok(json!(stack.database(server)?.query(&select).await?).to_string())
    }
}

/// Starts a move and kills it as soon as it has begun to copy.
async fn move_and_kill(stack: &Handle, arguments: &[&str]) -> Result<()> {
    let config = stack.info.writer_config().to_string_lossy().into_owned();
    let mut child = Command::new(Binaries::find(&stack.info.root, Profile::Debug)?.path("velvet-writer"))
        .args(writer_arguments(&config, arguments))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    while let Some(line) = lines.next_line().await? {
        if line.contains("are being copied") {
            break;
        }
    }
    child.kill().await.context("killing a move")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_moves_to_another_server_and_back_while_people_talk() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let mut world = World::make(&stack).await?;
    let (shard, home, away) = (world.shard.to_string(), world.home, world.away);
    let (to_home, to_away) = (address(&stack.info, home)?, address(&stack.info, away)?);
    let there = ["shard", "move", "--shard", &shard, "--to", &to_away];
    let back = ["shard", "move", "--shard", &shard, "--to", &to_home];

    // One that dies before its switch has moved nothing.
    move_and_kill(&stack, &there).await?;
    let listed = writer(&stack, &["shard", "list"]).await?;
    let line = |listed: &str| listed.lines().nth(usize::try_from(world.shard).unwrap_or_default()).map(str::to_owned);
    ensure!(line(&listed).is_some_and(|line| line.contains(&to_home)), "{listed}");

    let told = world.while_people_talk(&stack, writer(&stack, &there)).await?;
    println!("{told}");
    world.all_stored_on(&stack, away).await?;
    assert!(world.stored_on(&stack, home).await.is_err(), "nobody finds the shard where it was");
    let generation = generation_of(&told)?;
    let left = world.left_behind(&stack, home, generation).await?;

    // One that dies right after its switch has moved the shard: this is how it leaves the map.
    let unsettle = format!("UPDATE velvet.shards SET state = 'incoming' WHERE shard = {shard}");
    stack.database(away)?.execute(&unsettle).await?;
    stack.writer().restart().await?;
    world.while_people_talk(&stack, writer(&stack, &there)).await?;
    world.all_stored_on(&stack, away).await?;

    // A writer that was frozen before the move back has the map of before; another does the work meanwhile.
    let second = SecondWriter::start(&stack, &[])?;
    stack.writer().pause().await?;
    let told = world.while_people_talk(&stack, writer(&stack, &back)).await;
    stack.writer().resume().await?;
    println!("{}", told?);
    world.while_people_talk(&stack, async { Ok(()) }).await?;
    second.kill9().await?;
    world.all_stored_on(&stack, home).await?;
    world.talk.stored(&stack, world.talk.said()).await?;
    world.talk.check_stored_once_each(&stack).await?;
    assert_eq!(world.left_behind(&stack, home, generation).await?, left, "no writer has written to what stayed behind");

    let expected: Vec<(i64, String)> = (1..=world.said)
        .map(|number| (i64::try_from(number).unwrap_or_default(), format!("message {number}")))
        .collect();
    assert_eq!(world.bob.history(&world.conversation).await?, expected);
    writer(&stack, &["shard", "drop-old", "--shard", &shard]).await?;
    let listed = writer(&stack, &["shard", "list"]).await?;
    assert!(!listed.contains("moved"), "{listed}");
    Ok(())
}

fn generation_of(told: &str) -> Result<i32> {
    let found = told.lines().find_map(|line| line.rsplit_once("_moved_")).context("what stays behind")?;
    found.1.trim().parse().with_context(|| told.to_owned())
}
