//! Statements running now and finished lately: what `system.queries` shows and `KILL QUERY` finds.
//!
//! A [`Run`] is shared by whoever works on the statement; its [`Watch`] ends it exactly once, on the last drop at the latest.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use datafusion::common::TableReference;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::audit::{self, About};
use super::{Origin, QueryError, QueryId, Session};
use crate::auth::{Authenticator, Identity};
use crate::base::{Classify, Kind, Span, Stopwatch, Timestamp};
use crate::catalog::{CatalogSnapshot, Statement, redacted};
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
            Origin::Pgwire => "pgwire",
            Origin::Endpoint => "endpoint",
            Origin::Repl => "repl",
            Origin::Internal => "internal",
        }
    }
}

/// A caller, by whatever token: a user of ours, or one of the identity provider's of that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Principal {
    pub(super) user: String,
    pub(super) is_external: bool,
}

impl Principal {
    pub(super) fn of(identity: &Identity) -> Self {
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
    /// The same with the token, when the audit is told of the statement.
    pub(super) audited: Option<Identity>,
    /// Where from.
    pub(super) address: Option<IpAddr>,
    pub(super) origin: Origin,
    pub(super) about: Mutex<About>,
    /// The first [`SQL_KEPT`] characters.
    pub(super) sql: String,
    pub(super) is_cut: bool,
    pub(super) started_at: Timestamp,
    pub(super) cancel: CancellationToken,
    killed: AtomicBool,
    /// See [`plan_digest`](super::digest::plan_digest).
    pub(super) plan: OnceLock<String>,
    stopwatch: Stopwatch,
    rows: AtomicU64,
    progress: Mutex<(State, Option<String>)>,
    elapsed: Mutex<Option<Duration>>,
}

impl Run {
    fn new(sql: &str, session: &Session, cancel: CancellationToken, begun: (Timestamp, Stopwatch)) -> Self {
        // A character has four bytes at most.
        let beginning = sql.get(..sql.floor_char_boundary(SQL_KEPT * 4)).unwrap_or_default();
        let text = redacted(beginning);
        let (started_at, stopwatch) = begun;
        Self {
            id: QueryId(uuid::Uuid::now_v7().simple().to_string()),
            session_id: session.id.clone(),
            user: session.user.clone(),
            caller: session.caller.as_ref().map(Principal::of),
            audited: None,
            address: session.address,
            origin: session.origin,
            about: Mutex::default(),
            sql: text.chars().take(SQL_KEPT).collect(),
            is_cut: beginning.len() < sql.len() || text.chars().nth(SQL_KEPT).is_some(),
            started_at,
            cancel,
            killed: AtomicBool::new(false),
            plan: OnceLock::new(),
            stopwatch,
            rows: AtomicU64::new(0),
            progress: Mutex::new((State::Waiting, None)),
            elapsed: Mutex::new(None),
        }
    }

    pub(super) fn state(&self) -> State {
        self.progress.lock().0
    }

    /// Tells it to end because of KILL QUERY.
    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.cancel.cancel();
    }

    /// What its client is told when its token says that it is to end.
    pub(super) fn why_cancelled(&self) -> QueryError {
        match self.killed.load(Ordering::Acquire) {
            true => QueryError::Killed,
            false => QueryError::Cancelled,
        }
    }

    /// What the statement is, and what it names. Of an endpoint's query it is known before.
    pub(super) fn note(&self, statement: &Statement) {
        let mut about = self.about.lock();
        if self.audited.is_some() && *about == About::default() {
            *about = About::of(statement);
        }
    }

    /// What its query names.
    pub(super) fn note_names(&self, names: &[TableReference]) {
        let mut about = self.about.lock();
        if self.audited.is_some() && about.objects.is_empty() {
            about.objects = names.iter().map(audit::name_of).collect();
        }
    }

