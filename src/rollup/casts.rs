//! Casts that every value survives, whatever it is: of columns of rows that nobody has looked at.
//!
//! One table for all who ask: what is worked out before a join drops rows ([`total`](super::total)), and what may be tried on rows
//! that a policy hides (`query::leak`).
//!
//! Taken for such although it is not: a day or a time that no calendar reaches, a quarter of a million years from now.

use arrow::datatypes::DataType;

/// Whether a cast gives a value for every value of type `from`. What is not known does not.
pub fn never_fails(from: &DataType, to: &DataType) -> bool {
    use DataType::{Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Timestamp};
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if is_text(from) && is_text(to) => true,
        (Boolean | Int8 | Int16 | Int32 | Int64 | Date32, to) if is_text(to) => true,
        (Boolean, Int8 | Int16 | Int32 | Int64) => true,
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) => true,
        (Int8 | Int16 | Int32 | Int64 | Float32 | Decimal128(..), Float64) => true,
        (Int8 | Int16 | Int32 | Int64, Decimal128(digits, scale)) => i16::from(*digits) - i16::from(*scale) >= 19,
        // A time without a zone may be one that there is not in a zone with summer time.
        (Timestamp(unit, from), Timestamp(to_unit, to)) if unit == to_unit => {
            from.is_some() || to.as_deref().is_none_or(is_utc)
        }
        _ => false,
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "+00:00")
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    };
    use arrow::compute::{CastOptions, cast, cast_with_options};
    use arrow::datatypes::TimeUnit;

    use super::*;

    const EXTREMES: [i64; 8] = [i64::MIN, i64::MIN + 1, -1, 0, 1, 1_510_056_000_000_000, i64::MAX - 1, i64::MAX];

    fn types() -> Vec<DataType> {
        let mut types = vec![
            DataType::Boolean,
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::Float64,
            DataType::Date32,
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Utf8View,
        ];
        types.extend(
            [(38, 0), (38, 19), (38, 20), (19, 0), (18, 0)].map(|(digits, scale)| DataType::Decimal128(digits, scale)),
        );
        for unit in [TimeUnit::Microsecond, TimeUnit::Nanosecond] {
            for zone in [None, Some("UTC"), Some("+00:00"), Some("America/New_York")] {
                types.push(DataType::Timestamp(unit, zone.map(Arc::from)));
            }
        }
        types
    }

    /// The extremes of a type, and a value in between.
    fn values(data_type: &DataType) -> ArrayRef {
        let within = |range: std::ops::RangeInclusive<i64>| -> Vec<i64> {
            let inner = EXTREMES.into_iter().filter(|value| range.contains(value));
            inner.chain([*range.start(), *range.end()]).collect()
        };
        let numbers = |values: Vec<i64>| cast(&Int64Array::from(values), data_type).unwrap();
        match data_type {
            DataType::Boolean => Arc::new(BooleanArray::from(vec![true, false])),
            DataType::Int8 => numbers(within(i64::from(i8::MIN)..=i64::from(i8::MAX))),
            DataType::Int16 => numbers(within(i64::from(i16::MIN)..=i64::from(i16::MAX))),
            DataType::Int32 => numbers(within(i64::from(i32::MIN)..=i64::from(i32::MAX))),
            DataType::Float64 => Arc::new(Float64Array::from(vec![f64::MIN, f64::NAN, 0.5, f64::INFINITY])),
            DataType::Date32 => Arc::new(Date32Array::from(vec![-95_000_000, -1, 0, 17_000, 95_000_000])),
            DataType::Decimal128(digits, scale) => {
                let most = 10_i128.pow(u32::from(*digits)) - 1;
                let all = Decimal128Array::from(vec![-most, 0, most]);
                Arc::new(all.with_precision_and_scale(*digits, *scale).unwrap())
            }
            text if is_text(text) => cast(&StringArray::from(vec!["", "x", "7", "2017-11-07"]), text).unwrap(),
            DataType::Timestamp(..) => numbers(within(-8_000_000_000_000_000_000..=8_000_000_000_000_000_000)),
            _ => numbers(EXTREMES.to_vec()),
        }
    }

    #[test]
    fn what_never_fails_does_not_fail_at_the_extremes() {
        let mut known = 0;
        for from in types() {
            let values = values(&from);
            for to in types().into_iter().filter(|to| never_fails(&from, to)) {
                let failing = CastOptions { safe: false, ..CastOptions::default() };
                let cast = cast_with_options(&values, &to, &failing);
                let cast = cast.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
                assert_eq!(cast.null_count(), 0, "{from} to {to}");
                known += 1;
            }
        }
        assert!(known > types().len(), "more than a type to itself");
        assert!(!never_fails(&DataType::Int64, &DataType::Int32) && !never_fails(&DataType::Utf8, &DataType::Int64));
        assert!(!never_fails(&DataType::Int64, &DataType::Decimal128(38, 20)));
    }
}
