//! A compact set of tagged hashes: at most 24 bytes per key once it is large, however it grew.
//!
//! An entry is the upper 116 bits of a 128-bit hash and a 12-bit tag (which event-time bucket the key belongs to), so
//! that one look-up answers for all buckets and the keys of some buckets can be dropped later.
//!
//! 64 shards by the hash's top bits; each is an open-addressing table whose entries stand in the order of their
//! hashes. A key's home slot is proportional to its hash, so order and home agree: an absent key is recognised at the
//! first larger entry, and growing or merging is one pass from front to back with no hashing and no random access.
//! A shard grows by a quarter at 85 % load (16 B / 0.85 × 1.25 = 23.5 B per key right after), one shard at a time, so
//! growth needs little memory on top.
//!
//! Look-ups come in batches: a first pass touches every home slot, which lets the processor overlap the cache misses.

use std::hint::black_box;

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
/// Entries of a shard's first table.
const CAPACITY_MIN: usize = 16;
/// Keys looked up between two passes of touching.
const BLOCK: usize = 32;
/// An unused slot. No key is this: see [`key`].
const EMPTY: u128 = 0;
const TAG_BITS: u32 = 12;
const TAG_MASK: u128 = (1 << TAG_BITS) - 1;
/// Different tags there are.
pub const TAGS: u16 = 1 << TAG_BITS;
const SLOT_BYTES: u64 = 16;

/// A set of hashes, each with a tag. The tag of a hash that is there already stays as it is.
#[derive(Debug)]
pub struct KeySet {
    shards: Vec<Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    /// `capacity` home slots, then room for the last run to spill over.
    slots: Vec<u128>,
    capacity: usize,
    len: usize,
}

impl Default for KeySet {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }
}

/// A hash as an entry with tag 0; never [`EMPTY`].
fn key(hash: u128) -> u128 {
    (hash & !TAG_MASK).max(1 << TAG_BITS)
}

fn tagged(hash: u128, tag: u16) -> u128 {
    key(hash) | u128::from(tag & (TAGS - 1))
}

fn tag_of(key: u128) -> u16 {
    u16::try_from(key & TAG_MASK).unwrap_or_default()
}

/// Whether two entries are of the same hash.
fn same(one: u128, other: u128) -> bool {
    one >> TAG_BITS == other >> TAG_BITS
}

fn shard_of(key: u128) -> usize {
    usize::try_from(key >> (128 - SHARD_BITS)).unwrap_or_default()
}

impl KeySet {
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.slots.len() as u64 * SLOT_BYTES).sum()
    }

    pub fn contains(&self, hash: u128) -> bool {
        let key = key(hash);
        self.shards[shard_of(key)].find(key).is_ok()
    }

    /// Whether each hash is in the set.
    pub fn contains_each(&self, hashes: &[u128]) -> Vec<bool> {
        let mut found = Vec::with_capacity(hashes.len());
        for block in hashes.chunks(BLOCK) {
            self.touch(block);
            found.extend(block.iter().map(|hash| self.contains(*hash)));
        }
        found
    }

    /// Adds the hash; false when it was there.
    pub fn insert(&mut self, hash: u128, tag: u16) -> bool {
        let key = tagged(hash, tag);
        self.shards[shard_of(key)].insert(key)
    }

    /// Adds each hash with its tag; false where it was there, or came earlier in `hashes`.
    pub fn insert_each(&mut self, hashes: &[u128], tags: &[u16]) -> Vec<bool> {
        let mut new = Vec::with_capacity(hashes.len());
        for (block, tags) in hashes.chunks(BLOCK).zip(tags.chunks(BLOCK)) {
            self.touch(block);
            new.extend(block.iter().zip(tags).map(|(hash, tag)| self.insert(*hash, *tag)));
        }
        new
    }

    /// Keys of each tag.
    pub fn count_by_tag(&self) -> Vec<u64> {
        let mut counts = vec![0; usize::from(TAGS)];
        for key in self.shards.iter().flat_map(Shard::keys) {
            counts[usize::from(tag_of(key))] += 1;
        }
        counts
    }

    /// Drops the keys whose tag is not wanted and gives their memory back, shard by shard.
    pub fn retain_tags(&mut self, wanted: impl Fn(u16) -> bool) {
        for shard in &mut self.shards {
            let kept = || shard.keys().filter(|key| wanted(tag_of(*key)));
            let len = kept().count();
            if len < shard.len {
                *shard = Shard::of_sorted(kept, len, (len * 20).div_ceil(17) * 11 / 10);
            }
        }
    }

    /// Moves all of `other` in here, shard by shard.
    pub fn absorb(&mut self, other: KeySet) {
        for (mine, theirs) in self.shards.iter_mut().zip(other.shards) {
            if mine.len == 0 {
                *mine = theirs;
            } else if theirs.len * 8 < mine.len {
                theirs.keys().for_each(|key| _ = mine.insert(key));
            } else {
                *mine = Shard::merged(mine, &theirs);
            }
        }
    }

    /// Whether the sets share a key.
    pub fn intersects(&self, other: &KeySet) -> bool {
        self.shards.iter().zip(&other.shards).any(|(mine, theirs)| mine.intersects(theirs))
    }

    /// Loads the home slots of the hashes, all at once.
    fn touch(&self, hashes: &[u128]) {
        let sum = hashes.iter().fold(0, |sum, hash| {
            let key = key(*hash);
            let shard = &self.shards[shard_of(key)];
            sum ^ shard.slots.get(home(key, shard.capacity)).copied().unwrap_or_default()
        });
        black_box(sum);
    }
}

