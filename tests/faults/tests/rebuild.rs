//! Views that were lost or have drifted are what PostgreSQL has.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use velvet_e2e::{Person, conversation_of, database::everywhere, meet, partner::velvet, person::registration};
use velvet_faults::{HEALED, metrics, writers::SecondWriter};
use velvet_kernel::{
    config::RedisConfig,
    store::{CANARIES, Call, Reply, Store},
};
use velvet_kit::{Handle, Profile, binaries::Binaries, until};

/// All that the graph says of a person's own.
const EVERYTHING: &str = "{
    me {
        email verificationStatus user { id displayName bio verified }
        preferences { ageMin ageMax distanceKmMax genders verifiedOnly }
    }
    matches(first: 100) { nodes { id matchedAt with { id displayName } conversation { id open } } }
    conversations(first: 10) { nodes {
        id open unreadCount readByOther with { id }
        messages(first: 10) { nodes { id position body deleted sentAt editedAt reactions { emoji userIds } } }
    } }
}";
const SAY: &str =
    "mutation($input: SendMessageInput!) { sendMessage(input: $input) { ... on MessageSent { message { id } } } }";

/// Two who chat, one whom the first has blocked, and one whom the first has left.
struct World {
    people: [Person; 4],
    left: String,
}

impl World {
    /// Makes at least one row of every kind.
    async fn make(stack: &Handle) -> Result<Self> {
        let sign_up = |name| Person::sign_up(stack, name);
        let people = [sign_up("alice").await?, sign_up("bob").await?, sign_up("carol").await?, sign_up("dave").await?];
        let [alice, bob, carol, dave] = &people;
        let conversation = conversation_of(alice, &meet(alice, bob).await?).await?;
        meet(alice, carol).await?;
        let dropped = meet(alice, dave).await?;
        let left = conversation_of(alice, &dropped).await?;
        dave.send(&left, "d1", "hello?").await?;
        let mut ids = Vec::new();
        for number in 0..6 {
            let person = [alice, bob][number % 2];
            let input = json!({ "conversationId": conversation, "clientId": format!("c{number}"), "body": "hello" });
            let sent = person.ask(SAY, json!({ "input": input })).await?;
            ids.push(sent["sendMessage"]["message"]["id"].as_str().context("a message")?.to_owned());
        }
        for (person, mutation) in [
            (alice, format!(r#"editMessage(input: {{ messageId: "{}", body: "hi" }})"#, ids[0])),
            (alice, format!(r#"deleteMessage(input: {{ messageId: "{}" }})"#, ids[2])),
            (bob, format!(r#"reactToMessage(input: {{ messageId: "{}", emoji: "👍" }})"#, ids[4])),
            (bob, format!(r#"reactToMessage(input: {{ messageId: "{}", emoji: "🎉" }})"#, ids[4])),
            (bob, format!(r#"reactToMessage(input: {{ messageId: "{}", emoji: "🎉", remove: true }})"#, ids[4])),
            (alice, format!(r#"markRead(input: {{ conversationId: "{conversation}", position: 4 }})"#)),
            (alice, format!(r#"blockUser(input: {{ userId: "{}" }})"#, carol.id)),
            (alice, format!(r#"unmatch(input: {{ matchId: "{dropped}" }})"#)),
            (bob, r#"updateProfile(input: { bio: "a baker" })"#.to_owned()),
            (
                bob,
                "updateProfile(input: { preferences: { ageMin: 30, distanceKmMax: 7, genders: [MALE] } })".to_owned(),
            ),
        ] {
            let done = person.ask(&format!("mutation {{ {mutation} {{ __typename }} }}"), json!({})).await?;
            ensure!(!done.to_string().contains("Not") && !done.to_string().contains("Invalid"), "{mutation}: {done}");
        }
        velvet(stack, &["verify", "--user", &carol.id, "--status", "verified"]).await?;
        let world = Self { people, left };
        until("the conversation that was left to be closed", HEALED, || async {
            let closed = world.of_the_left().await?;
            ensure!(closed["conversation"]["open"] == false, "{closed}");
            Ok(())
        })
        .await?;
        Ok(world)
    }

    async fn of_the_left(&self) -> Result<Value> {
        let query = "query($id: ID!) { conversation(id: $id) { open messages(first: 10) { nodes { body } } } }";
        self.people[3].ask(query, json!({ "id": self.left })).await
    }

    /// What all of them see of themselves and of each other.
    async fn seen(&self) -> Result<Vec<Value>> {
        let mut seen = vec![self.of_the_left().await?];
        for person in &self.people {
            seen.push(person.ask(EVERYTHING, json!({})).await?);
            for other in &self.people {
                let look = "query($id: ID!) { user(id: $id) { id displayName bio verified } }";
                seen.push(person.ask(look, json!({ "id": other.id })).await?);
            }
        }
        Ok(seen)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_asked_for_twice_and_loses_its_writer_makes_the_views_that_were() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let world = World::make(&stack).await?;
    let before = world.seen().await?;
    let text = before.iter().map(Value::to_string).collect::<String>();
    for part in [
        "\"hi\"",
        "👍",
        "\"VERIFIED\"",
        "\"ageMin\":30",
        "\"deleted\":true",
        "a baker",
        "\"open\":false",
        "\"unreadCount\":1",
    ] {
        assert!(text.contains(part), "{part} is not among what they see: {text}");
    }

    stack.wipe_redis().await?;
    let config = stack.info.writer_config().to_string_lossy().into_owned();
    let binaries = Binaries::find(&stack.info.root, Profile::Debug)?;
    let arguments = ["--config", &config, "rebuild", "--timeout", "80"];
    let ask = || binaries.run("velvet-writer", &arguments, &stack.info.root);
    let kill = async {
        stack.writer().kill9().await?;
        stack.writer().start().await
    };
    let (first, second, ()) = futures::try_join!(ask(), ask(), kill)?;
    for told in [first, second] {
        assert!(told.contains("rebuilt:"), "{told}");
    }
    let after = until("the views", HEALED, || world.seen()).await?;
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(after, before);
    }
    // They are not only seen but lived in: what is said next has the next place.
    let [alice, bob, ..] = &world.people;
    let conversation = before[1]["conversations"]["nodes"][0]["id"].as_str().context("a conversation")?;
    assert_eq!(bob.send(conversation, "next", "next").await?["message"]["position"], 7);
    assert_eq!(alice.history(conversation).await?.len(), 7);
    Ok(())
}

const REBUILDS: &str = "velvet_rebuilds_total";

/// All that Redis is told is on its disk a second later, so this restart loses nothing; nobody can know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_during_which_a_master_restarted_does_not_count() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let world = World::make(&stack).await?;
    let before = world.seen().await?;
    let rebuilds = async || metrics::total(stack.info.api_url.as_str(), REBUILDS).await;

    let first = rebuilds().await?;
    stack.writer().kill9().await?;
    stack.wipe_redis().await?;
    until("a rebuild that waits for a writer", HEALED, || async {
        ensure!(rebuilds().await? > first, "none");
        let store = Store::connect(&RedisConfig { urls: stack.info.redis_urls.clone() }).await?;
        let notes = CANARIES.iter().map(|key| Call::command_on("GET", format!("{key}:process")));
        let notes = store.run(&notes.collect::<Vec<_>>()).await?;
        ensure!(!notes.contains(&Reply::Nil), "its start is not noted everywhere");
        Ok(())
    })
    .await?;
    let waiting = rebuilds().await?;
    stack.redis(0).kill9().await?;
    stack.redis(0).start().await?;
    stack.writer().start().await?;

    until("the views", HEALED, || async {
        ensure!(world.seen().await? == before, "they differ");
        Ok(())
    })
    .await?;
    assert!(rebuilds().await? > waiting, "one that lost its master was taken for whole");
    Ok(())
}

const DRIFTED: &str = "velvet_project_drifted_rows_total";
const SAMPLED: &str = "velvet_project_sampled_rows_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calibration_mends_a_view_that_has_drifted_and_counts_it() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let world = World::make(&stack).await?;
    let api = stack.info.api_url.as_str();
    let (drifted, sampled) = (metrics::total(api, DRIFTED).await?, metrics::total(api, SAMPLED).await?);
    let calibrator = SecondWriter::start(&stack, &[("WRITER__CALIBRATE_PAUSE_MS", "20")])?;
    until("a sample of every shard", HEALED, || async {
        let rows = metrics::total(api, SAMPLED).await? - sampled;
        ensure!(rows >= 200.0, "{rows} rows");
        Ok(())
    })
    .await?;
    assert!((metrics::total(api, DRIFTED).await? - drifted).abs() < 0.5, "views that are right are left alone");

    // Samples are taken at random, so the accounts of a whole server have drifted.
    let store = Store::connect(&RedisConfig { urls: stack.info.redis_urls.clone() }).await?;
    let mut damaged = Vec::new();
    for shard in 0..8 {
        for row in stack.database(0)?.query(&format!("SELECT user_id FROM shard_{shard:02}.users")).await? {
            let key = format!("accounts:user:{{{}}}", row["user_id"].as_str().context("a user")?);
            let set: String = store.ask(Call::command_on("SET", key.as_str()).arg("1:{}")).await?;
            assert_eq!(set, "OK");
            damaged.push(key);
        }
    }
    let mended = until("a view to be mended", HEALED, || async {
        let mut mended = 0;
        for key in &damaged {
            let now: String = store.ask(Call::command_on("GET", key.as_str())).await?;
            mended += u32::from(now != "1:{}");
        }
        ensure!(mended > 0, "none of {}", damaged.len());
        Ok(mended)
    })
    .await?;
    until("the mended views to be counted", HEALED, || async {
        let counted = metrics::total(api, DRIFTED).await? - drifted;
        ensure!(counted >= f64::from(mended), "{counted} of {mended}");
        Ok(())
    })
    .await?;
    calibrator.kill9().await?;
    // The others would have their turn one day; the next test does not wait for it.
    stack.wipe_redis().await?;
    until("the views", HEALED, || world.seen()).await.map(drop)
}

/// A place that nobody else is at.
const PLACE: (f64, f64) = (-75.3, 120.4);

async fn at_the_place(stack: &Handle, name: &str, side: &str) -> Result<Person> {
    let mut input = registration(name);
    input["side"] = json!(side);
    let person = Person::sign_up_with(stack, &input).await?;
    let set = "mutation($input: SetLocationInput!) { setLocation(input: $input) { __typename } }";
    let place = json!({ "latitude": PLACE.0, "longitude": PLACE.1 });
    let answer = person.ask(set, json!({ "input": place })).await?;
    ensure!(answer["setLocation"]["__typename"] == "LocationSet", "{answer}");
    Ok(person)
}

async fn refresh(stack: &Handle, token: &str) -> Result<Value> {
    let mutation = "mutation($input: RefreshSessionInput!) { refreshSession(input: $input) {
        __typename ... on Session { refreshToken account { email } }
    } }";
    let answer = stack.client()?.data(mutation, json!({ "input": { "refreshToken": token } })).await?;
    Ok(answer["refreshSession"].clone())
}

fn refresh_token(session: &Value) -> Result<&str> {
    session["refreshToken"].as_str().with_context(|| format!("no session: {session}"))
}

/// Swiped person and action.
async fn stored_swipes(stack: &Handle, swiper: &str) -> Result<BTreeSet<(String, String)>> {
    let query = format!("SELECT swiped_id, action FROM {{shard}}.swipes WHERE swiper_id = '{swiper}'");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(everywhere(stack, &query).await?.iter().map(|row| (text(&row["swiped_id"]), text(&row["action"]))).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_swiped_stays_away_and_sessions_go_on_when_redis_was_lost() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let alice = at_the_place(&stack, "alice", "CREATOR").await?;
    let patron = |name| at_the_place(&stack, name, "PATRON");
    let (liked, passed, changed, new) =
        (patron("liked").await?, patron("passed").await?, patron("changed").await?, patron("new").await?);
    for (other, action) in [(&liked, "LIKE"), (&passed, "PASS"), (&changed, "PASS"), (&changed, "SUPER_LIKE")] {
        assert_eq!(alice.swipe(&other.id, action).await?["__typename"], "Swiped");
    }
    let expected = BTreeSet::from([
        (liked.id.clone(), "like".to_owned()),
        (passed.id.clone(), "pass".to_owned()),
        (changed.id.clone(), "super_like".to_owned()),
    ]);
    until("the swipes in PostgreSQL", HEALED, || async {
        let stored = stored_swipes(&stack, &alice.id).await?;
        ensure!(stored == expected, "{stored:?}");
        Ok(())
    })
    .await?;
    let second = refresh(&stack, &alice.refresh_token).await?;
    let third = refresh(&stack, refresh_token(&second)?).await?;
    let third = refresh_token(&third)?;

    stack.wipe_redis().await?;
    let fourth = until("a session that goes on", HEALED, || refresh(&stack, third)).await?;
    assert_eq!((&fourth["__typename"], &fourth["account"]["email"]), (&json!("Session"), &json!(alice.email)));
    // Whoever brings one of two rotations ago has stolen it, or lost it to a thief.
    assert_eq!(refresh(&stack, &alice.refresh_token).await?["__typename"], "CredentialsRefused");
    assert_eq!(refresh(&stack, refresh_token(&fourth)?).await?["__typename"], "CredentialsRefused");

    let deck = "{ deck(first: 50) { user { id } superLikedYou distanceKm } }";
    let cards = until("a deck", HEALED, || async {
        let cards = alice.ask(deck, json!({})).await?["deck"].take();
        ensure!(cards[0].is_object(), "no card yet");
        Ok(cards)
    })
    .await?;
    assert_eq!(cards, json!([{ "user": { "id": new.id }, "superLikedYou": false, "distanceKm": 1 }]));
    // What they were to her, she is to them: first in the deck of the one whom she super-liked.
    let cards = until("a deck", HEALED, || async {
        let cards = changed.ask(deck, json!({})).await?["deck"].take();
        ensure!(cards[0].is_object(), "no card yet");
        Ok(cards)
    })
    .await?;
    assert_eq!(cards, json!([{ "user": { "id": alice.id }, "superLikedYou": true, "distanceKm": 1 }]));
    // And a like of hers from before is answered with a match.
    let matched = liked.swipe(&alice.id, "LIKE").await?;
    assert!(matched["match"]["id"].is_string(), "{matched}");
    assert!(passed.swipe(&alice.id, "LIKE").await?["match"].is_null());
    Ok(())
}
