//! How far a long statement is: counters the work updates from any thread, and their display on standard error.
//!
//! Drawing happens only where the command waits ([`watch`]), so the work never waits for a terminal.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use crate::base::Stopwatch;
use crate::ingest::LoadProgress;
use crate::query::Progress;

use super::out;

/// Nothing is drawn for work shorter than this.
const QUIET: Duration = Duration::from_millis(400);
/// Time between draws on a terminal.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Time between lines when standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Counters of one piece of work.
pub struct Meter {
    total_bytes: AtomicU64,
    bytes: AtomicU64,
    rows: AtomicU64,
    phase: Mutex<String>,
    started: Stopwatch,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub total_bytes: u64,
    pub bytes: u64,
    pub rows: u64,
    pub phase: String,
    pub elapsed: Duration,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            total_bytes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            phase: Mutex::new(String::new()),
            started: Stopwatch::start(),
        }
    }
}

impl Meter {
    pub fn read(&self) -> Reading {
        Reading {
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            phase: self.phase.lock().clone(),
            elapsed: self.started.elapsed(),
        }
    }

    pub fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Progress for Meter {
    fn total_bytes(&self, bytes: u64) {
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64, rows: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.add_rows(rows);
    }

    fn phase(&self, name: &str) {
        name.clone_into(&mut self.phase.lock());
    }
}

impl LoadProgress for Meter {
    fn total_bytes(&self, bytes: u64) {
        Progress::total_bytes(self, bytes);
    }

    fn advance(&self, bytes: u64, rows: u64) {
        Progress::advance(self, bytes, rows);
    }

    fn phase(&self, name: &str) {
        Progress::phase(self, name);
    }
}

/// `sorting · 45 % of 1.20 GiB · 12,000,000 rows · 800,000 rows/s · 15.0 s`
fn describe(reading: &Reading) -> String {
    let seconds = reading.elapsed.as_secs_f64();
    let mut parts = Vec::new();
    if !reading.phase.is_empty() {
        parts.push(reading.phase.clone());
    }
    if reading.total_bytes > 0 {
        let done = reading.bytes.min(reading.total_bytes);
        let percent = u128::from(done) * 100 / u128::from(reading.total_bytes);
        parts.push(format!("{percent} % of {}", HumanBytes(reading.total_bytes)));
    }
    if reading.rows > 0 {
        parts.push(format!("{} rows", HumanCount(reading.rows)));
        let micros = reading.elapsed.as_micros();
        if micros >= QUIET.as_micros() {
            let rate = u128::from(reading.rows) * 1_000_000 / micros;
            parts.push(format!("{} rows/s", HumanCount(u64::try_from(rate).unwrap_or(u64::MAX))));
        }
    }
    parts.push(format!("{seconds:.1} s"));
    parts.join(" · ")
}

/// Where progress is shown.
pub enum Display {
    /// A bar or spinner, redrawn in place and removed at the end.
    Bar(ProgressBar),
    /// A line now and then, for logs.
    Lines {
        what: String,
        next: Duration,
    },
    Nothing,
}

impl Display {
    /// For a person a bar, for a log file lines.
    pub fn of_load(what: &str) -> Self {
        if out::stderr_is_terminal() {
            Self::bar(what, "{prefix} [{bar:30}] {msg}")
        } else {
            Self::Lines { what: what.to_owned(), next: LINE_EVERY }
        }
    }

    /// For a person a spinner, otherwise nothing.
    pub fn of_statement() -> Self {
        if out::stderr_is_terminal() { Self::bar("", "{spinner} {msg}") } else { Self::Nothing }
    }

    fn bar(what: &str, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::hidden()).with_prefix(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self::Bar(bar)
    }

    fn show(&mut self, reading: &Reading) {
        match self {
            Self::Nothing => {}
            Self::Bar(bar) => {
                if reading.elapsed < QUIET {
                    return;
                }
                if bar.is_hidden() {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.set_length(reading.total_bytes.max(1));
                bar.set_position(reading.bytes.min(reading.total_bytes));
                bar.set_message(describe(reading));
                bar.tick();
            }
            Self::Lines { what, next } => {
                if reading.elapsed >= *next {
                    *next = reading.elapsed + LINE_EVERY;
                    out::note(&format!("{what}: {}", describe(reading)));
                }
            }
        }
    }

    /// Removes what is drawn.
    pub fn clear(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Waits for `work`, showing how far it is; what was drawn is gone when this returns.
pub async fn watch<T>(work: impl Future<Output = T>, meter: &Meter, display: &mut Display) -> T {
    let mut work = Box::pin(work);
    let mut ticks = tokio::time::interval(DRAW_EVERY);
    loop {
        tokio::select! {
            result = &mut work => {
                display.clear();
                return result;
            }
            _ = ticks.tick() => display.show(&meter.read()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_known() {
        let reading = Reading {
            total_bytes: 2 << 30,
            bytes: 1 << 30,
            rows: 12_000_000,
            phase: "sorting".to_owned(),
            elapsed: Duration::from_secs(15),
        };
        assert_eq!(describe(&reading), "sorting · 50 % of 2.00 GiB · 12,000,000 rows · 800,000 rows/s · 15.0 s");
        let only_time = Reading { elapsed: Duration::from_millis(300), ..Reading::default() };
        assert_eq!(describe(&only_time), "0.3 s");
    }

    #[test]
    fn counters_add_up() {
        let meter = Meter::default();
        Progress::total_bytes(&meter, 10);
        Progress::advance(&meter, 4, 1);
        LoadProgress::advance(&meter, 20, 2);
        let reading = meter.read();
        assert_eq!((reading.total_bytes, reading.bytes, reading.rows), (10, 24, 3));
    }
}
