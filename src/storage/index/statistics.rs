//! Delta's statistics JSON as typed bounds (IDX-2), parsed once per file.
//!
//! What the log may have changed on the way, and what becomes of it here:
//!
//! | type | in the log | here |
//! |---|---|---|
//! | text | cut; the maximum rounded up | inexact |
//! | timestamp | cut to milliseconds, so a maximum can be 999 µs low | widened, inexact; exact when microseconds are written, or no fraction |
//! | decimal | a floating-point number | exact up to 15 digits, else widened and inexact |
//! | float | NaN is left out although it sorts above (or below) everything | no bounds |
//! | bytes, nested | escaped, or per field | no bounds |
//!
//! Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics>

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::layout::Layout;
use crate::storage::Transform;

const DAY_MICROS: i64 = 86_400_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;

/// Largest integer whose decimal digits survive a trip through a double.
const EXACT_IN_DOUBLE: f64 = 1e15;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FileStats {
    num_records: Option<u64>,
    min_values: Map<String, Value>,
    max_values: Map<String, Value>,
    null_count: Map<String, Value>,
    tight_bounds: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Lower,
    Upper,
}

/// Statistics in table order. `partition_values` are those of the plain partition columns; `hidden` the values of hidden
/// ones, in `layout.hidden` order: they bound the column they come from when the file says nothing about it.
pub(super) fn typed(
    layout: &Layout,
    stats: Option<&str>,
    size: u64,
    partition_values: &[ScalarValue],
    hidden: &[Option<String>],
) -> Statistics {
    let stats: FileStats = stats.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let rows = stats.num_records.and_then(|rows| usize::try_from(rows).ok());
    let tight = stats.tight_bounds != Some(false);
    let file_fields = layout.table_schema.file_schema().fields();
    let mut columns: Vec<ColumnStatistics> =
        file_fields.iter().map(|field| column(&stats, field.name(), field.data_type(), tight)).collect();
    for ((part, place), value) in layout.hidden.iter().zip(hidden) {
        if let (Some(column), Some(value)) = (columns.get_mut(*place), value) {
            bound_by_partition(column, part.transform, value, layout.ordered().field(*place).data_type());
        }
    }
    columns.extend(partition_values.iter().map(|value| constant(value, rows)));
    Statistics {
        num_rows: rows.map_or(Precision::Absent, Precision::Exact),
        total_byte_size: Precision::Inexact(usize::try_from(size).unwrap_or(usize::MAX)),
        column_statistics: columns,
    }
}

/// What a file's statistics say of one column, and of its rows.
pub(super) fn of_column(stats: &str, name: &str, data_type: &DataType) -> (ColumnStatistics, Option<usize>) {
    let stats: FileStats = serde_json::from_str(stats).unwrap_or_default();
    let rows = stats.num_records.and_then(|rows| usize::try_from(rows).ok());
    (column(&stats, name, data_type, stats.tight_bounds != Some(false)), rows)
}

fn column(stats: &FileStats, name: &str, data_type: &DataType, tight: bool) -> ColumnStatistics {
    let keep = |bound: Precision<ScalarValue>| if tight { bound } else { bound.to_inexact() };
    let nulls = stats.null_count.get(name).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    let bound_of = |values: &Map<String, Value>, side| {
        values.get(name).map_or(Precision::Absent, |value| keep(bound(value, data_type, side)))
    };
    ColumnStatistics {
        null_count: match nulls {
            Some(count) if tight => Precision::Exact(count),
            Some(count) => Precision::Inexact(count),
            None => Precision::Absent,
        },
        min_value: bound_of(&stats.min_values, Side::Lower),
        max_value: bound_of(&stats.max_values, Side::Upper),
        ..ColumnStatistics::new_unknown()
    }
}

/// A column that has one value in the whole file.
fn constant(value: &ScalarValue, rows: Option<usize>) -> ColumnStatistics {
    if value.is_null() {
        let null_count = rows.map_or(Precision::Absent, Precision::Exact);
        return ColumnStatistics { null_count, ..ColumnStatistics::new_unknown() };
    }
    // Floating-point columns do not partition (`TableSpec::storable`); a foreign table's have no bounds either.
    let bound = if value.data_type().is_floating() { Precision::Absent } else { Precision::Exact(value.clone()) };
    ColumnStatistics {
        null_count: Precision::Exact(0),
        min_value: bound.clone(),
        max_value: bound,
        ..ColumnStatistics::new_unknown()
    }
}

