//! What is known of texts, bounded: what has not been used of late is looked at anew.

use std::sync::Arc;

use parking_lot::Mutex;

use super::program::Known;
use crate::plugins::recent::Recent;

/// Longer texts are Apollo Router's: what is kept is bounded by number, and has to be small for that.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A text, and which operation of it is meant.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) text: Arc<str>,
    pub(super) operation_name: Option<Arc<str>>,
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

pub(super) struct Programs(Mutex<Recent<Key, Known>>);

impl Programs {
    pub(super) fn new(programs_max: usize) -> Self {
        Self(Mutex::new(Recent::new(programs_max)))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Known> {
        self.0.lock().get(key).cloned()
    }

    pub(super) fn put(&self, key: &Key, known: Known) {
        self.0.lock().put(key, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let programs = Programs::new(4);
        let key = |text: &str| Key { text: text.into(), operation_name: None };
        programs.put(&key("used"), Known::Unfit);
        for text in ["a", "b", "c", "d", "e"] {
            programs.put(&key(text), Known::Unfit);
            assert!(programs.get(&key("used")).is_some(), "after {text}");
        }
        assert!(programs.get(&key("a")).is_none());
        assert!(programs.get(&Key { operation_name: Some("A".into()), ..key("used") }).is_none());
    }
}
