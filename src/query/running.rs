//! Statements running now and finished lately: what `system.queries` shows and [`cancel`](super::Engine::cancel) finds.
//!
//! A [`Run`] is shared by whoever works on the statement; its [`Watch`] ends it exactly once, on the last drop at the latest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Origin, QueryError, QueryId, Session};
use crate::auth::Identity;
use crate::base::{Classify, Kind, Stopwatch, Timestamp};
use crate::catalog::redacted;
use crate::telemetry::metrics;

/// Characters of SQL kept per statement.
const SQL_KEPT: usize = 10_000;

/// How far a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Planning,
    Running,
    Done,
    Failed(Kind),
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Planning => "planning",
            State::Running => "running",
            State::Done => "done",
            State::Failed(Kind::Cancelled) => "cancelled",
            State::Failed(_) => "failed",
        }
    }
}

impl Origin {
    /// Stable name for `system.queries` and metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Origin::FlightSql => "flight_sql",
            Origin::Http => "http",
            Origin::Endpoint => "endpoint",
            Origin::Repl => "repl",
            Origin::Internal => "internal",
        }
    }
}

/// A caller, by whatever token: a user of ours, or one of the identity provider's of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    pub(super) user: String,
    pub(super) is_external: bool,
}

impl Principal {
    fn of(identity: &Identity) -> Self {
        Self { user: identity.user.clone(), is_external: identity.external.is_some() }
    }
}

/// One statement.
pub(super) struct Run {
    pub(super) id: QueryId,
    pub(super) session_id: String,
    pub(super) user: String,
    /// Who proved to be there; none = the process itself, or anybody.
    pub(super) caller: Option<Principal>,
    pub(super) origin: Origin,
    /// The first [`SQL_KEPT`] characters.
    pub(super) sql: String,
    pub(super) is_cut: bool,
    pub(super) started_at: Timestamp,
    pub(super) cancel: CancellationToken,
    stopwatch: Stopwatch,
    rows: AtomicU64,
    progress: Mutex<(State, Option<String>)>,
    elapsed: Mutex<Option<Duration>>,
}

impl Run {
    fn new(sql: &str, session: &Session, cancel: CancellationToken, begun: (Timestamp, Stopwatch)) -> Self {
        let text = redacted(sql);
        let (started_at, stopwatch) = begun;
        Self {
            id: QueryId(uuid::Uuid::now_v7().simple().to_string()),
            session_id: session.id.clone(),
            user: session.user.clone(),
            caller: session.caller.as_ref().map(Principal::of),
            origin: session.origin,
            sql: text.chars().take(SQL_KEPT).collect(),
            is_cut: text.chars().nth(SQL_KEPT).is_some(),
            started_at,
            cancel,
            stopwatch,
            rows: AtomicU64::new(0),
            progress: Mutex::new((State::Waiting, None)),
            elapsed: Mutex::new(None),
        }
    }

    pub(super) fn state(&self) -> State {
        self.progress.lock().0
    }

    /// What went wrong, for people.
    pub(super) fn error(&self) -> Option<String> {
        self.progress.lock().1.clone()
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.elapsed.lock().unwrap_or_else(|| self.stopwatch.elapsed())
    }
}

/// All statements of an engine.
pub(super) struct Registry {
    running: Mutex<HashMap<QueryId, Arc<Run>>>,
    finished: Mutex<VecDeque<Arc<Run>>>,
    kept: usize,
}

impl Registry {
    pub(super) fn new(kept: usize) -> Arc<Self> {
        Arc::new(Self { running: Mutex::default(), finished: Mutex::default(), kept })
    }

    /// Lists a new statement; it is listed as running until its [`Watch`] ends.
    ///
    /// # Errors
    /// `TooMany` when the session's caller has `most` running already.
    pub(super) fn begin(
        self: &Arc<Self>,
        sql: &str,
        session: &Session,
        cancel: &CancellationToken,
        (now, most): (Timestamp, Option<u64>),
    ) -> Result<Watch, QueryError> {
        let run = Arc::new(Run::new(sql, session, cancel.child_token(), (now, Stopwatch::start())));
        let mut running = self.running.lock();
        if let (Some(most), Some(caller)) = (most, &run.caller)
            && count_of(&running, caller) >= most
        {
            metrics().count("statements_limited", "Statements refused: their user has too many running", &[], 1);
            return Err(QueryError::TooMany { most });
        }
        running.insert(run.id.clone(), run.clone());
        Ok(Watch { run, registry: self.clone(), ended: false })
    }

    /// Lists a statement that ended before it could begin: it cannot be planned.
    pub(super) fn refuse(
        self: &Arc<Self>,
        sql: &str,
        session: &Session,
        begun: (Timestamp, Stopwatch),
        error: &QueryError,
    ) {
        let run = Arc::new(Run::new(sql, session, CancellationToken::new(), begun));
        Watch { run, registry: self.clone(), ended: false }.fail(error);
    }

    /// Statements of a user of ours that run now.
    pub(super) fn running_of(&self, user: &str) -> u64 {
        count_of(&self.running.lock(), &Principal { user: user.to_owned(), is_external: false })
    }