fn bound(value: &Value, data_type: &DataType, side: Side) -> Precision<ScalarValue> {
    let exact = |scalar: Option<ScalarValue>| scalar.map_or(Precision::Absent, Precision::Exact);
    match data_type {
        DataType::Boolean => exact(value.as_bool().map(ScalarValue::from)),
        DataType::Int8 => exact(integer(value).map(|v: i8| ScalarValue::from(v))),
        DataType::Int16 => exact(integer(value).map(|v: i16| ScalarValue::from(v))),
        DataType::Int32 => exact(integer(value).map(|v: i32| ScalarValue::from(v))),
        DataType::Int64 => exact(integer(value).map(|v: i64| ScalarValue::from(v))),
        DataType::Utf8View => value
            .as_str()
            .map_or(Precision::Absent, |text| Precision::Inexact(ScalarValue::Utf8View(Some(text.to_owned())))),
        DataType::Date32 => exact(value.as_str().and_then(day).map(|day| ScalarValue::Date32(Some(day)))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = value.as_str().map_or(Precision::Absent, |text| timestamp(text, side));
            micros.map(|micros| ScalarValue::TimestampMicrosecond(Some(micros), zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let unscaled = decimal(value, *scale, side);
            unscaled.map(|unscaled| ScalarValue::Decimal128(Some(unscaled), *precision, *scale))
        }
        _ => Precision::Absent,
    }
}

fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    value.as_i64().and_then(|number| T::try_from(number).ok())
}

fn day(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Microseconds since 1970 of a time that was written in full.
pub(super) fn exact_timestamp(text: &str) -> Option<i64> {
    timestamp(text, Side::Lower).get_value().copied()
}

/// Microseconds since 1970. `2024-01-31T23:59:59.123Z`, with offset, or `2024-01-31 23:59:59.123` (no zone).
fn timestamp(text: &str, side: Side) -> Precision<i64> {
    let with_zone = DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros());
    let plain = |format| NaiveDateTime::parse_from_str(text, format).ok().map(|time| time.and_utc().timestamp_micros());
    let parsed = with_zone.or_else(|| plain("%Y-%m-%d %H:%M:%S%.f")).or_else(|| plain("%Y-%m-%dT%H:%M:%S%.f"));
    let Some(micros) = parsed else { return Precision::Absent };
    let fraction = text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    match (fraction, side) {
        (0 | 6.., _) => Precision::Exact(micros),
        (_, Side::Lower) => Precision::Inexact(micros),
        (_, Side::Upper) => Precision::Inexact(micros.saturating_add(999)),
    }
}

/// The unscaled integer of a decimal that was written as a JSON number.
fn decimal(value: &Value, scale: i8, side: Side) -> Precision<i128> {
    if let (Some(whole), 0) = (value.as_i64(), scale) {
        return Precision::Exact(i128::from(whole));
    }
    let text = value.as_str().and_then(|text| text.parse::<f64>().ok());
    let Some(number) = value.as_f64().or(text) else { return Precision::Absent };
    let unscaled = number * 10_f64.powi(i32::from(scale));
    if !unscaled.is_finite() || unscaled.abs() >= 1e38 {
        return Precision::Absent;
    }
    let rounded = unscaled.round();
    #[expect(clippy::cast_possible_truncation, reason = "below 1e38, which fits i128")]
    let nearest = rounded as i128;
    if rounded.abs() < EXACT_IN_DOUBLE {
        return Precision::Exact(nearest);
    }
    // A double has 53 bits: the value written is within 2^-51 of the true one, with room for one more rounding.
    let slack = nearest.abs() / (1 << 50) + 1;
    Precision::Inexact(match side {
        Side::Lower => nearest - slack,
        Side::Upper => nearest + slack,
    })
}

/// Bounds of a time column from the value of `day(column)` and the like, where the file has none of its own.
pub(super) fn bound_by_partition(
    column: &mut ColumnStatistics,
    transform: Transform,
    value: &str,
    data_type: &DataType,
) {
    let Some((first, last)) = partition_range(transform, value) else { return };
    let (lower, upper) = match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => (
            ScalarValue::TimestampMicrosecond(Some(first), zone.clone()),
            ScalarValue::TimestampMicrosecond(Some(last), zone.clone()),
        ),
        DataType::Date32 => {
            let day = |micros: i64| i32::try_from(micros.div_euclid(DAY_MICROS)).ok();
            (ScalarValue::Date32(day(first)), ScalarValue::Date32(day(last)))
        }
        _ => return,
    };
    if column.min_value == Precision::Absent {
        column.min_value = Precision::Inexact(lower);
    }
    if column.max_value == Precision::Absent {
        column.max_value = Precision::Inexact(upper);
    }
}

