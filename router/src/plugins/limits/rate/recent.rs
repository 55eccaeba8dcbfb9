//! A map of a bounded size that forgets what was not used of late: when its young half is full, the old half goes.

use std::collections::HashMap;

pub(super) struct Recent<V> {
    young: HashMap<Box<str>, V>,
    old: HashMap<Box<str>, V>,
    half_max: usize,
}

impl<V> Recent<V> {
    pub(super) fn new(size_max: u64) -> Self {
        let half_max = usize::try_from(size_max / 2).unwrap_or(usize::MAX).max(1);
        Self { young: HashMap::new(), old: HashMap::new(), half_max }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    pub(super) fn get(&mut self, key: &str) -> Option<&V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.put_boxed(key, value);
        }
        self.young.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.get(key)?;
        self.young.get_mut(key)
    }

    pub(super) fn put(&mut self, key: &str, value: V) {
        self.old.remove(key);
        match self.young.get_mut(key) {
            Some(known) => *known = value,
            None => self.put_boxed(key.into(), value),
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.old.remove(key);
        self.young.remove(key);
    }

    fn put_boxed(&mut self, key: Box<str>, value: V) {
        if self.young.len() >= self.half_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_size_is_bounded() {
        let mut recent = Recent::new(4);
        recent.put("used", 0);
        for (number, key) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            recent.put(key, number);
            assert_eq!(recent.get("used"), Some(&0), "after {key}");
            assert!(recent.young.len() <= 2 && recent.old.len() <= 2);
        }
        assert_eq!(recent.get("a"), None);
        assert_eq!(recent.get("e"), Some(&4));
        recent.put("used", 9);
        assert_eq!(recent.get("used"), Some(&9));
        recent.remove("used");
        assert_eq!(recent.get("used"), None);
    }
}
