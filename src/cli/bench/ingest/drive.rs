//! Keeps one connection busy: sends when it is time and there is room, takes answers as they come.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::base::Stopwatch;

/// What the server says of a batch.
pub struct Answer {
    /// Of the request.
    pub number: u64,
    pub outcome: Result<Counts, Refusal>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
}

pub struct Refusal {
    /// A word, such as `resource_exhausted`.
    pub kind: String,
    pub message: String,
    pub retry_after: Option<Duration>,
}

/// One connection of a protocol.
pub trait Wire {
    /// Sends the next batch; returns its number.
    fn send(&mut self) -> impl Future<Output = Result<u64>> + Send;

    /// The next answer, in any order. Dropping the future loses nothing.
    fn receive(&mut self) -> impl Future<Output = Result<Answer>> + Send;

    /// Whether requests are numbered by a producer: then a refused one would make all after it wrong.
    fn numbers(&self) -> bool;
}

/// When batches are sent; shared by all connections.
pub struct Pace {
    watch: Stopwatch,
    sending: Duration,
    batches_max: u64,
    /// Between two batches; `None` = as fast as answers come.
    interval: Option<f64>,
    next: AtomicU64,
}

impl Pace {
    /// `rate` in batches per second.
    pub fn start(sending: Duration, batches: Option<u64>, rate: Option<f64>) -> Self {
        Self {
            watch: Stopwatch::start(),
            sending,
            batches_max: batches.unwrap_or(u64::MAX),
            interval: rate.map(|rate| 1.0 / rate),
            next: AtomicU64::new(0),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.watch.elapsed()
    }

    /// When the next batch is to be sent, since the start; `None` when there is none.
    fn reserve(&self) -> Option<Duration> {
        let batch = self.next.fetch_add(1, Ordering::Relaxed);
        let due =
            self.interval.map_or_else(|| self.elapsed(), |interval| Duration::from_secs_f64(batch as f64 * interval));
        (batch < self.batches_max && due < self.sending).then_some(due)
    }

    async fn until(&self, due: Duration) {
        if let Some(wait) = due.checked_sub(self.elapsed()) {
            tokio::time::sleep(wait).await;
        }
    }
}

/// What was answered.
#[derive(Default)]
pub struct Tally {
    pub counts: Counts,
    /// When each answer came (microseconds since the start), and how long it took.
    pub answers: Vec<(u64, u64)>,
    /// Batches refused, by kind, with the first message.
    pub errors: BTreeMap<String, (u64, String)>,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.counts.accepted += other.counts.accepted;
        self.counts.duplicates += other.counts.duplicates;
        self.counts.rejected += other.counts.rejected;
        self.answers.extend(other.answers);
        for (kind, (count, message)) in other.errors {
            self.errors.entry(kind).or_insert((0, message)).0 += count;
        }
    }

    pub fn answered(&self) -> usize {
        self.answers.len()
    }

    pub fn first_error(&self) -> Option<&str> {
        self.errors.values().next().map(|(_, message)| message.as_str())
    }

    fn count(&mut self, counts: Counts, now: u64, latency: u64) {
        self.counts.accepted += counts.accepted;
        self.counts.duplicates += counts.duplicates;
        self.counts.rejected += counts.rejected;
        self.answers.push((now, latency));
    }
}

/// Sends and receives until the pace ends and everything is answered. At most `window` batches wait for answers.
///
/// # Errors
/// A connection that breaks; with numbered requests, any refusal.
pub async fn drive(mut wire: impl Wire, pace: &Pace, window: usize) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut waiting: HashMap<u64, Duration> = HashMap::new();
    let mut slot = None;
    let mut pause_until = Duration::ZERO;
    let mut ended = false;
    loop {
        if slot.is_none() && !ended && waiting.len() < window {
            slot = pace.reserve();
            ended = slot.is_none();
        }
        if slot.is_none() && waiting.is_empty() {
            return Ok(tally);
        }
        tokio::select! {
            answer = wire.receive(), if !waiting.is_empty() => {
                let Answer { number, outcome } = answer?;
                let Some(due) = waiting.remove(&number) else { bail!("the server answered request {number} twice or unasked") };
                let now = pace.elapsed();
                match outcome {
                    Ok(counts) => tally.count(counts, micros(now), micros(now.saturating_sub(due))),
                    Err(refusal) if wire.numbers() => bail!("a numbered request was refused: {}", refusal.message),
                    Err(Refusal { kind, message, retry_after }) => {
                        tally.errors.entry(kind).or_insert((0, message)).0 += 1;
                        pause_until = now + retry_after.unwrap_or_default();
                    }
                }
            }
            () = pace.until(slot.unwrap_or_default().max(pause_until)), if slot.is_some() => {
                let number = wire.send().await?;
                // As fast as answers come: latency counts from here, not from when there was room.
                let due = if pace.interval.is_some() { slot.take() } else { slot.take().map(|_| pace.elapsed()) };
                waiting.insert(number, due.unwrap_or_default());
            }
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers in the opposite order of every three sent.
    struct Backwards {
        sent: u64,
        waiting: Vec<u64>,
        refuse: Option<u64>,
        numbers: bool,
    }

    impl Wire for Backwards {
        async fn send(&mut self) -> Result<u64> {
            self.waiting.push(self.sent);
            self.sent += 1;
            Ok(self.sent - 1)
        }

        async fn receive(&mut self) -> Result<Answer> {
            tokio::task::yield_now().await;
            let Some(number) = self.waiting.pop() else { return std::future::pending().await };
            let refusal = || Refusal { kind: "busy".into(), message: "full".into(), retry_after: None };
            let counts = Counts { accepted: 10, ..Counts::default() };
            Ok(Answer { number, outcome: if self.refuse == Some(number) { Err(refusal()) } else { Ok(counts) } })
        }

        fn numbers(&self) -> bool {
            self.numbers
        }
    }

    fn wire(refuse: Option<u64>, numbers: bool) -> Backwards {
        Backwards { sent: 0, waiting: Vec::new(), refuse, numbers }
    }

    #[tokio::test]
    async fn every_batch_is_sent_once_and_counted() {
        let pace = Pace::start(Duration::from_secs(60), Some(20), None);
        let tally = drive(wire(Some(4), false), &pace, 3).await.unwrap();
        assert_eq!((tally.counts.accepted, tally.answered(), tally.errors["busy"].0), (190, 19, 1));
        let pace = Pace::start(Duration::from_secs(60), Some(20), None);
        let failed = drive(wire(Some(4), true), &pace, 3).await.err().unwrap();
        assert!(failed.to_string().contains("numbered request was refused: full"), "{failed}");
    }

    #[test]
    fn a_rate_is_kept_by_due_times() {
        let pace = Pace::start(Duration::from_millis(100), None, Some(50.0));
        let due: Vec<_> = std::iter::from_fn(|| pace.reserve()).map(|due| due.as_millis()).collect();
        assert_eq!(due, [0, 20, 40, 60, 80]);
    }
}
