//! Whatever happens, positions are dense; and rows in any order give what the facts gave.

use super::world::{Redis, World, alice, bob, closed};
use crate::{
    event::Fact,
    fold::state::{Changes, State},
    view,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use velvet_kernel::{fold::Version, id::UserId};

#[derive(Debug, Clone)]
enum Step {
    Send { bobs: bool, client: u8 },
    Edit { bobs: bool, position: i64, stale: bool },
    Delete { bobs: bool, position: i64, stale: bool },
    React { bobs: bool, position: i64, emoji: u8, remove: bool, stale: bool },
    Read { bobs: bool, position: i64 },
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<bool>;
    let at = || 1..12_i64;
    prop_oneof![
        4 => (who(), 0..10_u8).prop_map(|(bobs, client)| Step::Send { bobs, client }),
        1 => (who(), at(), who()).prop_map(|(bobs, position, stale)| Step::Edit { bobs, position, stale }),
        1 => (who(), at(), who()).prop_map(|(bobs, position, stale)| Step::Delete { bobs, position, stale }),
        2 => (who(), at(), 0..3_u8, who(), who()).prop_map(|(bobs, position, emoji, remove, stale)| {
            Step::React { bobs, position, emoji, remove, stale }
        }),
        1 => (who(), -1..15_i64).prop_map(|(bobs, position)| Step::Read { bobs, position }),
        1 => Just(Step::Look),
    ]
}

fn user(bobs: bool) -> UserId {
    if bobs { bob() } else { alice() }
}

/// Takes steps; stale ones act on what was seen at the last look.
fn take(world: &mut World, steps: &[Step]) {
    let mut seen = world.clone();
    for step in steps {
        // Nobody claims what they have not seen.
        let claim = |position: i64, stale: bool, world: &World| {
            let source = if stale { &seen } else { world };
            source.redis.message(position).map(|_| source.claim(position))
        };
        let before = world.redis.clone();
        match *step {
            Step::Send { bobs, client } => drop(world.send(user(bobs), &client.to_string())),
            Step::Edit { bobs, position, stale } => {
                let Some(claim) = claim(position, stale, world) else { continue };
                world.add(Fact::Edited { by: user(bobs), body: "edited".to_owned(), claim });
            }
            Step::Delete { bobs, position, stale } => {
                let Some(claim) = claim(position, stale, world) else { continue };
                world.add(Fact::Deleted { by: user(bobs), claim });
            }
            Step::React { bobs, position, emoji, remove, stale } => {
                let Some(claim) = claim(position, stale, world) else { continue };
                let emoji = ["👍", "🎉", "❤️"][usize::from(emoji)].to_owned();
                world.add(Fact::Reacted { by: user(bobs), emoji, remove, claim });
            }
            Step::Read { bobs, position } => drop(world.read(user(bobs), position)),
            Step::Look => seen = world.clone(),
        }
        holds(&before, &world.redis);
    }
}

/// What no step may break.
fn holds(before: &Redis, after: &Redis) {
    let (old, new) = (before.conversation().unwrap(), after.conversation().unwrap());
    assert!(old.last_position <= new.last_position);
    for member in [alice(), bob()] {
        assert!(old.read_by(member) <= new.read_by(member), "read marks never move back");
        assert!(new.read_by(member) <= new.last_position);
    }
    for position in 1..=new.last_position {
        let message = after.message(position).expect("positions are dense");
        if let Some(old) = before.message(position) {
            assert!(!old.deleted || message.deleted, "a deletion is final");
            assert_eq!((old.sender_id, old.event_id), (message.sender_id, message.event_id));
        }
    }
    // What went out last is what is there now.
    if after.inboxes.len() > before.inboxes.len()
        && let Some((_, event)) = after.inboxes.last()
        && let Some(position) = event["message"]["position"].as_i64()
    {
        assert_eq!(event["message"], serde_json::to_value(after.message(position)).unwrap());
    }
}

/// The state but for what only facts on their way need.
fn lasting(state: &State) -> State {
    State { changes: Changes::default(), ..state.clone() }
}

/// The views but for messages that a rebuild leaves to be warmed, and but for live events.
fn kept(redis: &Redis) -> BTreeMap<String, BTreeMap<String, String>> {
    let last = redis.conversation().map_or(0, |conversation| conversation.last_position);
    let mut hashes = redis.hashes.clone();
    for (key, hash) in &mut hashes {
        if key.contains(":messages:") || key.contains(":reactions:") {
            hash.retain(|field, _| field.split(':').next().unwrap().parse::<i64>().unwrap() > last - 300);
        }
    }
    hashes.retain(|_, hash| !hash.is_empty());
    hashes
}

fn assert_rebuilds(world: &World, rows: Vec<(Version, crate::row::Row)>) {
    let mut rebuilt = World::rebuilt(rows);
    assert_eq!(lasting(&rebuilt.state), lasting(&world.state));
    assert_eq!(kept(&rebuilt.redis), kept(&world.redis));
    rebuilt.offset = world.offset;
    if world.state.closed_at.is_none() {
        let next = rebuilt.send(alice(), "after the rebuild");
        assert_eq!(next["position"], world.state.last_position + 1, "positions go on");
    }
}

/// Conversations that are tried; each is looked at as a whole after every step.
const CASES: u32 = 64;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_duplication_gives_dense_positions_once_each(sends in prop::collection::vec((any::<bool>(), 0..12_u8), 1..60)) {
        let mut world = World::opened();
        let mut first: BTreeMap<(bool, u8), i64> = BTreeMap::new();
        for (bobs, client) in sends {
            let position = world.send(user(bobs), &client.to_string())["position"].as_i64().unwrap();
            let next = i64::try_from(first.len()).unwrap() + 1;
            prop_assert_eq!(position, *first.entry((bobs, client)).or_insert(next));
        }
        prop_assert_eq!(world.state.last_position, i64::try_from(first.len()).unwrap());
    }

    #[test]
    fn rows_in_any_order_and_more_than_once_give_what_the_facts_gave(
        steps in prop::collection::vec(step(), 1..80),
        end in 0..3_u8,
        order in any::<u64>(),
    ) {
        let mut world = World::opened();
        take(&mut world, &steps);
        match end {
            0 => {}
            1 => drop(world.add(closed())),
            _ => drop(world.block(bob(), alice())),
        }
        let mut rows = world.tables.dump();
        rows.extend(rows.clone());
        shuffle(&mut rows, order);
        assert_rebuilds(&world, rows);
    }
}

