//! What came of a call: what is left of each limit, or which of them refused it for how long.

use std::time::{Duration, Instant};

use velvet_edge::rate::fields::{Policy, Standing, Unit};
use velvet_edge::rate::{Limit, whole_seconds};

use super::answer::Passed;
use super::denied::Denials;
use super::policy::{Draw, Group, QUOTA, Quota};

/// After a router alone has let its part of a quota through, when it may be that Redis is back.
const QUOTA_PART_RETRY: Duration = Duration::from_secs(30);

/// What came of drawing from one group.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) passed: bool,
    /// Whether this router decided alone.
    pub(super) local: bool,
    /// Of each bucket, afterwards.
    pub(super) levels: Vec<u64>,
    /// What is left of the quota, when there is one.
    pub(super) left: Option<u64>,
}

/// Groups that were drawn from, with a reply for each.
pub(super) struct Outcome {
    pub(super) groups: Vec<Group>,
    pub(super) replies: Vec<Reply>,
    pub(super) routers: u64,
}

impl Outcome {
    pub(super) fn is_local(&self) -> bool {
        self.replies.iter().any(|reply| reply.local)
    }

    fn pairs(&self) -> impl Iterator<Item = (&Group, &Reply)> {
        self.groups.iter().zip(&self.replies)
    }

    /// The limit as it was held against.
    fn limit(&self, draw: &Draw, reply: &Reply) -> Limit {
        if reply.local { draw.limit.share(self.routers) } else { draw.limit }
    }

    /// The limit that refused the call for the longest, if one did. What Redis refused is remembered.
    pub(super) fn refusal(&self, denials: &Denials, asked_at: Instant) -> Option<Standing> {
        let mut longest: Option<(Duration, Standing)> = None;
        let mut take = |wait: Duration, name, remaining| {
            if longest.as_ref().is_none_or(|(known, _)| *known < wait) {
                longest = Some((wait, Standing { name, remaining, reset_seconds: whole_seconds(wait) }));
            }
        };
        for (group, reply) in self.pairs().filter(|(_, reply)| !reply.passed) {
            for (draw, level) in group.draws.iter().zip(&reply.levels) {
                let limit = self.limit(draw, reply);
                let (wait, remaining) = (limit.wait(*level, draw.units), limit.remaining(*level));
                if !wait.is_zero() {
                    take(wait, draw.name, remaining);
                    if !reply.local {
                        denials.put_draw(draw, asked_at, (wait, remaining));
                    }
                }
            }
            if let (Some(quota), Some(0)) = (&group.quota, reply.left) {
                let wait = if reply.local { QUOTA_PART_RETRY } else { quota.month.left };
                take(wait, QUOTA, 0);
                if !reply.local {
                    denials.put_quota(quota, asked_at, (wait, 0));
                }
            }
        }
        longest.map(|(_, standing)| standing)
    }

    /// What holds for the caller.
    pub(super) fn policies(&self) -> impl Iterator<Item = Policy> {
        self.pairs().flat_map(|(group, reply)| {
            let of_draws = group.draws.iter().map(|draw| policy(draw, &self.limit(draw, reply), reply.local));
            of_draws.chain(group.quota.as_ref().map(|quota| of_quota(quota, reply.local)))
        })
    }

    /// What is left to the caller.
    pub(super) fn passed(&self) -> Passed {
        let standings = self.pairs().flat_map(|(group, reply)| {
            let of_draws = group.draws.iter().zip(&reply.levels).map(|(draw, level)| {
                let limit = self.limit(draw, reply);
                let reset_seconds = whole_seconds(limit.drained(*level));
                Standing { name: draw.name, remaining: limit.remaining(*level), reset_seconds }
            });
            let of_quota = group.quota.as_ref().zip(reply.left).map(|(quota, remaining)| Standing {
                name: QUOTA,
                remaining,
                reset_seconds: whole_seconds(quota.month.left),
            });
            of_draws.chain(of_quota)
        });
        Passed::telling(self.policies(), standings)
    }
}

/// What holds for a caller when all is counted in Redis.
pub(super) fn policies(groups: &[Group]) -> impl Iterator<Item = Policy> {
    groups.iter().flat_map(|group| {
        let of_draws = group.draws.iter().map(|draw| policy(draw, &draw.limit, false));
        of_draws.chain(group.quota.as_ref().map(|quota| of_quota(quota, false)))
    })
}

fn policy(draw: &Draw, limit: &Limit, local: bool) -> Policy {
    let window_seconds = whole_seconds(limit.window());
    Policy { name: draw.name, quota: limit.burst(), window_seconds, unit: draw.unit, local }
}

fn of_quota(quota: &Quota, local: bool) -> Policy {
    let window_seconds = quota.month.length.as_secs();
    Policy { name: QUOTA, quota: quota.limit, window_seconds, unit: Unit::Request, local }
}
