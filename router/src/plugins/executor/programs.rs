//! What is known of texts, bounded. Two halves: when the young one is full it becomes the old one, and what is in neither
//! is looked at anew.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::program::Known;

/// Longer texts are Apollo Router's: what is kept is bounded by number, and has to be small for that.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A text, and which operation of it is meant.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) text: Arc<str>,
    pub(super) operation_name: Option<Arc<str>>,
}

pub(super) struct Programs {
    halves: Mutex<Halves>,
    half_max: usize,
}

#[derive(Default)]
struct Halves {
    young: HashMap<Key, Known>,
    old: HashMap<Key, Known>,
}

impl Programs {
    pub(super) fn new(programs_max: usize) -> Self {
        Self { halves: Mutex::default(), half_max: programs_max.div_ceil(2).max(1) }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Known> {
        let mut halves = self.halves.lock();
        if let Some(known) = halves.young.get(key) {
            return Some(known.clone());
        }
        let (key, known) = halves.old.remove_entry(key)?;
        self.put_young(&mut halves, key, known.clone());
        Some(known)
    }

    pub(super) fn put(&self, key: Key, known: Known) {
        self.put_young(&mut self.halves.lock(), key, known);
    }

    fn put_young(&self, halves: &mut Halves, key: Key, known: Known) {
        if halves.young.len() >= self.half_max && !halves.young.contains_key(&key) {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(key, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let programs = Programs::new(4);
        let key = |text: &str| Key { text: text.into(), operation_name: None };
        programs.put(key("used"), Known::Unfit);
        for text in ["a", "b", "c", "d", "e"] {
            programs.put(key(text), Known::Unfit);
            assert!(programs.get(&key("used")).is_some(), "after {text}");
        }
        assert!(programs.get(&key("a")).is_none());
        assert!(programs.get(&Key { operation_name: Some("A".into()), ..key("used") }).is_none());
    }
}
