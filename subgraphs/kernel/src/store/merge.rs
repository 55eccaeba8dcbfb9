//! Calls of one batch that can be one.
//!
//! What a batch of facts has to write about a busy conversation is mostly the same few keys again: its last
//! position, its place in two lists, two inboxes. One script does what is left of it.

use super::Call;
use std::collections::HashMap;

/// Things that one call does at most, so that no script holds a master up for long.
const SIZE_MAX: usize = 128;

/// Puts calls together where nobody could tell the difference.
///
/// Puts of versions commute, so they go where the first of them stood; what is done in order goes where the last
/// one stood, behind the views that it tells of. Neither passes any other call on keys of its hash tag.
pub fn merged(calls: Vec<Call>) -> Vec<Call> {
    let mut places: Vec<Option<Call>> = Vec::with_capacity(calls.len());
    let mut open: HashMap<u16, Vec<usize>> = HashMap::new();
    for call in calls {
        let Some(repeats) = call.repeats() else {
            open.remove(&call.slot());
            places.push(Some(call));
            continue;
        };
        let here = open.entry(call.slot()).or_default();
        let takes =
            |place: &usize| places[*place].as_ref().is_some_and(|open| open.takes(&call) && open.size() < SIZE_MAX);
        match here.iter().position(takes) {
            Some(at) if repeats.newest_counts.is_some() => {
                if let Some(first) = &mut places[here[at]] {
                    first.absorb(call);
                }
            }
            Some(at) => {
                let first = places[here[at]].take().map(|mut first| {
                    first.absorb(call);
                    first
                });
                here[at] = places.len();
                places.push(first);
            }
            None => {
                here.push(places.len());
                places.push(Some(call));
            }
        }
    }
    places.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fold::Version, id::UserId, live::inbox, store::view};
    use uuid::Uuid;

    fn field(name: &str, version: u64, value: u8, lifetime_s: u64) -> Call {
        view::put_field("d:hash:{a}", name, Version(version), &value, lifetime_s)
    }

    fn event(to: u128, text: &str, version: u64) -> Call {
        let mut call = inbox::deliver("d", UserId(Uuid::from_u128(to)), None, text.to_owned());
        call.set_source("3", version);
        call
    }

    /// The arguments of each call, in one line.
    fn lines(calls: Vec<Call>) -> Vec<String> {
        let line = |call: &Call| {
            let text = |arg: &Vec<u8>| String::from_utf8(arg.clone()).unwrap();
            call.parts().2.iter().map(text).collect::<Vec<_>>().join(" ")
        };
        merged(calls).iter().map(line).collect()
    }

    #[test]
    fn of_one_field_only_the_newest_is_put() {
        let calls = vec![field("x", 1, 1, 0), field("y", 2, 2, 0), field("x", 4, 4, 0), field("x", 3, 3, 0)];
        assert_eq!(lines(calls), ["x 4 4 0 y 2 2 0"]);
    }

    #[test]
    fn of_two_with_a_version_the_first_stays() {
        assert_eq!(lines(vec![field("x", 1, 1, 0), field("x", 1, 2, 0)]), ["x 1 1 0"]);
    }

    #[test]
    fn a_lifetime_is_never_left_out() {
        let calls = vec![field("x", 1, 1, 0), field("x", 2, 2, 60), field("x", 3, 3, 0)];
        assert_eq!(lines(calls), ["x 1 1 0 x 2 2 60 x 3 3 0"]);
    }

    #[test]
    fn events_of_an_inbox_keep_their_order_and_come_after_what_they_tell_of() {
        let calls = vec![event(1, "one", 1), event(2, "other", 2), field("x", 3, 3, 0), event(1, "two", 4)];
        let lines = lines(calls);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].ends_with("  other 3 2") && lines[1] == "x 3 3 0");
        assert!(lines[2].ends_with("  one 3 1  two 3 4"), "{}", lines[2]);
    }

    #[test]
    fn nothing_passes_another_call_on_its_tag() {
        let expire = Call::command_on("EXPIRE", "d:hash:{a}").arg(60);
        let calls = vec![field("x", 1, 1, 0), expire, field("x", 2, 2, 0), field("x", 3, 3, 0)];
        assert_eq!(lines(calls), ["x 1 1 0", "60", "x 3 3 0"]);
        let elsewhere = Call::command_on("EXPIRE", "d:hash:{b}").arg(60);
        assert_eq!(lines(vec![field("x", 1, 1, 0), elsewhere, field("x", 2, 2, 0)]), ["x 2 2 0", "60"]);
    }

    #[test]
    fn no_call_grows_without_bound() {
        let calls: Vec<Call> = (0..300).map(|n| field(&n.to_string(), n, 0, 0)).collect();
        assert_eq!(merged(calls).iter().map(Call::size).collect::<Vec<_>>(), [128, 128, 44]);
    }
}
