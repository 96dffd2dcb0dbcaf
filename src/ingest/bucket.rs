//! Event-time buckets: the UTC hours or days a table's event keys are kept by.
//!
//! A bucket is as fine as the table's partitions (hours for `hour(event_time)`, days else), so that looking for a key in
//! an old bucket reads the files of that partition only.

use std::ops::Range;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;

use crate::base::Timestamp;
use crate::catalog::{TableDefinition, TableKind};
use crate::storage::Transform;

const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// Number of a bucket since 1970; later times have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(pub i64);

impl Bucket {
    /// Before every bucket of an event.
    pub const MIN: Bucket = Bucket(i64::MIN);
    /// After every bucket of an event.
    pub const MAX: Bucket = Bucket(i64::MAX);

    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// How a table's rows fall into buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// The event-time column.
    pub column: String,
    micros: i64,
}

impl Buckets {
    /// `None` for tables without event time.
    pub fn of(definition: &TableDefinition) -> Option<Self> {
        let TableKind::Event { event_time, .. } = &definition.kind else { return None };
        let hourly =
            definition.partition_by.iter().any(|part| part.column == *event_time && part.transform == Transform::Hour);
        Some(Self { column: event_time.clone(), micros: if hourly { HOUR_MICROS } else { DAY_MICROS } })
    }

    #[cfg(test)]
    pub fn daily(column: &str) -> Self {
        Self { column: column.to_owned(), micros: DAY_MICROS }
    }

    pub fn bucket(&self, time: Timestamp) -> Bucket {
        Bucket(time.micros().div_euclid(self.micros))
    }

    /// Times of a bucket: from, until before.
    pub fn times(&self, bucket: Bucket) -> Range<Timestamp> {
        let from = bucket.0.saturating_mul(self.micros);
        Timestamp(from)..Timestamp(from.saturating_add(self.micros))
    }

    /// The latest event time of the rows.
    pub fn latest(&self, rows: &RecordBatch) -> Option<Timestamp> {
        let times = rows.column_by_name(&self.column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        arrow::compute::max(times).map(Timestamp)
    }

    /// The bucket of each row; a row without time (the column is NOT NULL) is in the first.
    pub fn of_rows(&self, rows: &RecordBatch) -> Vec<Bucket> {
        let times = rows.column_by_name(&self.column).and_then(|column| {
            column.as_primitive_opt::<TimestampMicrosecondType>().filter(|times| times.null_count() == 0)
        });
        match times {
            Some(times) => times.values().iter().map(|micros| Bucket(micros.div_euclid(self.micros))).collect(),
            None => vec![Bucket::MIN; rows.num_rows()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_times() {
        let days = Buckets::daily("at");
        for micros in [0, 1, -1, DAY_MICROS - 1, DAY_MICROS, -DAY_MICROS, 1_700_000_000_123_456] {
            let time = Timestamp(micros);
            assert!(days.times(days.bucket(time)).contains(&time), "{micros}");
        }
        assert_eq!(days.bucket(Timestamp(-1)), Bucket(-1));
    }
}
