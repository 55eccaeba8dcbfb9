mod rebuild;
mod world;

use crate::event::Fact;
use serde_json::json;
use velvet_kernel::fold::Effects;
use world::{World, alice, bob, carol, closed, conversation, opened, time};

fn kinds(effects: &Effects) -> Vec<&'static str> {
    effects.decided.iter().map(|decided| decided.kind).collect()
}

#[test]
fn a_match_opens_one_conversation_for_both() {
    let mut world = World::default();
    let effects = world.add(opened());
    assert_eq!(kinds(&effects), ["conversation.opened", "conversation.joined", "conversation.joined"]);
    assert_eq!(effects.decided[0].key, conversation().to_string());
    assert_eq!(effects.decided[1].key, alice().to_string());
    assert_eq!(effects.decided[2].data["other_id"], json!(alice()));
    assert!(world.add(opened()).decided.is_empty(), "a repeat opens nothing");
    let view = world.redis.conversation().unwrap();
    assert!(view.shows(alice()) && view.shows(bob()) && !view.shows(carol()));
    assert_eq!(view.other_than(bob()), alice());
    assert_eq!((world.redis.listed(alice()), world.redis.listed(bob())), (Some(0), Some(0)));
}

#[test]
fn positions_are_dense_and_both_members_hear_of_each_message() {
    let mut world = World::opened();
    assert_eq!(world.send(alice(), "a1")["position"], 1);
    assert_eq!(world.send(bob(), "b1")["position"], 2);
    assert_eq!(world.send(alice(), "a2")["position"], 3);
    assert_eq!(world.redis.inboxes.len(), 6);
    let (inbox, event) = &world.redis.inboxes[3];
    assert_eq!(inbox, &format!("messaging:inbox:{{{}}}", bob()));
    assert_eq!((&event["type"], &event["message"]["position"]), (&json!("sent"), &json!(2)));
    assert_eq!(world.redis.listed(bob()), Some(time(4).timestamp_millis()), "by the last message");
}

#[test]
fn the_same_client_id_is_the_same_message_even_when_the_kernel_has_forgotten_it() {
    let mut world = World::opened();
    world.send(alice(), "one");
    assert_eq!(world.send(alice(), "one"), json!({ "type": "repeated", "position": 1 }));
    assert_eq!(world.send(bob(), "one")["position"], 2, "another sender's is another");
    world.add(closed());
    assert_eq!(world.send(alice(), "one")["position"], 1, "it was sent before the end");
    assert_eq!(world.redis.message(1).unwrap().body, "one at 1");
}

#[test]
fn nothing_but_reading_changes_a_closed_conversation() {
    let mut world = World::opened();
    world.send(alice(), "one");
    assert_eq!(kinds(&world.add(closed())), ["conversation.closed"]);
    assert!(world.add(closed()).decided.is_empty(), "it ends once");
    assert_eq!(world.send(bob(), "two"), json!({ "type": "closed" }));
    assert_eq!(world.edit(alice(), 1, "x"), json!({ "type": "not_found" }));
    assert_eq!(world.delete(alice(), 1), json!({ "type": "not_found" }), "what was said stays");
    assert_eq!(world.react(bob(), 1, "👍", false), json!({ "type": "not_found" }));
    assert_eq!(world.read(bob(), 1), json!({ "type": "marked", "position": 1 }));
    let view = world.redis.conversation().unwrap();
    assert!(view.closed_at.is_some() && view.shows(alice()), "it stays readable");
    assert_eq!((world.redis.listed(alice()), world.redis.listed(bob())), (None, None));
}

#[test]
fn strangers_find_nothing() {
    let mut world = World::opened();
    world.send(alice(), "one");
    let not_found = json!({ "type": "not_found" });
    assert_eq!(world.send(carol(), "c"), not_found);
    assert_eq!(world.react(carol(), 1, "👍", false), not_found);
    assert_eq!(world.read(carol(), 1), not_found);
    assert_eq!(World::default().send(alice(), "early"), not_found, "no conversation yet");
}

