//! What one router lets through by itself: its part of each limit.

use std::time::Instant;

use parking_lot::Mutex;
use velvet_edge::rate::Bucket;

use super::outcome::Reply;
use super::policy::Group;
use super::quotas::Quotas;
use crate::plugins::recent::Recent;

pub(super) struct Local {
    buckets: Mutex<Recent<Box<str>, Bucket>>,
    /// The beginning of this router's own time.
    epoch: Instant,
}

impl Local {
    pub(super) fn new(buckets_max: usize) -> Self {
        Self { buckets: Mutex::new(Recent::new(buckets_max)), epoch: Instant::now() }
    }

    /// Draws from all of a group or from nothing.
    pub(super) fn draw(&self, group: &Group, quotas: &Quotas, routers: u64) -> Reply {
        let now_us = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut buckets = self.buckets.lock();
        let mut reply = Reply { passed: true, local: true, levels: Vec::with_capacity(group.draws.len()), left: None };
        for draw in &group.draws {
            let limit = draw.limit.share(routers);
            let level = buckets.get(draw.key.as_str()).map_or(0, |bucket| limit.level(*bucket, now_us));
            reply.passed &= limit.wait(level, draw.units).is_zero();
            reply.levels.push(level);
        }
        if let Some(quota) = &group.quota {
            let (fits, left) = quotas.draw(quota, routers, reply.passed);
            reply.passed &= fits;
            reply.left = Some(left);
        }
        if reply.passed {
            for (draw, level) in group.draws.iter().zip(&mut reply.levels) {
                *level = level.saturating_add(draw.limit.share(routers).amount(draw.units));
                buckets.put(draw.key.as_str(), Bucket { level: *level, at_us: now_us });
            }
        }
        reply
    }
}