/// An order that follows from a number.
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for end in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(end, usize::try_from(seed >> 33).unwrap() % (end + 1));
    }
}

#[test]
fn a_long_history_is_rebuilt_from_its_newest_messages_with_every_read_mark() {
    let mut world = World::opened();
    world.send(bob(), "early");
    for number in 0..40 {
        world.send(alice(), &number.to_string());
    }
    world.send(bob(), "bob's last");
    for number in 40..700 {
        world.send(alice(), &number.to_string());
    }
    assert_eq!(world.redis.conversation().unwrap().unread_by(bob()), 660);
    world.edit(alice(), 702, "edited");
    world.edit(alice(), 600, "edited");
    for order in [0, 1, 2] {
        let mut rows = world.tables.dump();
        assert!(rows.len() < 320);
        shuffle(&mut rows, order);
        assert_rebuilds(&world, rows);
    }
    let (mut up, mut down) = (world.tables.dump(), world.tables.dump());
    up.sort_by_key(|(version, _)| *version);
    down.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    assert_rebuilds(&world, up);
    assert_rebuilds(&world, down);
}

#[test]
fn a_change_on_its_way_through_a_rebuild_is_read_again() {
    let mut world = World::opened();
    world.send(alice(), "one");
    let claim = world.claim(1);
    world.edit(alice(), 1, "two");
    let mut rebuilt = World::rebuilt(world.tables.dump());
    rebuilt.offset = world.offset;
    let effects = rebuilt.add(Fact::Edited { by: alice(), body: "late".to_owned(), claim });
    assert_eq!(effects.outcome.unwrap()["type"], "stale");
    assert_eq!(rebuilt.edit(alice(), 1, "three")["type"], "changed");
}

#[test]
fn old_messages_that_are_warmed_get_a_lifetime_and_change_nothing_else() {
    let mut world = World::opened();
    for number in 0..450 {
        world.send(alice(), &number.to_string());
    }
    let (before, views) = (world.state.clone(), world.redis.clone());
    for key in world.redis.hashes.keys().filter(|key| key.ends_with("}:0")).cloned().collect::<Vec<_>>() {
        world.redis.hashes.remove(&key);
    }
    world.redis.expiring.clear();
    assert_eq!(world.redis.message(5), None);
    let rows: Vec<_> = world.tables.all().into_iter().filter(|(_, row)| block_of(row) == Some(0)).collect();
    assert_eq!(rows.len(), 100);
    for (version, row) in rows {
        world.restore(version, row);
    }
    assert_eq!((world.redis.hashes.clone(), lasting(&world.state)), (views.hashes, lasting(&before)));
    assert_eq!(world.redis.expiring.len(), 1, "the block that was warmed");
}

fn block_of(row: &crate::row::Row) -> Option<i64> {
    match row {
        crate::row::Row::Message(row) => Some(view::block_of(row.position)),
        crate::row::Row::Reaction(row) => Some(view::block_of(row.position)),
        _ => None,
    }
}
