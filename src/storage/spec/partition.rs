//! Partition values of rows: one array per partition column, in `partition_by` order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Datelike, NaiveDate};

use super::super::StorageError;
use super::{TableSpec, Transform, invalid};

const DAY_MICROS: i64 = 86_400_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;

/// The partition values of each row of `batch`, which is in `spec.columns` order.
pub(crate) fn partition_arrays(spec: &TableSpec, batch: &RecordBatch) -> Result<Vec<ArrayRef>, StorageError> {
    let mut arrays = Vec::with_capacity(spec.partition_by.len());
    for part in &spec.partition_by {
        let column = batch
            .column_by_name(&part.column)
            .ok_or_else(|| invalid(format!("rows lack partition column '{}'", part.column)))?;
        arrays.push(transform(column, part.transform));
    }
    Ok(arrays)
}

fn transform(column: &ArrayRef, transform: Transform) -> ArrayRef {
    match (transform, column.data_type()) {
        (Transform::Hour, DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            let hours: TimestampMicrosecondArray = times.unary(|time| time.div_euclid(HOUR_MICROS) * HOUR_MICROS);
            Arc::new(hours.with_timezone_opt(zone.clone()))
        }
        (Transform::Day, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            Arc::new(times.unary::<_, Date32Type>(day_of))
        }
        (Transform::Month, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            Arc::new(times.unary::<_, Date32Type>(|time| month_start(day_of(time))))
        }
        (Transform::Month, DataType::Date32) => {
            let days = column.as_primitive::<Date32Type>();
            let months: Date32Array = days.unary(month_start);
            Arc::new(months)
        }
        // Identity; day of a date; other pairs are refused by `TableSpec::storable`.
        _ => column.clone(),
    }
}

/// Days since 1970-01-01 of a time in microseconds. Saturates far outside the calendar.
fn day_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(DAY_MICROS)).unwrap_or(i32::MAX)
}

fn month_start(day: i32) -> i32 {
    let first = DateTime::from_timestamp(i64::from(day) * 86_400, 0)
        .map(|time| time.date_naive())
        .and_then(|date| NaiveDate::from_ymd_opt(date.year(), date.month(), 1));
    let since_epoch = first.map(|date| date.signed_duration_since(NaiveDate::default()).num_days());
    since_epoch.and_then(|days| i32::try_from(days).ok()).unwrap_or(day)
}

/// The first moment after everything that shares a partition with a row of time `micros`; without a transform, just after it.
pub(crate) fn partition_end(transform: Transform, micros: i64) -> i64 {
    let after_day = |day: i32| i64::from(day).saturating_add(1).saturating_mul(DAY_MICROS);
    match transform {
        Transform::Identity => micros.saturating_add(1),
        Transform::Hour => micros.div_euclid(HOUR_MICROS).saturating_add(1).saturating_mul(HOUR_MICROS),
        Transform::Day => after_day(day_of(micros)),
        // The 31 days after a month's first reach into the next one, whose first is the end.
        Transform::Month => {
            let next = month_start(month_start(day_of(micros)).saturating_add(31));
            i64::from(next).saturating_mul(DAY_MICROS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_end_where_the_next_begins() {
        let micros = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
        let check = |transform, time, end| assert_eq!(partition_end(transform, micros(time)), micros(end), "{time}");
        check(Transform::Hour, "2024-02-28T23:59:59.999999Z", "2024-02-29T00:00:00Z");
        check(Transform::Hour, "2024-02-28T23:00:00Z", "2024-02-29T00:00:00Z");
        check(Transform::Day, "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z");
        check(Transform::Day, "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z");
        check(Transform::Month, "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z");
        check(Transform::Month, "2023-02-28T10:00:00Z", "2023-03-01T00:00:00Z");
        check(Transform::Month, "2023-12-31T10:00:00Z", "2024-01-01T00:00:00Z");
        check(Transform::Identity, "2024-02-28T23:59:59Z", "2024-02-28T23:59:59.000001Z");
    }
}
