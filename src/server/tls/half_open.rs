//! Connections that are not through their handshake: a bounded number, in the order they came.
//!
//! When all places are taken, a newcomer gets the place of who has waited longest. Who is honest needs a round trip or two;
//! so silent connections, however many, keep nobody out: they only push out one another.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The places of one process. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct HalfOpen {
    waiting: Arc<Mutex<Waiting>>,
    places: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By arrival.
    by_number: BTreeMap<u64, CancellationToken>,
    next: u64,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    lost: CancellationToken,
    waiting: Arc<Mutex<Waiting>>,
}

impl HalfOpen {
    pub fn new(places: usize) -> Self {
        Self { waiting: Arc::default(), places: places.max(1) }
    }

    /// A place, at the cost of the oldest when there is none left.
    pub fn enter(&self) -> Place {
        let lost = CancellationToken::new();
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.by_number.insert(number, lost.clone());
        if waiting.by_number.len() > self.places
            && let Some((_, oldest)) = waiting.by_number.pop_first()
        {
            oldest.cancel();
        }
        drop(waiting);
        Place { number, lost, waiting: self.waiting.clone() }
    }

    /// All places.
    pub fn places(&self) -> usize {
        self.places
    }

    /// Places taken.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.waiting.lock().by_number.len()
    }
}

impl Place {
    /// Ends when the place has gone to somebody else.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_who_waited_longest_goes() {
        let half_open = HalfOpen::new(2);
        let (first, second) = (half_open.enter(), half_open.enter());
        assert!(!first.lost.is_cancelled());
        let third = half_open.enter();
        assert!(first.lost.is_cancelled() && !second.lost.is_cancelled() && !third.lost.is_cancelled());
        assert_eq!(half_open.count(), 2);
        drop(first);
        assert_eq!(half_open.count(), 2, "a lost place is not given back twice");
        drop(second);
        let fourth = half_open.enter();
        assert!(!third.lost.is_cancelled(), "there was room");
        drop((third, fourth));
        assert_eq!(half_open.count(), 0);
    }
}
