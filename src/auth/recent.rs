//! What was found out lately, in bounded memory: when the younger half is full it replaces the older one.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

pub(super) struct Recent<K, V> {
    halves: Mutex<(HashMap<K, V>, HashMap<K, V>)>,
    half_max: usize,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { halves: Mutex::default(), half_max: max.div_ceil(2).max(1) }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        let halves = self.halves.lock();
        halves.0.get(key).or_else(|| halves.1.get(key)).cloned()
    }

    pub(super) fn put(&self, key: K, value: V) {
        let mut halves = self.halves.lock();
        if halves.0.len() >= self.half_max && !halves.0.contains_key(&key) {
            halves.1 = std::mem::take(&mut halves.0);
        }
        halves.0.insert(key, value);
    }

    pub(super) fn clear(&self) {
        *self.halves.lock() = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let recent = Recent::new(4);
        for n in 0..100 {
            recent.put(n, n);
        }
        assert_eq!((recent.get(&99), recent.get(&0)), (Some(99), None));
        let halves = recent.halves.lock();
        assert!(halves.0.len() + halves.1.len() <= 4);
    }
}
