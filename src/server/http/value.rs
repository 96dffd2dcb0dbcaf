//! Text of a path, query or filter value as a typed value; exact, or an answer naming what is accepted.

use arrow::datatypes::{DataType, IntervalMonthDayNanoType, TimeUnit};
use chrono::{DateTime, NaiveDate};
use datafusion::common::ScalarValue;

use crate::base::Span;

/// Reads `text` as `data_type`.
///
/// # Errors
/// What would have been accepted: `a whole number from … to …`.
pub fn parse(text: &str, data_type: &DataType) -> Result<ScalarValue, String> {
    let wrong = || accepted(data_type);
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(ScalarValue::Utf8(Some(text.to_owned()))),
        DataType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(ScalarValue::Boolean(Some(true))),
            "false" => Ok(ScalarValue::Boolean(Some(false))),
            _ => Err(wrong()),
        },
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => integer(text, data_type).ok_or_else(wrong),
        DataType::Float32 | DataType::Float64 => {
            let number: f64 = text.parse().map_err(|_| wrong())?;
            if number.is_finite() { Ok(ScalarValue::Float64(Some(number))) } else { Err(wrong()) }
        }
        DataType::Decimal128(precision, scale) => {
            let value = decimal(text, *precision, *scale).ok_or_else(wrong)?;
            Ok(ScalarValue::Decimal128(Some(value), *precision, *scale))
        }
        DataType::Date32 => {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
            let days = date.signed_duration_since(NaiveDate::default()).num_days();
            i32::try_from(days).map(|days| ScalarValue::Date32(Some(days))).map_err(|_| wrong())
        }
        DataType::Timestamp(unit, zone) => timestamp(text, *unit, zone.clone()).ok_or_else(wrong),
        DataType::Interval(_) => {
            let span: Span = text.parse().map_err(|_| wrong())?;
            let nanos = i64::try_from(span.duration().as_nanos()).map_err(|_| wrong())?;
            Ok(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNanoType::make_value(0, 0, nanos))))
        }
        other => Err(format!("nothing: values of type {other} cannot be written in a URL")),
    }
}

/// What [`parse`] accepts for a type, for people.
pub fn accepted(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "true or false".to_owned(),
        DataType::Int8 => whole(i8::MIN, i8::MAX),
        DataType::Int16 => whole(i16::MIN, i16::MAX),
        DataType::Int32 => whole(i32::MIN, i32::MAX),
        DataType::Int64 => whole(i64::MIN, i64::MAX),
        DataType::UInt8 => whole(u8::MIN, u8::MAX),
        DataType::UInt16 => whole(u16::MIN, u16::MAX),
        DataType::UInt32 => whole(u32::MIN, u32::MAX),
        DataType::UInt64 => whole(u64::MIN, u64::MAX),
        DataType::Float32 | DataType::Float64 => "a number".to_owned(),
        DataType::Decimal128(precision, scale) => {
            format!("a decimal number with at most {precision} digits, {scale} of them after the point")
        }
        DataType::Date32 => "a date such as 2017-11-07".to_owned(),
        DataType::Timestamp(..) => {
            "an RFC 3339 time such as 2017-11-07T09:30:00Z, or milliseconds since 1970-01-01 UTC".to_owned()
        }
        DataType::Interval(_) => "a length of time such as '1 minute', '90s' or '2h'".to_owned(),
        _ => "text".to_owned(),
    }
}

fn whole(low: impl std::fmt::Display, high: impl std::fmt::Display) -> String {
    format!("a whole number from {low} to {high}")
}

fn integer(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Int8 => ScalarValue::Int8(Some(text.parse().ok()?)),
        DataType::Int16 => ScalarValue::Int16(Some(text.parse().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(text.parse().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(text.parse().ok()?)),
        DataType::UInt8 => ScalarValue::UInt8(Some(text.parse().ok()?)),
        DataType::UInt16 => ScalarValue::UInt16(Some(text.parse().ok()?)),
        DataType::UInt32 => ScalarValue::UInt32(Some(text.parse().ok()?)),
        DataType::UInt64 => ScalarValue::UInt64(Some(text.parse().ok()?)),
        _ => return None,
    })
}