/// First and last microsecond of an hour, day or month.
fn partition_range(transform: Transform, value: &str) -> Option<(i64, i64)> {
    match transform {
        Transform::Identity => None,
        Transform::Hour => {
            let start = exact_timestamp(value)?;
            Some((start, start.checked_add(HOUR_MICROS - 1)?))
        }
        Transform::Day => {
            let start = i64::from(day(value)?).checked_mul(DAY_MICROS)?;
            Some((start, start.checked_add(DAY_MICROS - 1)?))
        }
        Transform::Month => {
            let first = NaiveDate::parse_from_str(value.get(..10)?, "%Y-%m-%d").ok()?;
            let next = first.checked_add_months(chrono::Months::new(1))?;
            let micros = |date: NaiveDate| date.signed_duration_since(NaiveDate::default()).num_microseconds();
            Some((micros(first)?, micros(next)? - 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn both(value: Value, data_type: DataType) -> (Precision<ScalarValue>, Precision<ScalarValue>) {
        (bound(&value, &data_type, Side::Lower), bound(&value, &data_type, Side::Upper))
    }

    fn micros(text: &str) -> (Precision<ScalarValue>, Precision<ScalarValue>) {
        both(json!(text), DataType::Timestamp(TimeUnit::Microsecond, None))
    }

    fn time(micros: i64) -> ScalarValue {
        ScalarValue::TimestampMicrosecond(Some(micros), None)
    }

    #[test]
    fn timestamps_cut_to_milliseconds_are_widened() {
        use Precision::{Exact, Inexact};
        assert_eq!(micros("1970-01-01T00:00:01.234Z"), (Inexact(time(1_234_000)), Inexact(time(1_234_999))));
        assert_eq!(micros("1970-01-01 00:00:01.234"), (Inexact(time(1_234_000)), Inexact(time(1_234_999))));
        assert_eq!(micros("1970-01-01T00:00:01Z"), (Exact(time(1_000_000)), Exact(time(1_000_000))));
        assert_eq!(micros("1970-01-01T09:00:01.000002+09:00"), (Exact(time(1_000_002)), Exact(time(1_000_002))));
        assert_eq!(micros("1969-12-31T23:59:59.999Z"), (Inexact(time(-1_000)), Inexact(time(-1))));
        assert_eq!(micros("yesterday"), (Precision::Absent, Precision::Absent));
    }

    #[test]
    fn decimals_are_exact_only_where_a_double_is() {
        let small = ScalarValue::Decimal128(Some(-1_234), 12, 2);
        assert_eq!(both(json!(-12.34), DataType::Decimal128(12, 2)).1, Precision::Exact(small));
        let true_value = 12_345_678_901_234_567_891_i128;
        let (lower, upper) = both(json!(12_345_678_901_234_567.891), DataType::Decimal128(38, 3));
        let unscaled = |bound: &Precision<ScalarValue>| match bound {
            Precision::Inexact(ScalarValue::Decimal128(Some(value), 38, 3)) => *value,
            other => panic!("{other:?} should be inexact"),
        };
        assert!(unscaled(&lower) <= true_value && true_value <= unscaled(&upper));
    }

    #[test]
    fn values_that_do_not_fit_bound_nothing() {
        assert_eq!(both(json!(300), DataType::Int8).0, Precision::Absent);
        assert_eq!(both(json!(1.5), DataType::Float64).0, Precision::Absent);
        assert_eq!(both(json!("x"), DataType::BinaryView).0, Precision::Absent);
        assert_eq!(both(json!("x"), DataType::Utf8View).0, Precision::Inexact(ScalarValue::Utf8View(Some("x".into()))));
        assert_eq!(both(json!("2024-02-29"), DataType::Date32).0, Precision::Exact(ScalarValue::Date32(Some(19_782))));
    }

    #[test]
    fn partitions_cover_their_whole_range() {
        let day = 86_400_000_000;
        assert_eq!(partition_range(Transform::Day, "1970-01-02"), Some((day, 2 * day - 1)));
        assert_eq!(partition_range(Transform::Month, "1970-02-01"), Some((31 * day, 59 * day - 1)));
        assert_eq!(partition_range(Transform::Month, "1969-12-01"), Some((-31 * day, -1)));
        assert_eq!(
            partition_range(Transform::Hour, "1970-01-01T01:00:00.000000Z"),
            Some((3_600_000_000, 7_199_999_999))
        );
    }
}
