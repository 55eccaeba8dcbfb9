//! Plans by operation, bounded; the one unused for longest goes first.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use parking_lot::Mutex;

use super::Planned;

/// An operation: its text and the name of the one that is meant.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    query: Box<str>,
    operation_name: Option<Box<str>>,
}

impl Key {
    pub(super) fn new(query: &str, operation_name: Option<&str>) -> Self {
        Self { query: query.into(), operation_name: operation_name.map(Into::into) }
    }
}

pub(super) struct Cache {
    plans: Mutex<Plans>,
    size_max: NonZeroUsize,
}

#[derive(Default)]
struct Plans {
    by_key: HashMap<Key, Entry>,
    /// Rises with each use; stands for time.
    uses: u64,
}

struct Entry {
    planned: Planned,
    used: u64,
}

impl Cache {
    pub(super) fn new(size_max: NonZeroUsize) -> Self {
        Self { plans: Mutex::new(Plans::default()), size_max }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Planned> {
        let mut plans = self.plans.lock();
        plans.uses += 1;
        let now = plans.uses;
        let entry = plans.by_key.get_mut(key)?;
        entry.used = now;
        Some(entry.planned.clone())
    }

    pub(super) fn put(&self, key: Key, planned: Planned) {
        let mut plans = self.plans.lock();
        if plans.by_key.len() >= self.size_max.get() && !plans.by_key.contains_key(&key) {
            // A walk over some hundred entries, beside a planning that took milliseconds.
            let oldest = plans.by_key.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                plans.by_key.remove(&oldest);
            }
        }
        plans.uses += 1;
        let used = plans.uses;
        plans.by_key.insert(key, Entry { planned, used });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_unused_for_longest_goes_first() {
        let cache = Cache::new(NonZeroUsize::new(2).unwrap());
        let key = |query| Key::new(query, None);
        cache.put(key("a"), Planned::Other);
        cache.put(key("b"), Planned::Other);
        assert!(cache.get(&key("a")).is_some());
        cache.put(key("c"), Planned::Other);
        assert!(cache.get(&key("b")).is_none());
        assert!(cache.get(&key("a")).is_some() && cache.get(&key("c")).is_some());
    }
}