    /// Something was not found: whether that is because the caller may not know of it.
    pub(super) fn note_hidden(&self, catalog: &CatalogSnapshot) {
        let mut about = self.about.lock();
        about.hidden = about.names_any_of(catalog);
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

/// What [`Registry::find`] finds.
pub(super) struct Found {
    pub(super) run: Arc<Run>,
    pub(super) is_running: bool,
}

/// All statements of an engine.
pub(super) struct Registry {
    running: Mutex<HashMap<QueryId, Arc<Run>>>,
    finished: Mutex<VecDeque<Arc<Run>>>,
    kept: usize,
    slow_after: Span,
    guard: Guardian,
}

/// Who knows users and roles, from when it is plugged in.
pub(super) type Guardian = Arc<OnceLock<Arc<Authenticator>>>;

impl Registry {
    /// Statements that end are told to the audit of `guard`.
    pub(super) fn new(kept: usize, slow_after: Span, guard: Guardian) -> Arc<Self> {
        Arc::new(Self { running: Mutex::default(), finished: Mutex::default(), kept, slow_after, guard })
    }

    fn is_audited(&self) -> bool {
        self.guard.get().is_some_and(|authenticator| authenticator.audit().is_some())
    }

    /// Whether that is long for a statement.
    pub(super) fn is_slow(&self, elapsed: Duration) -> bool {
        !self.slow_after.duration().is_zero() && elapsed >= self.slow_after.duration()
    }

    /// Lists a new statement; it is listed as running until its [`Watch`] ends.
    ///
    /// # Errors
    /// `TooMany` when the session's caller has `most` running already.
    pub(super) fn begin(
        self: &Arc<Self>,
        (sql, endpoint): (&str, Option<&str>),
        session: &Session,
        cancel: &CancellationToken,
        (now, most): (Timestamp, Option<u64>),
    ) -> Result<Watch, QueryError> {
        let about = endpoint.map(About::call).unwrap_or_default();
        let run = Arc::new(Run {
            audited: session.caller.clone().filter(|_| self.is_audited()),
            about: Mutex::new(about),
            ..Run::new(sql, session, cancel.child_token(), (now, Stopwatch::start()))
        });
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

    /// Lists a statement that ended before it could begin: it cannot be planned. Its caller's audit is not told here.
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

    /// A statement that runs, or one that ended lately.
    pub(super) fn find(&self, id: &QueryId) -> Option<Found> {
        let running = self.running.lock().get(id).cloned().map(|run| Found { run, is_running: true });
        running.or_else(|| {
            let finished = self.finished.lock();
            let run = finished.iter().find(|run| run.id == *id)?;
            Some(Found { run: run.clone(), is_running: false })
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
        // Whoever finds it in neither waits here.
        let mut finished = self.finished.lock();
        self.running.lock().remove(&run.id);
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
        if let Some(authenticator) = self.registry.guard.get() {
            audit::ended(authenticator, run, state);
        }
        if self.registry.is_slow(elapsed) {
            note_slow(run, state, elapsed);
        }
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

/// Without its text, which may hold anybody's values.
fn note_slow(run: &Run, state: State, elapsed: Duration) {
    let (origin, rows, elapsed_ms) = (run.origin.as_str(), run.rows(), elapsed.as_millis());
    metrics().count("queries_slow", "Statements that took query.slow_after or longer", &[("origin", origin)], 1);
    let plan = run.plan.get().map(String::as_str);
    tracing::warn!(query_id = %run.id, user = run.user, origin, state = state.as_str(), elapsed_ms, rows, plan, "slow statement");
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
        registry.begin((sql, None), &session, &CancellationToken::new(), (Timestamp(1), None)).unwrap()
    }

    #[test]
    fn a_statement_ends_once_and_is_remembered() {
        let registry = Registry::new(2, Span::from_secs(0), Guardian::default());
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
        let registry = Registry::new(2, Span::from_secs(0), Guardian::default());
        let begin = |user: &str, token: &str| {
            let identity = Identity { token: Some(token.to_owned()), ..Identity::of_user(user) };
            let session = Session::of_caller("s", identity, Origin::Http);
            registry.begin(("x", None), &session, &CancellationToken::new(), (Timestamp(1), Some(2)))
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
    fn what_is_slow_is_set_and_zero_is_nothing() {
        let never = Registry::new(2, Span::from_secs(0), Guardian::default());
        assert!(!never.is_slow(Duration::from_secs(1_000_000)));
        let registry = Registry::new(2, Span::from_secs(1), Guardian::default());
        assert!(!registry.is_slow(Duration::from_millis(999)) && registry.is_slow(Duration::from_secs(1)));
    }
}