/// The slot proportional to the key's place within its shard.
fn home(key: u128, capacity: usize) -> usize {
    let place = (key << SHARD_BITS) >> 64;
    usize::try_from((place * capacity as u128) >> 64).unwrap_or_default()
}

/// Slots behind the last home, for the run that ends there.
fn spill(capacity: usize) -> usize {
    16 + capacity / 128
}

impl Shard {
    fn with_capacity(capacity: usize) -> Self {
        Self { slots: vec![EMPTY; capacity + spill(capacity)], capacity, len: 0 }
    }

    fn keys(&self) -> impl Iterator<Item = u128> {
        self.slots.iter().copied().filter(|key| *key != EMPTY)
    }

    /// Where the key is, or would have to go (which may be behind the end).
    fn find(&self, key: u128) -> Result<usize, usize> {
        let mut at = home(key, self.capacity);
        while let Some(found) = self.slots.get(at) {
            if same(*found, key) {
                return Ok(at);
            }
            if *found == EMPTY || *found > key {
                return Err(at);
            }
            at += 1;
        }
        Err(at)
    }

    fn insert(&mut self, key: u128) -> bool {
        // 85 %, in integers.
        if self.len * 20 >= self.capacity * 17 {
            self.grow();
        }
        loop {
            let Err(at) = self.find(key) else { return false };
            let free = self.slots.iter().skip(at).position(|slot| *slot == EMPTY);
            let Some(run) = free else {
                self.grow();
                continue;
            };
            // Larger entries of the run move up by one; each stays at or behind its home.
            self.slots.copy_within(at..at + run, at + 1);
            self.slots[at] = key;
            self.len += 1;
            return true;
        }
    }

    fn grow(&mut self) {
        let capacity = (self.capacity + self.capacity / 4).max(CAPACITY_MIN);
        *self = Self::of_sorted(|| self.keys(), self.len, capacity);
    }

    /// A table of keys given in ascending order, once per attempt.
    fn of_sorted<I: Iterator<Item = u128>>(keys: impl Fn() -> I, len: usize, capacity: usize) -> Self {
        let mut capacity = capacity.max(CAPACITY_MIN);
        loop {
            if let Some(shard) = Self::try_of_sorted(keys(), capacity) {
                debug_assert_eq!(shard.len, len, "keys were lost or invented");
                return shard;
            }
            capacity += capacity / 4;
        }
    }

    fn try_of_sorted(keys: impl Iterator<Item = u128>, capacity: usize) -> Option<Self> {
        let mut shard = Self::with_capacity(capacity);
        let mut next = 0;
        for key in keys {
            let at = home(key, capacity).max(next);
            *shard.slots.get_mut(at)? = key;
            shard.len += 1;
            next = at + 1;
        }
        Some(shard)
    }

    fn merged(one: &Self, other: &Self) -> Self {
        let len = merge(one.keys(), other.keys()).count();
        // Room for a tenth more before it has to grow again.
        let capacity = (len * 20).div_ceil(17) * 11 / 10;
        Self::of_sorted(|| merge(one.keys(), other.keys()), len, capacity)
    }

    fn intersects(&self, other: &Self) -> bool {
        let (small, large) = if self.len < other.len { (self, other) } else { (other, self) };
        if small.len * 8 < large.len {
            return small.keys().any(|key| large.find(key).is_ok());
        }
        let mut theirs = large.keys().peekable();
        small.keys().any(|key| {
            while theirs.next_if(|other| *other < key && !same(*other, key)).is_some() {}
            theirs.peek().is_some_and(|other| same(*other, key))
        })
    }
}

