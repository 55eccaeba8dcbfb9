//! Units drawn ahead of a caller's next calls, so that a caller far from its limits costs Redis one round trip in many.
//!
//! A part of the bucket is drawn with a call, unless the bucket was last seen half full, and calls are let through from
//! it for a while. What is drawn ahead is counted when it is drawn, so all routers together let no more through; within
//! any time it can be only that part more for each router. Buckets too small to have such a part are counted call by call.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use velvet_edge::rate::Limit;

use super::outcome::Reply;
use super::policy::{Draw, Group};
use crate::plugins::recent::Recent;

/// The part of a bucket that is drawn ahead: one in so many units.
const PART: u64 = 64;
/// So many calls like this one should be worth it.
const WORTH_CALLS: u64 = 4;
/// How long it may be used after something was drawn. However long, it is that part and no more.
const LIFETIME: Duration = Duration::from_mins(5);

pub(super) struct Ahead(Mutex<Recent<Box<str>, Drawn>>);

#[derive(Debug, Clone, Copy)]
struct Drawn {
    limit: Limit,
    /// What is left of it.
    units: u64,
    /// Whether more may be drawn ahead.
    has_room: bool,
    until: Instant,
}

impl Drawn {
    fn is_of(&self, draw: &Draw, now: Instant) -> bool {
        self.limit == draw.limit && now < self.until
    }
}

impl Ahead {
    pub(super) fn new(size_max: usize) -> Self {
        Self(Mutex::new(Recent::new(size_max)))
    }

    /// Takes a call's units from what was drawn ahead; from all of its buckets or from none.
    pub(super) fn spend(&self, groups: &[Group]) -> bool {
        let now = Instant::now();
        let mut drawn = self.0.lock();
        let mut wanted = groups.iter().flat_map(|group| &group.draws);
        let all = wanted
            .all(|draw| drawn.get(draw.key.as_str()).is_some_and(|it| it.is_of(draw, now) && it.units >= draw.units));
        if all {
            for draw in groups.iter().flat_map(|group| &group.draws) {
                if let Some(it) = drawn.get_mut(draw.key.as_str()) {
                    it.units -= draw.units;
                }
            }
        }
        all
    }

    /// Has a call draw ahead from buckets that had room when they were last seen, or were not seen of late. One call does;
    /// what comes at the same time does not.
    pub(super) fn extend(&self, groups: &mut [Group]) {
        // What several scripts draw is not drawn together.
        let [group] = groups else { return };
        let now = Instant::now();
        let mut drawn = self.0.lock();
        let is_worth_it = group.draws.iter().all(|draw| {
            part(draw) >= draw.units.max(1).saturating_mul(WORTH_CALLS)
                && drawn.get(draw.key.as_str()).is_none_or(|it| it.has_room || !it.is_of(draw, now))
        });
        if is_worth_it {
            for draw in &mut group.draws {
                draw.ahead = part(draw);
                let it = drawn.get(draw.key.as_str()).copied().filter(|it| it.is_of(draw, now));
                let it = it.unwrap_or(Drawn { limit: draw.limit, units: 0, has_room: false, until: now + LIFETIME });
                drawn.put(draw.key.as_str(), Drawn { has_room: false, ..it });
            }
        }
    }

    /// Learns from what Redis said of a call's buckets.
    pub(super) fn learn(&self, groups: &[Group], replies: &[Reply]) {
        let ([group], [reply]) = (groups, replies) else { return };
        let has_drawn = reply.passed && !reply.local;
        let has_room = has_drawn && group.draws.iter().zip(&reply.levels).all(has_room);
        let now = Instant::now();
        let mut drawn = self.0.lock();
        for draw in &group.draws {
            let ahead = if has_drawn { draw.ahead } else { 0 };
            match drawn.get_mut(draw.key.as_str()).filter(|it| it.is_of(draw, now)) {
                Some(it) => {
                    it.units += ahead;
                    it.has_room = has_room;
                    if ahead > 0 {
                        it.until = now + LIFETIME;
                    }
                }
                None if has_room || ahead > 0 => {
                    drawn.put(
                        draw.key.as_str(),
                        Drawn { limit: draw.limit, units: ahead, has_room, until: now + LIFETIME },
                    );
                }
                None => {}
            }
        }
    }
}

