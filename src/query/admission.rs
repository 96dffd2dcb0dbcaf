//! How many statements run at once: `query.concurrent` run, `query.queue_length` wait at most `query.queue_wait`, the
//! rest are told to come back. A [`Permit`] is held until its statement's rows are read or dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{QueryConfig, QueryError};

/// The gate in front of the engine.
#[derive(Debug)]
pub(super) struct Admission {
    turns: Arc<Semaphore>,
    concurrent: usize,
    waiting: Arc<AtomicUsize>,
    queue_length: usize,
    queue_wait: Duration,
}

/// The right to run; given back on drop.
#[derive(Debug)]
pub(super) struct Permit(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

/// Counts one waiting statement, also when it is dropped while waiting.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Admission {
    pub(super) fn new(config: &QueryConfig) -> Self {
        let concurrent = config.concurrent.max(1);
        Self {
            turns: Arc::new(Semaphore::new(concurrent)),
            concurrent,
            waiting: Arc::default(),
            queue_length: config.queue_length,
            queue_wait: config.queue_wait.0,
        }
    }

    /// A turn, in order of arrival.
    ///
    /// # Errors
    /// `Busy` when the queue is full or the wait was too long.
    pub(super) async fn enter(&self) -> Result<Permit, QueryError> {
        if let Ok(permit) = self.turns.clone().try_acquire_owned() {
            return Ok(Permit(permit));
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(self.waiting.clone());
        if before >= self.queue_length {
            return Err(self.busy(before));
        }
        let turn = tokio::time::timeout(self.queue_wait, self.turns.clone().acquire_owned()).await;
        drop(waiting);
        match turn {
            Ok(Ok(permit)) => Ok(Permit(permit)),
            Ok(Err(_)) => Err(QueryError::Stopping),
            Err(_) => Err(self.busy(before)),
        }
    }

    /// A turn, while most are free; it takes none that somebody may want in the next moment.
    pub(super) fn spare(&self) -> Option<Permit> {
        if self.turns.available_permits() <= self.concurrent / 2 {
            return None;
        }
        self.turns.clone().try_acquire_owned().ok().map(Permit)
    }

    fn busy(&self, waiting: usize) -> QueryError {
        QueryError::Busy { running: self.concurrent, waiting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Span;

    fn gate(concurrent: usize, queue_length: usize, wait: &str) -> Admission {
        Admission {
            turns: Arc::new(Semaphore::new(concurrent)),
            concurrent,
            waiting: Arc::default(),
            queue_length,
            queue_wait: wait.parse::<Span>().unwrap().0,
        }
    }

    #[tokio::test]
    async fn refuses_when_the_queue_is_full() {
        let gate = gate(1, 0, "1 hour");
        let first = gate.enter().await.unwrap();
        assert!(matches!(gate.enter().await, Err(QueryError::Busy { running: 1, waiting: 0 })));
        drop(first);
        assert!(gate.enter().await.is_ok());
    }

    #[tokio::test]
    async fn a_spare_turn_is_given_while_most_are_free() {
        let gate = gate(4, 0, "0 s");
        let (first, _second) = (gate.spare().unwrap(), gate.spare().unwrap());
        assert!(gate.spare().is_none());
        assert!(gate.enter().await.is_ok(), "others get theirs");
        drop(first);
        assert!(gate.spare().is_some());
        let only = self::gate(1, 0, "0 s");
        assert!(only.spare().is_some());
    }

    #[tokio::test]
    async fn a_wait_ends_and_leaves_the_queue() {
        let gate = gate(1, 1, "0 s");
        let first = gate.enter().await.unwrap();
        assert!(matches!(gate.enter().await, Err(QueryError::Busy { .. })));
        assert_eq!(gate.waiting.load(Ordering::Acquire), 0);
        drop(first);
    }
}