#[test]
fn a_block_hides_the_conversation_from_both_and_is_told() {
    let mut world = World::opened();
    world.send(alice(), "one");
    assert_eq!(kinds(&world.block(bob(), alice())), ["conversation.closed"]);
    assert_eq!(world.redis.told.len(), 1);
    let view = world.redis.conversation().unwrap();
    assert!(!view.shows(alice()) && !view.shows(bob()));
    assert_eq!((world.redis.listed(alice()), world.redis.listed(bob())), (None, None));
    assert_eq!(world.send(alice(), "two"), json!({ "type": "not_found" }));
    assert_eq!(world.read(bob(), 1), json!({ "type": "not_found" }));
    assert!(world.block(alice(), bob()).decided.is_empty());
    assert_eq!(world.redis.told.len(), 2, "each block is told, also one that changes nothing");
}

#[test]
fn a_block_without_a_match_is_told_and_a_match_that_comes_late_stays_hidden() {
    let mut world = World::default();
    assert!(world.block(alice(), bob()).decided.is_empty());
    assert_eq!(world.redis.conversation(), None);
    let effects = world.add(opened());
    assert_eq!(kinds(&effects), ["conversation.closed", "conversation.joined", "conversation.joined"]);
    assert!(!world.redis.conversation().unwrap().shows(alice()));
    assert_eq!(world.redis.listed(bob()), None);
}

#[test]
fn a_message_is_edited_by_its_sender_alone() {
    let mut world = World::opened();
    world.send(alice(), "one");
    assert_eq!(world.edit(bob(), 1, "x"), json!({ "type": "not_found" }));
    assert_eq!(world.edit(alice(), 2, "x"), json!({ "type": "not_found" }), "no such position");
    world.react(bob(), 1, "👍", false);
    assert_eq!(world.edit(alice(), 1, "new"), json!({ "type": "changed" }));
    let message = world.redis.message(1).unwrap();
    assert_eq!((message.body.as_str(), message.edited_at, message.reactions.len()), ("new", Some(world.now()), 1));
    let (_, event) = world.redis.inboxes.last().unwrap();
    assert_eq!(event["message"], serde_json::to_value(message).unwrap(), "the whole message goes out");
}

#[test]
fn a_deleted_message_keeps_its_place_and_nothing_else() {
    let mut world = World::opened();
    world.send(alice(), "one");
    world.react(bob(), 1, "👍", false);
    assert_eq!(world.delete(bob(), 1), json!({ "type": "not_found" }));
    assert_eq!(world.delete(alice(), 1), json!({ "type": "changed" }));
    let message = world.redis.message(1).unwrap();
    assert!(message.deleted && message.body.is_empty() && message.reactions.is_empty());
    assert_eq!(world.edit(alice(), 1, "back"), json!({ "type": "not_found" }));
    assert_eq!(world.react(bob(), 1, "👎", false), json!({ "type": "not_found" }));
    assert_eq!(world.send(alice(), "two")["position"], 2);
}

#[test]
fn what_was_read_before_a_change_is_read_again() {
    let mut world = World::opened();
    world.send(alice(), "one");
    world.send(alice(), "two");
    let claim = world.claim(1);
    let late = |claim| Fact::Edited { by: alice(), body: "late".to_owned(), claim };
    world.react(bob(), 2, "👍", false);
    assert_eq!(world.add(late(claim.clone())).outcome, Some(json!({ "type": "changed" })), "another's change");
    assert_eq!(world.add(late(claim.clone())).outcome, Some(json!({ "type": "stale" })));
    world.delete(alice(), 1);
    let effects = world.add(late(claim));
    assert_eq!(effects.outcome, Some(json!({ "type": "stale" })));
    assert!(effects.views.is_empty() && effects.decided.is_empty());
    assert!(world.redis.message(1).unwrap().deleted);
}

#[test]
fn a_claim_from_before_more_changes_than_are_remembered_is_read_again() {
    let mut world = World::opened();
    for number in 0..50 {
        world.send(alice(), &number.to_string());
    }
    let claim = world.claim(50);
    for position in 1..=40 {
        world.react(bob(), position, "👍", false);
    }
    let effects = world.add(Fact::Deleted { by: alice(), claim });
    assert_eq!(effects.outcome, Some(json!({ "type": "stale" })));
    assert_eq!(world.delete(alice(), 50), json!({ "type": "changed" }));
}

