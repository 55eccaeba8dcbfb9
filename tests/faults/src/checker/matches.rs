//! Likes and matches.

use super::{Found, text};
use crate::evidence::{Event, Evidence};
use std::collections::{BTreeMap, BTreeSet};

type Pair = (String, String);

fn pair_of(one: &str, other: &str) -> Pair {
    let (one, other) = if one <= other { (one, other) } else { (other, one) };
    (one.to_owned(), other.to_owned())
}

/// Pairs of which both liked the other at one time, as the pair's own order of swipes has it.
fn mutual(evidence: &Evidence) -> BTreeSet<Pair> {
    let mut events: Vec<&Event> = evidence.decided(&["matching.swipe"]);
    // A pair's swipes come from one partition of facts, so their versions compare.
    events.sort_by_key(|event| event.version);
    let mut likes: BTreeMap<(String, String), bool> = BTreeMap::new();
    let mut mutual = BTreeSet::new();
    for event in events {
        let (who, whom) = (text(&event.data["swiper_id"]).to_owned(), text(&event.data["swiped_id"]).to_owned());
        let yes = event.data["action"] != "pass";
        if yes && likes.get(&(whom.clone(), who.clone())).copied().unwrap_or_default() {
            mutual.insert(pair_of(&who, &whom));
        }
        likes.insert((who, whom), yes);
    }
    mutual
}

/// A pair that likes each other has one match, which both have; no other pair has any.
pub fn one_for_each_mutual_pair(evidence: &Evidence) -> Vec<Found> {
    let mutual = mutual(evidence);
    let mut stored: BTreeMap<Pair, Vec<(String, String)>> = BTreeMap::new();
    for row in evidence.rows.of("matches") {
        let (owner, other) = (text(&row["owner_id"]), text(&row["other_id"]));
        stored.entry(pair_of(owner, other)).or_default().push((owner.to_owned(), text(&row["match_id"]).to_owned()));
    }
    let mut found = Vec::new();
    for pair in mutual.iter().chain(stored.keys()).collect::<BTreeSet<_>>() {
        let rows = stored.get(pair).map_or(&[][..], Vec::as_slice);
        let owners: BTreeSet<&String> = rows.iter().map(|(owner, _)| owner).collect();
        let ids: BTreeSet<&String> = rows.iter().map(|(_, id)| id).collect();
        let wanted = if mutual.contains(pair) { (2, 2, 1) } else { (0, 0, 0) };
        if (rows.len(), owners.len(), ids.len()) != wanted {
            let likes = if mutual.contains(pair) { "like" } else { "do not like" };
            let claim = format!("{} and {} {likes} each other, and their matches are {rows:?}", pair.0, pair.1);
            found.push((claim, vec![format!("{}:{}", pair.0, pair.1)]));
        }
    }
    found
}
