//! Values as the log writes them: partition values, and the bounds inside statistics.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Decimal128Type, DecimalType};
use chrono::{DateTime, Datelike, NaiveDateTime};
use datafusion::common::ScalarValue;

use crate::storage::StorageError;

/// The text of one partition value; `None` is null.
/// Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization>
pub(super) fn partition_text(column: &str, values: &ArrayRef, row: usize) -> Result<Option<String>, StorageError> {
    if values.is_null(row) {
        return Ok(None);
    }
    let refuse = |reason: &str| StorageError::Invalid { message: format!("partition column '{column}' {reason}") };
    let value = ScalarValue::try_from_array(values, row)
        .map_err(|error| StorageError::engine(format!("read partition column '{column}'"), error))?;
    let text = match value {
        ScalarValue::Utf8(Some(text)) if text.is_empty() => {
            return Err(refuse("has an empty text, which the log cannot tell from NULL; use NULL or another value"));
        }
        ScalarValue::Utf8(Some(text)) => Some(text),
        ScalarValue::Boolean(Some(yes)) => Some(yes.to_string()),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            calendar(micros).map(|time| time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
        }
        other => number(&other).or_else(|| date(&other)),
    };
    text.ok_or_else(|| refuse("has a value outside the years 1 to 9999")).map(Some)
}

/// A bound as JSON; `None` for types and values that statistics leave out.
pub(super) fn bound_json(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Utf8(Some(text)) => serde_json::to_string(text).ok(),
        ScalarValue::Float32(Some(number)) if number.is_finite() => serde_json::to_string(number).ok(),
        ScalarValue::Float64(Some(number)) if number.is_finite() => serde_json::to_string(number).ok(),
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => {
            let format = if zone.is_some() { "\"%Y-%m-%dT%H:%M:%S%.6fZ\"" } else { "\"%Y-%m-%dT%H:%M:%S%.6f\"" };
            calendar(*micros).map(|time| time.format(format).to_string())
        }
        ScalarValue::Date32(_) => date(value).map(|text| format!("\"{text}\"")),
        other => number(other),
    }
}

/// Types whose bounds go into statistics.
pub(super) fn has_bounds(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(..)
            | DataType::Utf8
            | DataType::Date32
            | DataType::Timestamp(..)
    )
}

fn number(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Int8(Some(number)) => Some(number.to_string()),
        ScalarValue::Int16(Some(number)) => Some(number.to_string()),
        ScalarValue::Int32(Some(number)) => Some(number.to_string()),
        ScalarValue::Int64(Some(number)) => Some(number.to_string()),
        ScalarValue::Decimal128(Some(number), precision, scale) => {
            Some(Decimal128Type::format_decimal(*number, *precision, *scale))
        }
        _ => None,
    }
}

fn date(value: &ScalarValue) -> Option<String> {
    let ScalarValue::Date32(Some(days)) = value else { return None };
    let midnight = calendar(i64::from(*days).checked_mul(86_400_000_000)?)?;
    Some(midnight.format("%Y-%m-%d").to_string())
}

/// Only years that every reader can parse.
fn calendar(micros: i64) -> Option<NaiveDateTime> {
    let time = DateTime::from_timestamp_micros(micros)?.naive_utc();
    (1..=9999).contains(&time.year()).then_some(time)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn bounds_are_exact_text() {
        let utc = Some("UTC".into());
        for (value, json) in [
            (ScalarValue::Int64(Some(i64::MAX)), Some("9223372036854775807")),
            (ScalarValue::Decimal128(Some(-123_456_789_012_345_678_905), 30, 2), Some("-1234567890123456789.05")),
            (ScalarValue::Utf8(Some("a\"b".into())), Some(r#""a\"b""#)),
            (ScalarValue::Date32(Some(-1)), Some("\"1969-12-31\"")),
            (ScalarValue::TimestampMicrosecond(Some(-1), utc), Some("\"1969-12-31T23:59:59.999999Z\"")),
            (ScalarValue::TimestampMicrosecond(Some(0), None), Some("\"1970-01-01T00:00:00.000000\"")),
            (ScalarValue::TimestampMicrosecond(Some(i64::MAX), None), None),
            (ScalarValue::Float64(Some(f64::NAN)), None),
            (ScalarValue::Boolean(Some(true)), None),
        ] {
            assert_eq!(bound_json(&value).as_deref(), json, "{value:?}");
        }
    }

    #[test]
    fn empty_text_is_not_silently_null() {
        let values: ArrayRef = Arc::new(StringArray::from(vec![Some("KR"), None, Some("")]));
        assert_eq!(partition_text("country", &values, 0).unwrap().as_deref(), Some("KR"));
        assert_eq!(partition_text("country", &values, 1).unwrap(), None);
        assert!(partition_text("country", &values, 2).unwrap_err().to_string().contains("NULL"));
    }
}
