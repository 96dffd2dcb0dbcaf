//! The requests that wait for one table's next group commit, and how long a leader waits for more of them.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::admission::Permit;
use super::batch::{Batch, Rejection, Valid};
use super::request::Producer;
use super::{AppendReport, IngestError};
use crate::base::Stopwatch;

/// Rows of one group at most; more wait for the next.
const GROUP_ROWS_MAX: usize = 1 << 20;

/// One request, ready to be committed.
pub struct Job {
    pub batches: Vec<Batch<Valid>>,
    pub rejected: Vec<Rejection>,
    pub producer: Option<Producer>,
    pub source: &'static str,
    pub reply: oneshot::Sender<Result<AppendReport, IngestError>>,
    pub permit: Permit,
}

impl Job {
    pub fn rows(&self) -> usize {
        self.batches.iter().map(Batch::row_count).sum()
    }
}

/// The requests that wait, and what the last group was like.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    last: Option<LastGroup>,
}

/// What the leader of the next group goes by.
#[derive(Clone, Copy, Debug)]
struct LastGroup {
    requests: usize,
    took: Duration,
    ended: Stopwatch,
}

impl Queue {
    pub fn push(&self, job: Job) {
        self.state.lock().jobs.push_back(job);
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().jobs.len()
    }

    /// What waits, in order, up to one group. Requests nobody waits for any more are left out.
    pub fn take(&self) -> Vec<Job> {
        let mut state = self.state.lock();
        let (mut group, mut rows) = (Vec::new(), 0);
        while let Some(job) = state.jobs.pop_front() {
            if job.reply.is_closed() {
                continue;
            }
            rows += job.rows();
            if rows > GROUP_ROWS_MAX && !group.is_empty() {
                state.jobs.push_front(job);
                break;
            }
            group.push(job);
        }
        group
    }

    /// Lets go of the requests nobody waits for any more.
    pub fn forget_closed(&self) {
        let mut state = self.state.lock();
        let (closed, waiting) = std::mem::take(&mut state.jobs).into_iter().partition(|job| job.reply.is_closed());
        state.jobs = waiting;
        drop(state);
        // They give back their room, which has a lock of its own.
        let closed: VecDeque<Job> = closed;
        drop(closed);
    }

    /// Takes note of a group that has been answered.
    pub fn answered(&self, requests: usize, took: Duration) {
        self.state.lock().last = Some(LastGroup { requests, took, ended: Stopwatch::start() });
    }

    /// How long the leader of the next group waits: see [`delay`].
    pub fn delay(&self, max: Duration) -> Duration {
        let state = self.state.lock();
        let last = state.last.map(|last| (last.requests, last.took, last.ended.elapsed()));
        delay(last, state.jobs.len(), max)
    }
}

/// How long a leader waits for more requests: nothing when the table was idle, else until about as many have come as last
/// time, at most as long as the last commit took, at most `max`.
fn delay(last: Option<(usize, Duration, Duration)>, waiting: usize, max: Duration) -> Duration {
    match last {
        Some((requests, took, since)) if since < took && waiting < requests => took.min(max),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_table_commits_at_once_and_a_busy_one_gathers() {
        let ms = Duration::from_millis;
        let max = ms(20);
        assert_eq!(delay(None, 1, max), Duration::ZERO);
        assert_eq!(delay(Some((5, ms(10), ms(500))), 1, max), Duration::ZERO, "idle");
        assert_eq!(delay(Some((5, ms(10), ms(1))), 1, max), ms(10));
        assert_eq!(delay(Some((5, ms(10), ms(1))), 5, max), Duration::ZERO, "as many as last time are here");
        assert_eq!(delay(Some((5, ms(100), ms(1))), 1, max), max);
    }
}
