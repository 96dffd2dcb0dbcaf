//! What was found out lately, in bounded memory: when the younger half is full it replaces the older one. Whoever shares one
//! holds it under a lock of their own.

use std::collections::HashMap;
use std::hash::Hash;

pub(super) struct Recent<K, V> {
    younger: HashMap<K, V>,
    older: HashMap<K, V>,
    half_max: usize,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { younger: HashMap::new(), older: HashMap::new(), half_max: max.div_ceil(2).max(1) }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.younger.get(key).or_else(|| self.older.get(key)).cloned()
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if self.younger.len() >= self.half_max && !self.younger.contains_key(&key) {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, value);
    }

    pub(super) fn clear(&mut self) {
        self.younger.clear();
        self.older.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let mut recent = Recent::new(4);
        for n in 0..100 {
            recent.put(n, n);
        }
        assert_eq!((recent.get(&99), recent.get(&0)), (Some(99), None));
        assert!(recent.younger.len() + recent.older.len() <= 4);
        recent.clear();
        assert_eq!(recent.get(&99), None);
    }
}