/// Two ascending sequences as one; of one hash in both, the entry of `one`.
fn merge(one: impl Iterator<Item = u128>, other: impl Iterator<Item = u128>) -> impl Iterator<Item = u128> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek().copied(), other.peek().copied()) {
        (Some(left), Some(right)) if same(left, right) => {
            other.next();
            one.next()
        }
        (Some(left), Some(right)) if left < right => one.next(),
        (Some(_), Some(_)) => other.next(),
        (Some(_), None) => one.next(),
        (None, _) => other.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Spreads small numbers over all 128 bits, so that tests can repeat keys.
    fn spread(number: u64) -> u128 {
        let high = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (u128::from(high ^ (high >> 29)) << 64) | u128::from(number)
    }

    fn check_order(set: &KeySet) {
        for shard in &set.shards {
            let keys: Vec<_> = shard.keys().collect();
            assert!(keys.is_sorted_by(|left, right| left < right), "out of order");
            assert_eq!(keys.len(), shard.len);
            for key in keys {
                assert!(shard.find(key).is_ok(), "a key cannot be found");
            }
        }
    }

    #[test]
    fn a_large_set_stays_within_24_bytes_per_key() {
        let mut set = KeySet::default();
        let mut worst = 0.0_f64;
        for number in 0..400_000_u64 {
            assert!(set.insert(spread(number), 0));
            if number > 100_000 && number % 1_000 == 0 {
                worst = worst.max(set.bytes() as f64 / set.len() as f64);
            }
        }
        assert_eq!(set.len(), 400_000);
        assert!(worst <= 24.0, "{worst} bytes per key");
        assert!((0..400_000).all(|number| set.contains(spread(number))));
        assert!((400_000..500_000).all(|number| !set.contains(spread(number))));
        check_order(&set);
    }

    #[test]
    fn the_extreme_hashes_are_keys_too() {
        let mut set = KeySet::default();
        for hash in [u128::MAX, 0, u128::MAX - (1 << TAG_BITS), 2 << TAG_BITS, u128::MAX >> SHARD_BITS] {
            assert!(!set.contains(hash));
            assert!(set.insert(hash, TAGS - 1), "{hash:x}");
            assert!(!set.insert(hash, 0));
        }
        assert_eq!(set.len(), 5);
        check_order(&set);
    }

    #[test]
    fn a_run_at_the_end_of_a_shard_grows_it() {
        let mut set = KeySet::default();
        for number in 0..2_000_u128 {
            assert!(set.insert(u128::MAX - (number << TAG_BITS), 0));
        }
        assert_eq!(set.len(), 2_000);
        check_order(&set);
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(batches in prop::collection::vec(prop::collection::vec(0..3_000_u64, 0..400), 0..12)) {
            let (mut set, mut model) = (KeySet::default(), BTreeSet::new());
            for batch in batches {
                let hashes: Vec<u128> = batch.iter().map(|number| spread(*number)).collect();
                let before: Vec<bool> = hashes.iter().map(|hash| model.contains(hash)).collect();
                prop_assert_eq!(set.contains_each(&hashes), before);
                let new: Vec<bool> = hashes.iter().map(|hash| model.insert(*hash)).collect();
                let tags: Vec<u16> = batch.iter().map(|number| u16::try_from(number % 7).unwrap()).collect();
                prop_assert_eq!(set.insert_each(&hashes, &tags), new);
            }
            prop_assert_eq!(set.len(), model.len());
            check_order(&set);
            let of_tag = |tag: u64| model.iter().filter(|hash| (**hash & u128::from(u64::MAX)) % 7 == u128::from(tag)).count();
            let counts = set.count_by_tag();
            prop_assert!((0..7).all(|tag| counts[tag as usize] == of_tag(tag) as u64));
            set.retain_tags(|tag| tag >= 3);
            check_order(&set);
            prop_assert_eq!(set.len(), (3..7).map(of_tag).sum::<usize>());
            prop_assert!(model.iter().all(|hash| set.contains(*hash) == ((hash & u128::from(u64::MAX)) % 7 >= 3)));
        }

        #[test]
        fn absorbs_and_intersects_as_sets(one in prop::collection::btree_set(0..4_000_u64, 0..2_000), other in prop::collection::btree_set(0..4_000_u64, 0..2_000)) {
            let build = |numbers: &BTreeSet<u64>| {
                let mut set = KeySet::default();
                numbers.iter().for_each(|number| _ = set.insert(spread(*number), 0));
                set
            };
            let (mut left, right) = (build(&one), build(&other));
            prop_assert_eq!(left.intersects(&right), !one.is_disjoint(&other));
            left.absorb(right);
            prop_assert_eq!(left.len(), one.union(&other).count());
            prop_assert!(one.union(&other).all(|number| left.contains(spread(*number))));
            check_order(&left);
        }
    }
}