/// The unscaled value; `None` when a digit would be lost.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.trim_end_matches('0');
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || fraction.len() > scale {
        return None;
    }
    let value: i128 = format!("0{whole}{fraction:0<scale$}").parse().ok()?;
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (value < limit).then(|| if text.starts_with('-') { -value } else { value })
}

fn timestamp(text: &str, unit: TimeUnit, zone: Option<std::sync::Arc<str>>) -> Option<ScalarValue> {
    let micros = micros(text)?;
    Some(match unit {
        TimeUnit::Second => ScalarValue::TimestampSecond(Some(exact(micros, 1_000_000)?), zone),
        TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(exact(micros, 1_000)?), zone),
        TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(micros), zone),
        TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(micros.checked_mul(1_000)?), zone),
    })
}

fn exact(micros: i64, unit: i64) -> Option<i64> {
    (micros % unit == 0).then_some(micros / unit)
}

/// Microseconds since 1970 of an RFC 3339 time or of epoch milliseconds.
fn micros(text: &str) -> Option<i64> {
    if let Ok(millis) = text.parse::<i64>() {
        return millis.checked_mul(1_000);
    }
    if !text.is_ascii() {
        return None;
    }
    // An unescaped `+09:00` arrives as ` 09:00`; no RFC 3339 time has a space there otherwise.
    let mended;
    let text = match text.len().checked_sub(6).filter(|at| text.as_bytes()[*at] == b' ') {
        Some(at) if text[..at].contains('T') => {
            mended = format!("{}+{}", &text[..at], &text[at + 1..]);
            &mended
        }
        _ => text,
    };
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    // Finer than a microsecond would have to be rounded.
    (time.timestamp_subsec_nanos() % 1_000 == 0).then(|| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC_MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

    fn check(text: &str, data_type: &DataType, expected: &str) {
        let value =
            parse(text, data_type).map_or_else(|accepted| format!("error: {accepted}"), |value| value.to_string());
        assert_eq!(value, expected, "{text} as {data_type}");
    }

    #[test]
    fn times_are_rfc_3339_or_epoch_milliseconds() {
        for same in ["2017-11-07T09:30:00Z", "1510047000000", "2017-11-07T18:30:00+09:00", "2017-11-07T18:30:00 09:00"]
        {
            check(same, &UTC_MICROS, "1510047000000000");
        }
        check("-1", &UTC_MICROS, "-1000");
        for bad in [
            "yesterday",
            "2017-11-07",
            "2017-11-07T09:30:00",
            "2017-13-07T00:00:00Z",
            "",
            "9223372036854775807",
            "é09:30:0",
        ] {
            assert!(parse(bad, &UTC_MICROS).unwrap_err().contains("RFC 3339"), "{bad}");
        }
        assert!(parse("1", &DataType::Timestamp(TimeUnit::Second, None)).is_err());
    }

    #[test]
    fn numbers_are_exact() {
        check("127", &DataType::Int8, "127");
        check("128", &DataType::Int8, "error: a whole number from -128 to 127");
        check("1.0", &DataType::Int64, "error: a whole number from -9223372036854775808 to 9223372036854775807");
        let money = DataType::Decimal128(5, 2);
        check("-12.5", &money, "-12.50");
        check("999.99", &money, "999.99");
        check("1.500", &money, "1.50");
        for bad in ["1000.00", "1.005", "", ".", "1e2", "--1", "1.2.3"] {
            assert!(parse(bad, &money).is_err(), "{bad}");
        }
        assert!(parse("NaN", &DataType::Float64).is_err());
    }

    #[test]
    fn dates_truths_and_lengths() {
        check("1970-01-02", &DataType::Date32, "1970-01-02");
        assert!(parse("02.01.1970", &DataType::Date32).is_err());
        check("TRUE", &DataType::Boolean, "true");
        assert!(parse("1", &DataType::Boolean).is_err());
        let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
        assert!(parse("1 minute", &interval).is_ok());
        assert!(parse("1", &interval).unwrap_err().contains("1 minute"));
    }
}
