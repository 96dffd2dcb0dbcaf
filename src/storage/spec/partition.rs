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
