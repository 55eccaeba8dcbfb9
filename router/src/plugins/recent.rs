//! A map of a bounded size that forgets what was not used of late: when its young half is full, the old half goes. So a
//! flood of keys costs no search for the one to drop.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half_max: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// An empty one, which will hold up to so many.
    pub fn new(size_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half_max: (size_max / 2).max(1) }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// What a key has, which counts as a use of it.
    pub fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_mut(key).map(|value| &*value)
    }

    /// The same, to be changed.
    pub fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.put_young(key, value);
        }
        self.young.get_mut(key)
    }

    /// Gives a key another value.
    pub fn put<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, value: V)
    where
        K: Borrow<Q> + for<'q> From<&'q Q>,
    {
        self.old.remove(key);
        match self.young.get_mut(key) {
            Some(known) => *known = value,
            None => self.put_young(key.into(), value),
        }
    }

    /// Forgets a key.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.old.remove(key);
        self.young.remove(key);
    }

    fn put_young(&mut self, key: K, value: V) {
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
        let mut recent: Recent<Box<str>, _> = Recent::new(4);
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
