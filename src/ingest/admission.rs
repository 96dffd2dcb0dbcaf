//! How much may be under way: bytes of requests that are taken and not answered yet, bounded and shared fairly.
//!
//! A request beyond the limit is refused at once with a time to come back; nothing waits in memory. While several tables
//! or producers have requests under way, each has at most its equal share, and never less than [`SHARE_MIN`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::IngestError;
use crate::base::{ByteSize, Span, Stopwatch};
use crate::telemetry::metrics;

/// Part of the limit nobody is refused, however many share.
const SHARE_MIN: u64 = 16;
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How fast requests are answered is measured over this time.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Bytes under way. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission {
    limit: ByteSize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    used: u64,
    by_table: HashMap<String, u64>,
    by_producer: HashMap<String, u64>,
    /// Bytes answered since, and in the window before.
    answered: u64,
    rate: u64,
    since: Stopwatch,
}

/// A request's bytes; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Admission,
    table: String,
    producer: Option<String>,
    bytes: u64,
}

/// Whether `bytes` more fit: within the limit, and within the share when `sharers` others are under way.
fn fits(limit: u64, used: u64, own: u64, sharers: u64, bytes: u64) -> bool {
    // One request alone may be larger than the limit: its size has its own.
    if used == 0 {
        return true;
    }
    let share = (limit / (sharers + 1)).max(limit / SHARE_MIN);
    used + bytes <= limit && (sharers == 0 || own == 0 || own + bytes <= share)
}

/// When to come back: once what is under way has been answered at the present rate.
fn retry_after(used: u64, rate: u64) -> Duration {
    let millis = used.saturating_mul(1_000) / rate.max(1);
    Duration::from_millis(millis).clamp(RETRY_MIN, RETRY_MAX)
}

impl Admission {
    pub fn new(limit: ByteSize) -> Self {
        let state = State {
            used: 0,
            by_table: HashMap::new(),
            by_producer: HashMap::new(),
            answered: 0,
            rate: 0,
            since: Stopwatch::start(),
        };
        Self { limit, state: Arc::new(Mutex::new(state)) }
    }

    /// # Errors
    /// `Busy` when too much is under way.
    pub fn admit(&self, table: &str, producer: Option<&str>, bytes: u64) -> Result<Permit, IngestError> {
        let mut state = self.state.lock();
        let of = |map: &HashMap<String, u64>, name: &str| {
            let own = map.get(name).copied().unwrap_or(0);
            (own, (map.len() - usize::from(own > 0)) as u64)
        };
        let limit = self.limit.bytes();
        let (own, others) = of(&state.by_table, table);
        let mut admitted = fits(limit, state.used, own, others, bytes);
        if let Some(producer) = producer {
            let (own, others) = of(&state.by_producer, producer);
            admitted &= fits(limit, state.used, own, others, bytes);
        }
        if !admitted {
            let retry_after = Span(retry_after(state.used, state.rate));
            metrics().count("ingest_requests_refused", "Requests refused: too much under way", &[("table", table)], 1);
            let used = ByteSize(state.used);
            let message = format!("{used} of rows are being written already (ingest.queue_size = {})", self.limit);
            return Err(IngestError::Busy { message, retry_after });
        }
        state.used += bytes;
        *state.by_table.entry(table.to_owned()).or_default() += bytes;
        if let Some(producer) = producer {
            *state.by_producer.entry(producer.to_owned()).or_default() += bytes;
        }
        let admission = self.clone();
        Ok(Permit { admission, table: table.to_owned(), producer: producer.map(str::to_owned), bytes })
    }

    /// Bytes under way.
    pub fn used(&self) -> u64 {
        self.state.lock().used
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        state.used -= self.bytes;
        give_back(&mut state.by_table, &self.table, self.bytes);
        if let Some(producer) = &self.producer {
            give_back(&mut state.by_producer, producer, self.bytes);
        }
        state.answered += self.bytes;
        let elapsed = state.since.elapsed();
        if elapsed >= RATE_WINDOW {
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            state.rate = std::mem::take(&mut state.answered).saturating_mul(1_000) / millis.max(1);
            state.since = Stopwatch::start();
        }
    }
}

fn give_back(map: &mut HashMap<String, u64>, name: &str, bytes: u64) {
    if let Some(own) = map.get_mut(name) {
        *own -= bytes;
        if *own == 0 {
            map.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_and_is_given_back() {
        let admission = Admission::new(ByteSize(100));
        let first = admission.admit("a", None, 60).unwrap();
        let refused = admission.admit("a", None, 60).unwrap_err();
        assert!(matches!(refused, IngestError::Busy { .. }), "{refused}");
        assert!(refused.to_string().contains("ingest.queue_size"), "{refused}");
        drop(first);
        assert_eq!(admission.used(), 0);
        assert!(admission.admit("a", None, 1_000).is_ok(), "one request alone has its own limit");
    }

    #[test]
    fn one_table_leaves_room_for_another() {
        let admission = Admission::new(ByteSize(100));
        let _small = admission.admit("b", None, 10).unwrap();
        let _half = admission.admit("a", None, 40).unwrap();
        assert!(admission.admit("a", None, 20).is_err(), "beyond its half");
        assert!(admission.admit("b", None, 30).is_ok());
    }

    #[test]
    fn one_producer_leaves_room_for_another() {
        let admission = Admission::new(ByteSize(100));
        let _loud = admission.admit("a", Some("loud"), 50).unwrap();
        let _quiet = admission.admit("a", Some("quiet"), 10).unwrap();
        assert!(admission.admit("a", Some("loud"), 10).is_err());
        assert!(admission.admit("a", Some("quiet"), 10).is_ok());
    }

    #[test]
    fn the_time_to_come_back_follows_the_rate() {
        assert_eq!(retry_after(0, 0), RETRY_MIN);
        assert_eq!(retry_after(1_000_000, 1_000_000), Duration::from_secs(1));
        assert_eq!(retry_after(u64::MAX, 1), RETRY_MAX);
    }
}
