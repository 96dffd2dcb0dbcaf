//! JSON values as statement parameters, without losing a digit.
//!
//! Integers become the smallest of BIGINT, BIGINT UNSIGNED or DECIMAL that holds them; `1.10` becomes the decimal 1.10;
//! only a number with an exponent is a DOUBLE. Text stays text: the engine casts it to the type the statement expects,
//! so timestamps and dates are written as strings.

use std::collections::BTreeMap;

use datafusion::common::ScalarValue;
use serde_json::value::RawValue;

use super::problem::Problem;
use crate::query::Params;

/// Digits a DECIMAL can hold.
const DECIMAL_DIGITS_MAX: usize = 38;

/// An array is positional (`$1`, `?`), an object named (`$name`).
pub fn read(raw: &RawValue) -> Result<Params, Problem> {
    match raw.get().as_bytes().first() {
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(not_readable)?;
            let values = values.iter().enumerate().map(|(index, value)| scalar(value, &format!("${}", index + 1)));
            values.collect::<Result<_, _>>().map(Params::Positional)
        }
        Some(b'{') => {
            let values: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).map_err(not_readable)?;
            let values =
                values.into_iter().map(|(name, value)| Ok((name.clone(), scalar(value, &format!("${name}"))?)));
            values.collect::<Result<_, Problem>>().map(Params::Named)
        }
        Some(b'n') => Ok(Params::None),
        _ => Err(Problem::parameter("params", "params is neither an array ($1, $2 …) nor an object ($name)")),
    }
}

fn not_readable(error: serde_json::Error) -> Problem {
    Problem::parameter("params", format!("params cannot be read: {error}"))
}

fn scalar(raw: &RawValue, name: &str) -> Result<ScalarValue, Problem> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map(|text| ScalarValue::Utf8(Some(text))).map_err(not_readable),
        Some(b't') => Ok(ScalarValue::Boolean(Some(true))),
        Some(b'f') => Ok(ScalarValue::Boolean(Some(false))),
        Some(b'n') => Ok(ScalarValue::Null),
        Some(b'-' | b'0'..=b'9') => number(text)
            .ok_or_else(|| Problem::parameter("params", format!("parameter {name}: {text} is too large a number"))),
        _ => Err(Problem::parameter("params", format!("parameter {name} is an array or object; pass one value"))),
    }
}

fn number(text: &str) -> Option<ScalarValue> {
    if text.contains(['e', 'E']) {
        return text
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
            .map(|value| ScalarValue::Float64(Some(value)));
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(ScalarValue::Int64(Some(value)));
    }
    if let Ok(value) = text.parse::<u64>() {
        return Some(ScalarValue::UInt64(Some(value)));
    }
    decimal(text)
}

/// `-12.50` as DECIMAL(4, 2).
fn decimal(text: &str) -> Option<ScalarValue> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.trim_start_matches(['-', '0']).len() + fraction.len();
    if digits > DECIMAL_DIGITS_MAX {
        return None;
    }
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = i8::try_from(fraction.len()).ok()?;
    Some(ScalarValue::Decimal128(Some(value), u8::try_from(digits.max(1)).ok()?, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(json: &str) -> Result<ScalarValue, Problem> {
        let raw: Box<RawValue> = serde_json::from_str(&format!("[{json}]")).unwrap();
        match read(&raw)? {
            Params::Positional(values) => Ok(values[0].clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(one("9223372036854775807").unwrap(), ScalarValue::Int64(Some(i64::MAX)));
        assert_eq!(one("18446744073709551615").unwrap(), ScalarValue::UInt64(Some(u64::MAX)));
        assert_eq!(one("-12.50").unwrap(), ScalarValue::Decimal128(Some(-1250), 4, 2));
        assert_eq!(one("0.1").unwrap(), ScalarValue::Decimal128(Some(1), 1, 1));
        assert_eq!(one("-0.0").unwrap(), ScalarValue::Decimal128(Some(0), 1, 1));
        let long = "12345678901234567890123456789012345678";
        assert_eq!(one(long).unwrap(), ScalarValue::Decimal128(Some(long.parse().unwrap()), 38, 0));
        assert!(one("123456789012345678901234567890123456789").is_err());
        assert_eq!(one("1e3").unwrap(), ScalarValue::Float64(Some(1000.0)));
        assert!(one("1e999").is_err());
    }

    #[test]
    fn the_rest_is_text_truth_or_nothing() {
        assert_eq!(one(r#""a\"b""#).unwrap(), ScalarValue::Utf8(Some("a\"b".into())));
        assert_eq!(one("true").unwrap(), ScalarValue::Boolean(Some(true)));
        assert_eq!(one("null").unwrap(), ScalarValue::Null);
        assert!(one("[1]").unwrap_err().detail().contains("$1"));
    }

    #[test]
    fn an_object_is_named() {
        let raw: Box<RawValue> = serde_json::from_str(r#"{"ad": 7}"#).unwrap();
        let Params::Named(values) = read(&raw).unwrap() else { panic!("not named") };
        assert_eq!(values["ad"], ScalarValue::Int64(Some(7)));
        let text: Box<RawValue> = serde_json::from_str("\"x\"").unwrap();
        assert!(read(&text).is_err());
    }
}
