//! What maintenance was and is doing, per table and kind of work: the content of `system.maintenance` and the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::base::{Stopwatch, Timestamp};
use crate::storage::table::{RewriteReport, VacuumReport};
use crate::telemetry::metrics;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    Checkpoint,
    Compact,
    LogCleanup,
    Retention,
    Vacuum,
}

impl Work {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Compact => "compact",
            Self::LogCleanup => "log_cleanup",
            Self::Retention => "retention",
            Self::Vacuum => "vacuum",
        }
    }
}

/// What one run cost and brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub files_in: u64,
    pub files_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub rows: u64,
}

/// One table and kind of work; numbers are sums since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub is_running: bool,
    pub started_at: Option<Timestamp>,
    /// Of the last run that ended.
    pub duration: Duration,
    /// Of the present run, or the last.
    pub bytes_done: u64,
    pub bytes_total: u64,
    pub runs: u64,
    pub errors: u64,
    pub cost: Cost,
    pub last_error: Option<String>,
    pub next_due: Option<Timestamp>,
}

/// The state of all tables. Shared by everything that works on the lake in this process.
#[derive(Debug, Default)]
pub struct Board {
    reports: Mutex<BTreeMap<(Arc<str>, Work), Report>>,
}

impl Board {
    /// All reports, by table folder and kind of work.
    pub fn all(&self) -> Vec<(Arc<str>, Work, Report)> {
        let reports = self.reports.lock();
        reports.iter().map(|((table, work), report)| (table.clone(), *work, report.clone())).collect()
    }

    /// Of one table and kind of work.
    pub fn of(&self, table: &str, work: Work) -> Report {
        self.reports.lock().get(&(table.into(), work)).cloned().unwrap_or_default()
    }

    /// Forgets tables `is_kept` does not know any more.
    pub(crate) fn retain(&self, is_kept: impl Fn(&str) -> bool) {
        self.reports.lock().retain(|(table, _), report| report.is_running || is_kept(table));
    }

    pub(crate) fn set_due(&self, table: &str, work: Work, at: Timestamp) {
        self.change(&(table.into(), work), |report| report.next_due = Some(at));
    }

    /// Begins a run; it ends with [`Run::end`], or as stopped when that never comes.
    pub(crate) fn begin(self: &Arc<Self>, table: &str, work: Work, now: Timestamp, bytes_total: u64) -> Run {
        let key = (Arc::from(table), work);
        self.change(&key, |report| {
            report.is_running = true;
            report.started_at = Some(now);
            (report.bytes_done, report.bytes_total) = (0, bytes_total);
        });
        Run { board: self.clone(), key, stopwatch: Stopwatch::start(), ended: false }
    }

    fn change(&self, key: &(Arc<str>, Work), change: impl FnOnce(&mut Report)) {
        change(self.reports.lock().entry(key.clone()).or_default());
    }
}

/// A run in progress.
pub(crate) struct Run {
    board: Arc<Board>,
    key: (Arc<str>, Work),
    stopwatch: Stopwatch,
    ended: bool,
}

impl Run {
    /// Something to tell about progress.
    pub fn progress(&self) -> Arc<dyn Fn(u64) + Send + Sync> {
        let (board, key) = (self.board.clone(), self.key.clone());
        Arc::new(move |bytes| board.change(&key, |report| report.bytes_done = report.bytes_done.saturating_add(bytes)))
    }

    /// Ends the run, writes down and counts what came of it.
    pub fn end<E: std::error::Error + 'static>(mut self, outcome: Result<Cost, &E>) {
        self.ended = true;
        let duration = self.stopwatch.elapsed();
        let error = outcome.as_ref().err().map(|error| crate::base::chain(*error));
        let cost = outcome.unwrap_or_default();
        self.board.change(&self.key, |report| {
            report.is_running = false;
            report.duration = duration;
            report.runs += 1;
            report.errors += u64::from(error.is_some());
            if error.is_none() {
                report.bytes_done = report.bytes_total;
            }
            report.last_error.clone_from(&error);
            report.cost = report.cost.plus(cost);
        });
        let labels = [("table", self.key.0.as_ref()), ("work", self.key.1.as_str())];
        let count = |name, help, by| metrics().count(name, help, &labels, by);
        count("maintenance_runs", "Runs of maintenance work", 1);
        count("maintenance_errors", "Runs that failed", u64::from(error.is_some()));
        count("maintenance_files_in", "Files rewritten, expired or deleted", cost.files_in);
        count("maintenance_files_out", "Files written", cost.files_out);
        count("maintenance_bytes_in", "Bytes rewritten, expired or deleted", cost.bytes_in);
        count("maintenance_bytes_out", "Bytes written", cost.bytes_out);
        let seconds = duration.as_secs_f64();
        metrics().observe_seconds("maintenance_seconds", "Time of one run", &labels, seconds);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            self.board.change(&self.key, |report| {
                report.is_running = false;
                report.last_error = Some("stopped before its end".to_owned());
            });
        }
    }
}

impl Cost {
    fn plus(self, other: Cost) -> Cost {
        Cost {
            files_in: self.files_in + other.files_in,
            files_out: self.files_out + other.files_out,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
            rows: self.rows + other.rows,
        }
    }
}

impl From<&RewriteReport> for Cost {
    fn from(report: &RewriteReport) -> Self {
        let RewriteReport { files_in, files_out, bytes_in, bytes_out, rows, committed } = *report;
        if committed { Cost { files_in, files_out, bytes_in, bytes_out, rows } } else { Cost::default() }
    }
}

impl From<&VacuumReport> for Cost {
    fn from(report: &VacuumReport) -> Self {
        Cost { files_in: report.files_deleted, bytes_in: report.bytes_deleted, ..Cost::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::StorageError;

    #[test]
    fn a_run_is_seen_from_its_beginning_to_its_end() {
        let board = Arc::new(Board::default());
        let run = board.begin("t", Work::Compact, Timestamp(7), 100);
        run.progress()(40);
        let report = board.of("t", Work::Compact);
        assert_eq!((report.is_running, report.bytes_done, report.bytes_total), (true, 40, 100));
        run.end::<StorageError>(Ok(Cost { files_in: 3, ..Cost::default() }));
        let report = board.of("t", Work::Compact);
        assert_eq!((report.is_running, report.bytes_done, report.runs, report.cost.files_in), (false, 100, 1, 3));

        let run = board.begin("t", Work::Compact, Timestamp(8), 10);
        run.end(Err(&StorageError::Damaged { message: "x".to_owned() }));
        let report = board.of("t", Work::Compact);
        assert_eq!((report.runs, report.errors, report.cost.files_in), (2, 1, 3));
        assert_eq!(report.last_error.as_deref(), Some("stored data is damaged: x"));

        drop(board.begin("t", Work::Compact, Timestamp(9), 10));
        let report = board.of("t", Work::Compact);
        assert_eq!((report.is_running, report.last_error.as_deref()), (false, Some("stopped before its end")));
        board.retain(|table| table != "t");
        assert!(board.all().is_empty());
    }
}