    /// Signals a running statement; false when there is none of this id.
    pub(super) fn cancel(&self, id: &QueryId) -> bool {
        let run = self.running.lock().get(id).cloned();
        run.is_some_and(|run| {
            run.cancel.cancel();
            true
        })
    }

    /// Running statements, then finished ones, newest first.
    pub(super) fn list(&self) -> Vec<Arc<Run>> {
        let mut runs: Vec<Arc<Run>> = self.running.lock().values().cloned().collect();
        runs.sort_by(|left, right| right.id.cmp(&left.id));
        runs.extend(self.finished.lock().iter().cloned());
        runs
    }

    fn end(&self, run: &Arc<Run>) {
        self.running.lock().remove(&run.id);
        let mut finished = self.finished.lock();
        finished.push_front(run.clone());
        finished.truncate(self.kept);
    }
}

fn count_of(running: &HashMap<QueryId, Arc<Run>>, caller: &Principal) -> u64 {
    running.values().map(|run| u64::from(run.caller.as_ref() == Some(caller))).sum()
}

/// Holds a statement's place in the list. Dropped without a word, the statement counts as cancelled.
pub(super) struct Watch {
    pub(super) run: Arc<Run>,
    registry: Arc<Registry>,
    ended: bool,
}

impl Watch {
    pub(super) fn enter(&self, state: State) {
        self.run.progress.lock().0 = state;
    }

    pub(super) fn add_rows(&self, rows: u64) {
        self.run.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn succeed(mut self) {
        self.end(State::Done, None);
    }

    pub(super) fn fail(mut self, error: &QueryError) {
        self.end(State::Failed(error.kind()), Some(crate::base::error::chain(error)));
    }

    fn end(&mut self, state: State, error: Option<String>) {
        if self.ended {
            return;
        }
        self.ended = true;
        let run = &self.run;
        let elapsed = run.stopwatch.elapsed();
        *run.elapsed.lock() = Some(elapsed);
        *run.progress.lock() = (state, error);
        self.registry.end(run);
        let (rows, origin) = (run.rows(), run.origin.as_str());
        let labels = [("state", state.as_str()), ("origin", origin)];
        metrics().count("queries", "Statements by how they ended", &labels, 1);
        metrics().count("query_rows", "Rows answered or written", &[("origin", origin)], rows);
        metrics().observe_seconds(
            "query_seconds",
            "Time of a statement until its last row",
            &[("origin", origin)],
            elapsed.as_secs_f64(),
        );
        match state {
            State::Failed(Kind::Internal | Kind::DataLoss) => {
                tracing::error!(query_id = %run.id, origin, sql = run.sql, error = run.error(), "statement failed");
            }
            _ => {
                let elapsed_us = elapsed.as_micros();
                tracing::debug!(query_id = %run.id, origin, state = state.as_str(), rows, elapsed_us, "statement ended");
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // After its end a statement's token stays quiet: rows already computed are still being read.
        if !self.ended {
            self.run.cancel.cancel();
            self.end(State::Failed(Kind::Cancelled), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(registry: &Arc<Registry>, sql: &str) -> Watch {
        let session = Session::new("s", "u", Origin::Repl);
        registry.begin(sql, &session, &CancellationToken::new(), (Timestamp(1), None)).unwrap()
    }

    #[test]
    fn a_statement_ends_once_and_is_remembered() {
        let registry = Registry::new(2);
        begin(&registry, "first").succeed();
        begin(&registry, "second").fail(&QueryError::Invalid { message: "no".to_owned() });
        drop(begin(&registry, "third"));
        let running = begin(&registry, "fourth");
        let states: Vec<_> = registry.list().iter().map(|run| (run.sql.clone(), run.state().as_str())).collect();
        let expected = [("fourth", "waiting"), ("third", "cancelled"), ("second", "failed")];
        assert_eq!(states, expected.map(|(sql, state)| (sql.to_owned(), state)));
        running.succeed();
    }

    #[test]
    fn a_caller_has_so_many_running_and_others_are_not_counted() {
        let registry = Registry::new(2);
        let begin = |user: &str, token: &str| {
            let identity = Identity { user: user.to_owned(), token: Some(token.to_owned()), external: None };
            let session = Session::of_caller("s", identity, Origin::Http);
            registry.begin("x", &session, &CancellationToken::new(), (Timestamp(1), Some(2)))
        };
        let (first, _second) = (begin("ann", "1").unwrap(), begin("ann", "2").unwrap());
        let _other = begin("bob", "1").unwrap();
        assert!(matches!(begin("ann", "1"), Err(QueryError::TooMany { most: 2 })), "whatever the token");
        assert_eq!(registry.list().len(), 3, "it is not listed");
        first.succeed();
        assert_eq!(registry.running_of("ann"), 1);
        begin("ann", "1").unwrap().succeed();
    }

    #[test]
    fn cancel_reaches_running_statements_only() {
        let registry = Registry::new(2);
        let watch = begin(&registry, "x");
        let id = watch.run.id.clone();
        assert!(registry.cancel(&id));
        assert!(watch.run.cancel.is_cancelled());
        watch.succeed();
        assert!(!registry.cancel(&id));
    }
}