#[test]
fn a_reaction_is_there_once_and_goes_again() {
    let mut world = World::opened();
    world.send(alice(), "one");
    world.react(bob(), 1, "👍", false);
    let before = world.redis.inboxes.len();
    assert_eq!(world.react(bob(), 1, "👍", false), json!({ "type": "changed" }));
    assert_eq!(world.redis.inboxes.len(), before, "nothing has changed");
    world.react(alice(), 1, "👍", false);
    world.react(alice(), 1, "🎉", false);
    let reactions = |world: &World| {
        let found = world.redis.message(1).unwrap().reactions;
        found.into_iter().map(|reaction| (reaction.emoji, reaction.user_id)).collect::<Vec<_>>()
    };
    let thumb = |user| ("👍".to_owned(), user);
    assert_eq!(reactions(&world), [thumb(bob()), thumb(alice()), ("🎉".to_owned(), alice())]);
    world.react(bob(), 1, "👍", true);
    assert_eq!(reactions(&world), [thumb(alice()), ("🎉".to_owned(), alice())]);
}

#[test]
fn a_message_has_at_most_20_different_emoji() {
    let mut world = World::opened();
    world.send(alice(), "one");
    let emoji: Vec<String> = (0..21).map(|number| char::from_u32(0x1f600 + number).unwrap().to_string()).collect();
    for emoji in &emoji[..20] {
        assert_eq!(world.react(bob(), 1, emoji, false), json!({ "type": "changed" }));
    }
    assert_eq!(world.react(alice(), 1, &emoji[20], false), json!({ "type": "full" }));
    assert_eq!(world.react(alice(), 1, &emoji[0], false), json!({ "type": "changed" }), "one that is there");
}

#[test]
fn a_read_mark_never_moves_back_nor_beyond_the_end() {
    let mut world = World::opened();
    for number in 0..5 {
        world.send(alice(), &number.to_string());
    }
    assert_eq!(world.read(bob(), 3), json!({ "type": "marked", "position": 3 }));
    assert_eq!(world.read(bob(), 2), json!({ "type": "marked", "position": 3 }));
    assert_eq!(world.read(bob(), -1), json!({ "type": "marked", "position": 3 }));
    assert_eq!(world.read(bob(), i64::MAX), json!({ "type": "marked", "position": 5 }));
    assert_eq!(world.redis.conversation().unwrap().read_by(bob()), 5);
}

#[test]
fn unread_is_arithmetic_over_positions() {
    let mut world = World::opened();
    let unread = |world: &World| {
        let view = world.redis.conversation().unwrap();
        (view.unread_by(alice()), view.unread_by(bob()))
    };
    assert_eq!(unread(&world), (0, 0));
    world.send(alice(), "1");
    world.send(alice(), "2");
    assert_eq!(unread(&world), (0, 2), "one's own are read");
    world.send(bob(), "3");
    assert_eq!(unread(&world), (1, 0), "who answers has read");
    world.send(alice(), "2");
    assert_eq!(unread(&world), (1, 0), "a repeat counts nothing");
    world.read(alice(), 3);
    world.delete(bob(), 3);
    assert_eq!(unread(&world), (0, 0));
}

#[test]
fn blocks_get_a_lifetime_when_they_leave_the_window() {
    let mut world = World::opened();
    let key = |kind: &str, block: i64| format!("messaging:{kind}:{{{}}}:{block}", conversation());
    world.send(alice(), "0");
    world.react(bob(), 1, "👍", false);
    for number in 1..300 {
        world.send(alice(), &number.to_string());
    }
    assert!(world.redis.expiring.is_empty());
    world.send(alice(), "300");
    assert_eq!(world.redis.expiring.iter().cloned().collect::<Vec<_>>(), [key("messages", 0), key("reactions", 0)]);
    world.redis.expiring.clear();
    world.edit(alice(), 2, "late");
    assert_eq!(world.redis.expiring.len(), 2, "a change lets both live on");
    world.redis.expiring.clear();
    world.edit(alice(), 101, "in the window");
    assert!(world.redis.expiring.is_empty());
}

#[test]
fn ids_in_rows_are_those_that_clients_see() {
    let mut world = World::opened();
    let effects = world.add(Fact::Sent { sender: bob(), client_id: "c".to_owned(), body: "hi".to_owned() });
    assert_eq!(kinds(&effects), ["message.sent"]);
    assert_eq!(effects.decided[0].data["message_id"], World::id_of(1));
    assert_eq!(effects.decided[0].data["sent_at"], json!(world.now()));
}
