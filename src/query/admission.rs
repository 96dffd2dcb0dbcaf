//! How many statements run at once: `query.concurrent` run, `query.queue_length` wait at most `query.queue_wait`, the
//! rest are told to come back. A [`Permit`] is held until its statement's rows are read or dropped. Whose turn it is next
//! is decided by [`Turns`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::turns::{Asked, Ticket, Turns, Whose};
use super::{QueryConfig, QueryError};

/// The gate in front of the engine.
pub(super) struct Admission {
    gate: Arc<Gate>,
    concurrent: usize,
    queue_wait: Duration,
}

type Gate = Mutex<Line>;

struct Line {
    turns: Turns,
    told: HashMap<Ticket, oneshot::Sender<Told>>,
}

enum Told {
    Runs(Permit),
    /// Somebody with fewer waiting has its place.
    Displaced,
}

/// The right to run; given back on drop.
pub(super) struct Permit {
    gate: Arc<Gate>,
    whose: Whose,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut line = self.gate.lock();
        let started = line.turns.give_back(&self.whose);
        let told: Vec<_> =
            started.into_iter().filter_map(|(ticket, whose)| Some((line.told.remove(&ticket)?, whose))).collect();
        drop(line);
        for (sender, whose) in told {
            // One that is gone meanwhile drops its permit at once.
            let _gone = sender.send(Told::Runs(Permit { gate: self.gate.clone(), whose }));
        }
    }
}

/// One waiting statement, also when it is dropped while waiting.
struct Waiting {
    gate: Arc<Gate>,
    ticket: Ticket,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut line = self.gate.lock();
        line.turns.leave(self.ticket);
        line.told.remove(&self.ticket);
    }
}

impl Admission {
    pub(super) fn new(config: &QueryConfig) -> Self {
        Self::of(config.concurrent, config.queue_length, config.queue_wait.0)
    }

    fn of(concurrent: usize, queue_length: usize, queue_wait: Duration) -> Self {
        let concurrent = concurrent.max(1);
        let line = Line { turns: Turns::new(concurrent, queue_length), told: HashMap::new() };
        Self { gate: Arc::new(Mutex::new(line)), concurrent, queue_wait }
    }

    /// A turn, as soon as it is that of `whose`.
    ///
    /// # Errors
    /// `Busy` when there is no place to wait, or the wait was too long.
    pub(super) async fn enter(&self, whose: &Whose) -> Result<Permit, QueryError> {
        let (waiting, told, before) = {
            let mut line = self.gate.lock();
            let before = line.turns.waiting();
            let (ticket, displaced) = match line.turns.ask(whose) {
                Asked::Runs => return Ok(self.permit(whose)),
                Asked::Refused => return Err(self.busy(before)),
                Asked::Waits { ticket, displaced } => (ticket, displaced),
            };
            if let Some(other) = displaced.and_then(|displaced| line.told.remove(&displaced)) {
                let _gone = other.send(Told::Displaced);
            }
            let (tell, told) = oneshot::channel();
            line.told.insert(ticket, tell);
            (Waiting { gate: self.gate.clone(), ticket }, told, before)
        };
        let turn = tokio::time::timeout(self.queue_wait, told).await;
        drop(waiting);
        match turn {
            Ok(Ok(Told::Runs(permit))) => Ok(permit),
            Ok(Ok(Told::Displaced)) | Err(_) => Err(self.busy(before)),
            Ok(Err(_)) => Err(QueryError::Stopping),
        }
    }

    /// A turn for the process itself, while most are free; it takes none that somebody may want in the next moment.
    pub(super) fn spare(&self) -> Option<Permit> {
        let mut line = self.gate.lock();
        let is_spare = line.turns.free() > self.concurrent / 2 && line.turns.ask(&None) == Asked::Runs;
        is_spare.then(|| self.permit(&None))
    }

    fn permit(&self, whose: &Whose) -> Permit {
        Permit { gate: self.gate.clone(), whose: whose.clone() }
    }

    fn busy(&self, waiting: usize) -> QueryError {
        QueryError::Busy { running: self.concurrent, waiting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Span;
    use crate::query::running::Principal;

    fn gate(concurrent: usize, queue_length: usize, wait: &str) -> Admission {
        Admission::of(concurrent, queue_length, wait.parse::<Span>().unwrap().0)
    }

    fn of(user: &str) -> Whose {
        Some(Principal { user: user.to_owned(), is_external: false })
    }

    #[tokio::test]
    async fn refuses_when_the_queue_is_full() {
        let gate = gate(1, 0, "1 hour");
        let first = gate.enter(&None).await.unwrap();
        assert!(matches!(gate.enter(&None).await, Err(QueryError::Busy { running: 1, waiting: 0 })));
        drop(first);
        assert!(gate.enter(&None).await.is_ok());
    }

    #[tokio::test]
    async fn a_spare_turn_is_given_while_most_are_free() {
        let gate = gate(4, 0, "0 s");
        let (first, _second) = (gate.spare().unwrap(), gate.spare().unwrap());
        assert!(gate.spare().is_none());
        assert!(gate.enter(&None).await.is_ok(), "others get theirs");
        drop(first);
        assert!(gate.spare().is_some());
        let only = self::gate(1, 0, "0 s");
        assert!(only.spare().is_some());
    }

    #[tokio::test]
    async fn a_wait_ends_and_leaves_the_queue() {
        let gate = gate(1, 1, "0 s");
        let first = gate.enter(&None).await.unwrap();
        assert!(matches!(gate.enter(&None).await, Err(QueryError::Busy { .. })));
        let line = gate.gate.lock();
        assert_eq!((line.turns.waiting(), line.told.len()), (0, 0));
        drop(line);
        drop(first);
    }

    #[tokio::test]
    async fn who_waits_is_called_in_turn_and_who_left_is_not() {
        let gate = gate(1, 10, "1 hour");
        let first = gate.enter(&of("a")).await.unwrap();
        let (a, b, d) = (of("a"), of("b"), of("d"));
        let mut left = Box::pin(gate.enter(&a));
        let mut other = Box::pin(gate.enter(&b));
        let mut second = Box::pin(gate.enter(&d));
        for waiting in [&mut left, &mut other, &mut second] {
            assert!(futures::poll!(waiting).is_pending());
        }
        drop(left);
        drop(first);
        assert!(futures::poll!(&mut second).is_pending(), "it is the other's turn");
        let permit = other.await.unwrap();
        // Told, and gone before it has heard of it: the turn is not lost.
        drop(permit);
        drop(second);
        assert!(gate.enter(&of("c")).await.is_ok());
        assert_eq!(gate.gate.lock().turns.free(), 1);
    }

    #[tokio::test]
    async fn who_has_many_waiting_makes_room() {
        let gate = gate(1, 2, "1 hour");
        let _first = gate.enter(&of("a")).await.unwrap();
        let (a, b) = (of("a"), of("b"));
        let (mut one, mut two, mut other) =
            (Box::pin(gate.enter(&a)), Box::pin(gate.enter(&a)), Box::pin(gate.enter(&b)));
        assert!(futures::poll!(&mut one).is_pending() && futures::poll!(&mut two).is_pending());
        assert!(futures::poll!(&mut other).is_pending());
        assert!(matches!(two.await, Err(QueryError::Busy { .. })));
        assert!(futures::poll!(&mut one).is_pending());
    }
}
