//! How far event time has come in one table, and which accepted events came late.
//!
//! The watermark is the median of the producers' latest event times, weighted by how many events each sent in the last
//! minutes, never ahead of the server's clock and never going back. So one producer whose clock is wrong neither holds it
//! nor pushes it. Nothing is dropped by it: how old an event may be is the table's `lateness`, by the server's clock.
//! Source: Akidau et al., "The Dataflow Model" (VLDB 2015), for the words; the median is ours.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, Buckets};
use crate::base::Timestamp;

/// A producer's weight halves after this long.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// Producers remembered.
const SOURCES_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub struct Watermark {
    sources: HashMap<String, Source>,
    at: Option<Timestamp>,
}

#[derive(Debug)]
struct Source {
    latest: Timestamp,
    /// Events, halved as time passes.
    weight: f64,
    seen: Timestamp,
}

/// Late events of one commit in one bucket, as the commit's info keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateEvents {
    /// Start of the event-time partition, microseconds since 1970.
    pub partition_start: i64,
    pub events: u64,
    /// Event time of the oldest, microseconds since 1970.
    pub oldest: i64,
    /// How far behind the watermark the oldest was.
    pub lateness_ms_max: u64,
}

impl Watermark {
    pub fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// Begins where a process before this one had come to.
    pub fn resume(&mut self, at: Timestamp) {
        self.at = self.at.max(Some(at));
    }

    /// Takes note of a producer's events.
    pub fn observe(&mut self, source: &str, latest: Timestamp, events: u64, now: Timestamp) {
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(source) {
            self.sources.retain(|_, source| now.since(source.seen) < HALF_LIFE);
        }
        if self.sources.len() < SOURCES_MAX || self.sources.contains_key(source) {
            let entry = self.sources.entry(source.to_owned()).or_insert(Source { latest, weight: 0.0, seen: now });
            #[expect(clippy::cast_precision_loss, reason = "a weight")]
            let events = events as f64;
            entry.weight = entry.weight * decay(now.since(entry.seen)) + events;
            entry.latest = entry.latest.max(latest);
            entry.seen = now;
        }
        let median = self.median(now);
        self.at = self.at.max(median.map(|time| time.min(now)));
    }

    fn median(&self, now: Timestamp) -> Option<Timestamp> {
        let weighted = |source: &Source| (source.latest, source.weight * decay(now.since(source.seen)));
        let mut weights: Vec<(Timestamp, f64)> = self.sources.values().map(weighted).collect();
        weights.sort_unstable_by_key(|(latest, _)| *latest);
        let half = weights.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        weights.iter().find_map(|(latest, weight)| {
            sum += weight;
            (sum >= half).then_some(*latest)
        })
    }

    /// Accepted events further behind the watermark than `tolerated`, by bucket.
    pub fn late(&self, rows: &RecordBatch, buckets: &Buckets, tolerated: Duration) -> Vec<LateEvents> {
        let Some(at) = self.at else { return Vec::new() };
        let limit = at.minus(tolerated).micros();
        let column = rows.column_by_name(&buckets.column);
        let Some(times) = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()) else {
            return Vec::new();
        };
        let mut found: BTreeMap<Bucket, LateEvents> = BTreeMap::new();
        for time in times.values().iter().copied().filter(|time| *time < limit) {
            let bucket = buckets.bucket(Timestamp(time));
            let partition_start = buckets.times(bucket).start.micros();
            let none = LateEvents { partition_start, events: 0, oldest: time, lateness_ms_max: 0 };
            let late = found.entry(bucket).or_insert(none);
            late.events += 1;
            late.oldest = late.oldest.min(time);
        }
        for late in found.values_mut() {
            let behind = at.since(Timestamp(late.oldest));
            late.lateness_ms_max = u64::try_from(behind.as_millis()).unwrap_or(u64::MAX);
        }
        found.into_values().collect()
    }
}

fn decay(age: Duration) -> f64 {
    (-age.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::TimestampMicrosecondArray;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * SECOND)
    }

    #[test]
    fn a_broken_clock_neither_holds_nor_pushes() {
        let mut watermark = Watermark::default();
        for second in 1_000..1_100 {
            watermark.observe("good", at(second - 1), 100, at(second));
            watermark.observe("stuck", at(5), 90, at(second));
            watermark.observe("ahead", at(second + 3_600), 5, at(second));
            assert_eq!(watermark.at(), Some(at(second - 1)), "{second}");
        }
    }

    #[test]
    fn alone_and_ahead_it_stops_at_the_clock() {
        let mut watermark = Watermark::default();
        watermark.observe("ahead", at(9_000), 1, at(100));
        assert_eq!(watermark.at(), Some(at(100)));
        watermark.observe("ahead", at(50), 1, at(99));
        assert_eq!(watermark.at(), Some(at(100)), "it never goes back");
    }

    #[test]
    fn late_events_are_counted_by_bucket() {
        let mut watermark = Watermark::default();
        watermark.resume(at(200_000));
        let times: TimestampMicrosecondArray =
            [199_990, 199_000, 100_000, 100_001].map(|s| Some(s * SECOND)).into_iter().collect();
        let rows = RecordBatch::try_from_iter([("at", Arc::new(times) as _)]).unwrap();
        let late = watermark.late(&rows, &Buckets::daily("at"), Duration::from_secs(60));
        let told: Vec<_> =
            late.iter().map(|late| (late.partition_start / SECOND, late.events, late.lateness_ms_max)).collect();
        assert_eq!(told, [(86_400, 2, 100_000_000), (172_800, 1, 1_000_000)]);
    }
}