fn part(draw: &Draw) -> u64 {
    draw.limit.burst() / PART
}

fn has_room((draw, level): (&Draw, &u64)) -> bool {
    part(draw) > 0 && draw.limit.remaining(*level) > draw.limit.burst() / 2
}

#[cfg(test)]
mod tests {
    use velvet_edge::rate::fields::Unit;

    use super::*;

    fn call(units: u64, burst: u64) -> [Group; 1] {
        let limit = Limit::new(1, Duration::from_secs(1), burst).unwrap();
        let draw = Draw { name: "viewer", unit: Unit::Request, key: "a".to_owned(), limit, units, ahead: 0 };
        [Group { draws: vec![draw], quota: None }]
    }

    fn said(group: &Group, remaining: u64) -> [Reply; 1] {
        let limit = group.draws[0].limit;
        let level = limit.capacity() - limit.amount(remaining);
        [Reply { passed: true, local: false, levels: vec![level], left: None }]
    }

    fn extended(ahead: &Ahead, units: u64, burst: u64) -> [Group; 1] {
        let mut call = call(units, burst);
        ahead.extend(&mut call);
        call
    }

    fn ahead_of(call: &[Group; 1]) -> u64 {
        call[0].draws[0].ahead
    }

    #[test]
    fn a_bucket_is_drawn_from_ahead_unless_it_was_seen_half_full() {
        let ahead = Ahead::new(10);
        assert_eq!(ahead_of(&extended(&ahead, 3, 640)), 0, "it would be used up with three calls");
        assert!(!ahead.spend(&call(1, 640)), "nothing was drawn ahead yet");
        let first = extended(&ahead, 1, 640);
        assert_eq!(ahead_of(&first), 10);
        let beside = extended(&ahead, 1, 640);
        assert_eq!(ahead_of(&beside), 0, "the first draws already");
        ahead.learn(&first, &said(&first[0], 320));
        ahead.learn(&beside, &said(&beside[0], 319));
        assert!(ahead.spend(&call(6, 640)) && !ahead.spend(&call(5, 640)) && ahead.spend(&call(4, 640)));
        assert!(!ahead.spend(&call(1, 640)));
        assert_eq!(ahead_of(&extended(&ahead, 1, 640)), 0, "it is half full");
        ahead.learn(&beside, &said(&beside[0], 600));
        assert_eq!(ahead_of(&extended(&ahead, 1, 640)), 10);
        assert_eq!(ahead_of(&extended(&ahead, 1, 641)), 10, "the limit is another, and nothing is known of it");
        assert_eq!(ahead_of(&extended(&ahead, 1, 63)), 0, "a bucket that is too small");
    }

    #[test]
    fn a_call_that_redis_has_not_decided_about_draws_nothing_ahead() {
        let ahead = Ahead::new(10);
        let drawing = extended(&ahead, 1, 640);
        let alone = said(&drawing[0], 600).map(|reply| Reply { local: true, ..reply });
        ahead.learn(&drawing, &alone);
        assert!(!ahead.spend(&call(1, 640)));
    }

    #[test]
    fn what_calls_at_the_same_time_draw_is_all_kept() {
        let ahead = Ahead::new(10);
        let one = extended(&ahead, 1, 640);
        let seen = call(1, 640);
        ahead.learn(&seen, &said(&seen[0], 620));
        let other = extended(&ahead, 1, 640);
        for drawing in [&one, &other] {
            ahead.learn(drawing, &said(&drawing[0], 600));
        }
        assert!(ahead.spend(&call(20, 640)) && !ahead.spend(&call(1, 640)));
    }
}
