//! Requests of one producer that are under way together join their table's queue in the order of their sequences.
//!
//! A place is taken before anything is awaited, in the order in which the requests came in; nothing about the table has to
//! be known yet.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::request::Producer;

/// Sequences that have come in and not joined a queue yet.
#[derive(Debug, Default)]
pub struct Arrivals {
    places: Mutex<HashMap<Lane, BTreeSet<u64>>>,
    moved: Notify,
}

/// A table and a producer.
type Lane = (String, String);

/// A request's place among its producer's requests. Dropping it lets the later ones pass.
#[derive(Debug)]
pub struct Place<'a> {
    arrivals: &'a Arrivals,
    lane: Lane,
    sequence: u64,
}

impl Arrivals {
    /// Takes a place; call it before anything is awaited.
    pub fn arrive(&self, table: &str, producer: &Producer) -> Place<'_> {
        let lane = (table.to_owned(), producer.id.clone());
        let sequence = producer.sequence;
        self.places.lock().entry(lane.clone()).or_default().insert(sequence);
        Place { arrivals: self, lane, sequence }
    }
}

impl Place<'_> {
    /// Returns when every request of the producer that came with a smaller sequence has joined the queue or failed.
    pub async fn first(&self) {
        loop {
            let mut moved = std::pin::pin!(self.arrivals.moved.notified());
            moved.as_mut().enable();
            let first = self.arrivals.places.lock().get(&self.lane).and_then(|places| places.first().copied());
            if first.is_none_or(|first| first >= self.sequence) {
                return;
            }
            moved.await;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.arrivals.places.lock();
        if let Some(sequences) = places.get_mut(&self.lane) {
            sequences.remove(&self.sequence);
            if sequences.is_empty() {
                places.remove(&self.lane);
            }
        }
        drop(places);
        self.arrivals.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn producer(sequence: u64) -> Producer {
        Producer { id: "p".to_owned(), sequence }
    }

    #[test]
    fn requests_of_one_producer_keep_their_order() {
        let arrivals = Arrivals::default();
        let (first, second) = (arrivals.arrive("t", &producer(1)), arrivals.arrive("t", &producer(2)));
        assert!(first.first().now_or_never().is_some());
        assert!(second.first().now_or_never().is_none());
        drop(first);
        assert!(second.first().now_or_never().is_some());
    }

    #[test]
    fn other_tables_and_producers_do_not_wait() {
        let arrivals = Arrivals::default();
        let _first = arrivals.arrive("t", &producer(1));
        assert!(arrivals.arrive("u", &producer(2)).first().now_or_never().is_some());
        let other = Producer { id: "q".to_owned(), sequence: 2 };
        assert!(arrivals.arrive("t", &other).first().now_or_never().is_some());
    }

    #[test]
    fn nothing_is_kept_of_requests_that_have_gone() {
        let arrivals = Arrivals::default();
        drop(arrivals.arrive("t", &producer(1)));
        assert!(arrivals.places.lock().is_empty());
    }
}
