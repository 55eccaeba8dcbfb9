//! The scan over the index: which boxes are read next, and from where. Pure.
//!
//! A window of boxes is read side by side, each from where it was left; what was read is taken most
//! recently active first, as far as it is needed, and the mark remembers how far that was in each box.

use crate::model::Profile;
use serde::{Deserialize, Serialize};
use velvet_kernel::id::UserId;

/// Boxes that are read side by side in one round of a refill.
pub const CELLS_PER_REFILL: usize = 16;
/// People who are looked at in one round of a refill, all boxes together.
pub const CANDIDATES_PER_REFILL: usize = 192;

/// Where a viewer's scan stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What the scan is for; another print starts another scan.
    pub print: String,
    /// The first box of the walk that was not read yet.
    pub next: usize,
    /// The boxes that are being read.
    pub lanes: Vec<Lane>,
    /// Whether everybody in range was looked at.
    pub ended: bool,
}

/// A box that is being read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its place in the walk.
    pub cell: usize,
    /// Who was looked at last: when they were active, and their id.
    pub after: Option<(i64, UserId)>,
}

/// Somebody whom a box has.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Who.
    pub user: UserId,
    /// When they were last active, in seconds since 1970.
    pub active: i64,
    /// What the box knows of them; nothing when it is about to change.
    pub profile: Option<Profile>,
}

impl Mark {
    /// A scan that has not begun.
    pub fn start(print: String) -> Self {
        Self { print, next: 0, lanes: Vec::new(), ended: false }
    }

    /// Opens the next boxes of a walk as far as the window has room.
    pub fn open_lanes(&mut self, walk_length: usize) {
        while self.lanes.len() < CELLS_PER_REFILL && self.next < walk_length {
            self.lanes.push(Lane { cell: self.next, after: None });
            self.next += 1;
        }
        self.ended = self.lanes.is_empty();
    }

    /// How many people each open box is asked for.
    pub fn lane_limit(&self) -> usize {
        CANDIDATES_PER_REFILL / self.lanes.len().max(1)
    }

    /// Takes what the boxes gave, in the order of the lanes, most recently active first, until
    /// `wanted` were accepted. The rest is left for the next round.
    pub fn take<T>(
        &mut self,
        found: &[Vec<Found>],
        wanted: usize,
        walk_length: usize,
        mut accept: impl FnMut(&Found) -> Option<T>,
    ) -> Vec<T> {
        let limit = self.lane_limit();
        let mut order: Vec<(usize, &Found)> =
            found.iter().enumerate().flat_map(|(lane, people)| people.iter().map(move |one| (lane, one))).collect();
        // Redis orders equal scores by id, from the top; so each lane keeps its own order here.
        order.sort_by_key(|(_, one)| std::cmp::Reverse((one.active, one.user)));
        let mut looked_at = vec![0; self.lanes.len()];
        let mut taken = Vec::new();
        for (lane, one) in order {
            if taken.len() == wanted {
                break;
            }
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.after = Some((one.active, one.user));
            }
            looked_at[lane] += 1;
            taken.extend(accept(one));
        }
        let mut lane = 0;
        self.lanes.retain(|_| {
            let there = found.get(lane).map_or(0, Vec::len);
            let through = looked_at[lane] == there && there < limit;
            lane += 1;
            !through
        });
        self.ended = self.lanes.is_empty() && self.next >= walk_length;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    fn somebody(number: u32, active: i64) -> Found {
        Found { user: UserId(Uuid::from_u128(u128::from(number))), active, profile: None }
    }

    /// What a box answers: those after the place, most recently active first.
    fn read(people: &[Found], lane: &Lane, limit: usize) -> Vec<Found> {
        let mut after: Vec<Found> = people
            .iter()
            .filter(|one| lane.after.is_none_or(|place| (one.active, one.user) < place))
            .cloned()
            .collect();
        after.sort_by_key(|one| std::cmp::Reverse((one.active, one.user)));
        after.truncate(limit);
        after
    }

    fn round(mark: &mut Mark, walk: &[Vec<Found>], wanted: usize) -> Vec<UserId> {
        mark.open_lanes(walk.len());
        let limit = mark.lane_limit();
        let found: Vec<Vec<Found>> = mark.lanes.iter().map(|lane| read(&walk[lane.cell], lane, limit)).collect();
        mark.take(&found, wanted, walk.len(), |one| Some(one.user))
    }

    #[test]
    fn the_most_recently_active_of_the_window_come_first() {
        let walk = [vec![somebody(1, 10), somebody(2, 30)], vec![somebody(3, 20), somebody(4, 5)]];
        let mut mark = Mark::start(String::new());
        assert_eq!(round(&mut mark, &walk, 3), [2, 3, 1].map(|number| somebody(number, 0).user));
        assert!(!mark.ended);
        assert_eq!(round(&mut mark, &walk, 3), [somebody(4, 0).user]);
        assert!(mark.ended);
    }

    #[test]
    fn an_empty_walk_ends_at_once() {
        let mut mark = Mark::start(String::new());
        assert!(round(&mut mark, &[], 10).is_empty());
        assert!(mark.ended);
        let mut mark = Mark::start(String::new());
        assert!(round(&mut mark, &vec![vec![]; 40], 10).is_empty());
        assert!(!mark.ended, "more boxes than one window");
        round(&mut mark, &vec![vec![]; 40], 10);
        round(&mut mark, &vec![vec![]; 40], 10);
        assert!(mark.ended);
    }

    proptest! {
        #[test]
        fn a_scan_meets_everybody_once(
            sizes in prop::collection::vec(0_usize..60, 0..24),
            ties in 1_i64..500,
            wanted in 5_usize..60,
        ) {
            let mut number = 0;
            let walk: Vec<Vec<Found>> = sizes.iter().map(|size| (0..*size).map(|_| {
                number += 1;
                somebody(number, i64::from(number.wrapping_mul(2_654_435_761)) % ties)
            }).collect()).collect();
            let mut mark = Mark::start(String::new());
            let mut met = Vec::new();
            for _ in 0..1_000 {
                if mark.ended { break; }
                met.extend(round(&mut mark, &walk, wanted));
            }
            prop_assert!(mark.ended);
            let distinct: BTreeSet<_> = met.iter().collect();
            prop_assert_eq!(distinct.len(), met.len());
            prop_assert_eq!(met.len(), sizes.iter().sum::<usize>());
        }
    }
}
