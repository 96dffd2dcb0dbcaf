//! The statements now running, by the id in their ticket, so that another call can cancel them.

use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Cancelled ids remembered, so that no ticket of them runs (again).
const CANCELLED_MAX: usize = 1_000;

/// Shared by all calls.
#[derive(Default)]
pub(super) struct Running(Mutex<State>);

#[derive(Default)]
struct State {
    tokens: HashMap<String, Vec<CancellationToken>>,
    cancelled: VecDeque<String>,
}

/// What cancelling found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// It was running, or kept to be run, and is told to stop.
    Stopping,
    /// It was not.
    Prevented,
}

/// One run; dropping it (the client left, or the result is complete) cancels what is left and forgets it.
pub(super) struct Run {
    pub cancel: CancellationToken,
    id: String,
    running: Arc<Running>,
}

impl Running {
    /// Starts a run of ticket `id`; `None` when the ticket was cancelled before.
    pub fn start(self: &Arc<Self>, id: &str) -> Option<Run> {
        let mut state = self.0.lock();
        if state.cancelled.iter().any(|cancelled| cancelled == id) {
            return None;
        }
        let cancel = CancellationToken::new();
        state.tokens.entry(id.to_owned()).or_default().push(cancel.clone());
        Some(Run { cancel, id: id.to_owned(), running: self.clone() })
    }

    /// Cancels all runs of ticket `id`; no further one starts.
    pub fn cancel(&self, id: &str) -> Cancelled {
        let mut state = self.0.lock();
        if !state.cancelled.iter().any(|cancelled| cancelled == id) {
            if state.cancelled.len() == CANCELLED_MAX {
                state.cancelled.pop_front();
            }
            state.cancelled.push_back(id.to_owned());
        }
        let Some(tokens) = state.tokens.get(id) else { return Cancelled::Prevented };
        tokens.iter().for_each(CancellationToken::cancel);
        Cancelled::Stopping
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.cancel.cancel();
        let mut state = self.running.0.lock();
        if let Some(tokens) = state.tokens.get_mut(&self.id) {
            tokens.retain(|token| !token.is_cancelled());
            if tokens.is_empty() {
                state.tokens.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_cancelled_from_elsewhere() {
        let running = Arc::<Running>::default();
        let run = running.start("a").unwrap();
        assert_eq!(running.cancel("a"), Cancelled::Stopping);
        assert!(run.cancel.is_cancelled());
        drop(run);
        assert!(running.start("a").is_none(), "it does not run again");
    }

    #[test]
    fn a_ticket_cancelled_before_it_ran_never_runs() {
        let running = Arc::<Running>::default();
        assert_eq!(running.cancel("a"), Cancelled::Prevented);
        assert!(running.start("a").is_none());
        assert!(running.start("b").is_some());
    }

    #[test]
    fn dropping_a_run_cancels_and_forgets_it() {
        let running = Arc::<Running>::default();
        let run = running.start("a").unwrap();
        let token = run.cancel.clone();
        drop(run);
        assert!(token.is_cancelled());
        assert!(running.0.lock().tokens.is_empty());
    }
}
