//! Values that clients bind, in text or binary form, as values for the engine.
//!
//! A type the client names is kept: `int8` is a BIGINT. Text without a type goes to the engine as text, which brings it to the
//! type its place asks for, or refuses it. NUMERIC keeps every digit.

use arrow::datatypes::{DataType, IntervalMonthDayNanoType};
use bytes::{Buf, Bytes};
use datafusion::common::ScalarValue;

use super::complaint::Complaint;
use super::numeric;
use super::settings::truth;
use super::shape::{JSONB, Scalar, Shape, UUID};
use super::values::Format;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const DAYS_TO_2000: i32 = 10_957;
const MICROS_TO_2000: i64 = 946_684_800_000_000;
/// Digits a DECIMAL of ours can have here.
const DIGITS_MAX: usize = 38;
/// Places that an exponent may move the point by.
const PLACES_MAX: i32 = 1_000;

/// The value of parameter `number` (from 1), of the type that the client calls `oid`.
///
/// # Errors
/// Bytes that are no value of the type (22P03 or 22P02), types we cannot read in binary form.
pub(super) fn value(
    number: usize,
    (oid, format): (u32, Format),
    bytes: Option<&Bytes>,
) -> Result<ScalarValue, Complaint> {
    let Some(bytes) = bytes else {
        let typed = Shape::parameter(oid).and_then(|data_type| ScalarValue::try_from(&data_type).ok());
        return Ok(typed.unwrap_or(ScalarValue::Null));
    };
    match format {
        Format::Text => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Complaint::new("22021", format!("parameter ${number} is not UTF-8")))?;
            let shape = Shape::called(oid).unwrap_or(Shape::One(Scalar::Text));
            let wrong = || Complaint::new("22P02", format!("parameter ${number}: '{text}' is not a value of its type"));
            of_text(text, shape).ok_or_else(wrong)
        }
        Format::Binary => {
            let unknown = || {
                let message = format!("parameter ${number}: values of type {oid} are taken as text only");
                Complaint::unsupported(message)
            };
            let shape = Shape::called(oid).ok_or_else(unknown)?;
            let wrong = || Complaint::new("22P03", format!("parameter ${number} is not a value of its type"));
            of_binary(bytes, shape, oid).ok_or_else(wrong)
        }
    }
}

fn of_text(text: &str, shape: Shape) -> Option<ScalarValue> {
    let scalar = match shape {
        Shape::One(scalar) => scalar,
        Shape::Array(item) => {
            let items = items(text)?.into_iter().map(|entry| match entry {
                Some(entry) => scalar_of_text(&entry, item),
                None => ScalarValue::try_from(&layout(item)?).ok(),
            });
            return list(items.collect::<Option<_>>()?, item);
        }
    };
    scalar_of_text(text, scalar)
}

fn scalar_of_text(text: &str, scalar: Scalar) -> Option<ScalarValue> {
    let trimmed = text.trim();
    Some(match scalar {
        Scalar::Bool => ScalarValue::Boolean(Some(truth(trimmed)?)),
        Scalar::Int2 => ScalarValue::Int16(Some(trimmed.parse().ok()?)),
        Scalar::Int4 => ScalarValue::Int32(Some(trimmed.parse().ok()?)),
        Scalar::Int8 => ScalarValue::Int64(Some(trimmed.parse().ok()?)),
        Scalar::Float4 => ScalarValue::Float32(Some(trimmed.parse().ok()?)),
        Scalar::Float8 => ScalarValue::Float64(Some(trimmed.parse().ok()?)),
        Scalar::Numeric(_) => decimal(trimmed)?,
        Scalar::Bytea => ScalarValue::Binary(Some(bytea(text)?)),
        Scalar::Text | Scalar::Json => ScalarValue::Utf8(Some(text.to_owned())),
        Scalar::Date | Scalar::Time | Scalar::Timestamp => read(without_zone(trimmed), scalar)?,
        Scalar::TimestampTz | Scalar::Interval => read(trimmed, scalar)?,
    })
}

/// As a cast reads it.
fn read(text: &str, scalar: Scalar) -> Option<ScalarValue> {
    let value = ScalarValue::Utf8(Some(text.to_owned())).cast_to(&layout(scalar)?).ok()?;
    (!value.is_null()).then_some(value)
}

/// Without the zone behind it: types that have none pass it over, as in PostgreSQL. JDBC's driver writes one always.
fn without_zone(text: &str) -> &str {
    let Some(date_end) = text.find([':', ' ', 'T']) else { return text };
    let Some(zone_at) = text[date_end..].find(['Z', 'z', '+', '-']).map(|at| date_end + at) else { return text };
    let (moment, zone) = text.split_at(zone_at);
    let is_zone = match zone.strip_prefix(['+', '-']) {
        Some(hours) => {
            (1..=8).contains(&hours.len()) && hours.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
        }
        None => zone.len() == 1,
    };
    if is_zone { moment.trim_end() } else { text }
}

fn layout(scalar: Scalar) -> Option<DataType> {
    match scalar {
        Scalar::Json => Some(DataType::Utf8),
        scalar => Shape::One(scalar).layout(),
    }
}

/// `-12.50` as DECIMAL(4, 2), `1.5e3` as DECIMAL(4, 0).
fn decimal(text: &str) -> Option<ScalarValue> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (number, places) = match unsigned.split_once(['e', 'E']) {
        Some((number, places)) => (number, places.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = number.bytes().any(|byte| byte.is_ascii_digit())
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !is_number || !(-PLACES_MAX..=PLACES_MAX).contains(&places) {
        return None;
    }
    let (whole, fraction) = moved(whole, fraction, places);
    let digits = whole.trim_start_matches('0').len() + fraction.len();
    if digits > DIGITS_MAX {
        return None;
    }
    let size: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let value = if text.starts_with('-') { -size } else { size };
    let precision = u8::try_from(digits.max(1)).ok()?;
    Some(ScalarValue::Decimal128(Some(value), precision, i8::try_from(fraction.len()).ok()?))
}

/// The digits before and behind the point when it is moved to the right; to the left by places below zero.
fn moved(whole: &str, fraction: &str, places: i32) -> (String, String) {
    let count = usize::try_from(places.unsigned_abs()).unwrap_or(usize::MAX);
    if places >= 0 {
        let (before, behind) = fraction.split_at(count.min(fraction.len()));
        return (format!("{whole}{before}{}", "0".repeat(count - before.len())), behind.to_owned());
    }
    let (before, behind) = whole.split_at(whole.len().saturating_sub(count));
    (before.to_owned(), format!("{}{behind}{fraction}", "0".repeat(count - behind.len())))
}

/// `\x00ff`, or the older form with octal escapes.
fn bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
            return None;
        }
        return (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect();
    }
    let (bytes, mut at, mut out) = (text.as_bytes(), 0, Vec::new());
    while let Some(byte) = bytes.get(at) {
        let (value, length) = match (byte, bytes.get(at + 1)) {
            (b'\\', Some(b'\\')) => (b'\\', 2),
            (b'\\', _) => {
                let octal = std::str::from_utf8(bytes.get(at + 1..at + 4)?).ok()?;
                (u8::from_str_radix(octal, 8).ok()?, 4)
            }
            (byte, _) => (*byte, 1),
        };
        out.push(value);
        at += length;
    }
    Some(out)
}

/// The items of `{1,NULL,"a b"}`; one dimension.
fn items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if inner.trim().is_empty() {
        return Some(Vec::new());
    }
    let mut found = Vec::new();
    let mut characters = inner.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        let (mut item, mut quoted) = (String::new(), false);
        if characters.next_if_eq(&'"').is_some() {
            quoted = true;
            loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => item.push(characters.next()?),
                    other => item.push(other),
                }
            }
            while characters.next_if(|c| c.is_whitespace()).is_some() {}
        } else {
            while let Some(character) = characters.next_if(|c| *c != ',') {
                match character {
                    '{' | '}' | '"' => return None,
                    '\\' => item.push(characters.next()?),
                    other => item.push(other),
                }
            }
        }
        let is_null = !quoted && item.trim().eq_ignore_ascii_case("null");
        found.push((!is_null).then(|| if quoted { item } else { item.trim().to_owned() }));
        match characters.next() {
            None => return Some(found),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

fn list(items: Vec<ScalarValue>, item: Scalar) -> Option<ScalarValue> {
    let data_type = match item {
        Scalar::Numeric(_) => common_decimal(&items)?,
        item => layout(item)?,
    };
    let items = items.into_iter().map(|value| value.cast_to(&data_type).ok()).collect::<Option<Vec<_>>>()?;
    Some(ScalarValue::List(ScalarValue::new_list_nullable(&items, &data_type)))
}

/// The DECIMAL that has all digits of every item; `None`: there is none that long.
fn common_decimal(items: &[ScalarValue]) -> Option<DataType> {
    let sizes = items.iter().filter_map(|item| match item {
        ScalarValue::Decimal128(Some(_), precision, scale) => Some((i16::from(*precision), i16::from(*scale))),
        _ => None,
    });
    let sizes: Vec<(i16, i16)> = sizes.collect();
    let Some(scale) = sizes.iter().map(|(_, scale)| *scale).max() else { return layout(Scalar::Numeric(None)) };
    let whole = sizes.iter().map(|(precision, scale)| precision - scale).max()?;
    let precision = u8::try_from(whole + scale).ok().filter(|digits| usize::from(*digits) <= DIGITS_MAX)?;
    Some(DataType::Decimal128(precision, i8::try_from(scale).ok()?))
}

fn of_binary(bytes: &[u8], shape: Shape, oid: u32) -> Option<ScalarValue> {
    match shape {
        Shape::One(scalar) => scalar_of_binary(bytes, scalar, oid),
        Shape::Array(item) => array_of_binary(bytes, item),
    }
}

fn scalar_of_binary(bytes: &[u8], scalar: Scalar, oid: u32) -> Option<ScalarValue> {
    let utc = || Some("UTC".into());
    Some(match scalar {
        Scalar::Bool => ScalarValue::Boolean(Some(u8::from_be_bytes(bytes.try_into().ok()?) != 0)),
        Scalar::Int2 => ScalarValue::Int16(Some(i16::from_be_bytes(bytes.try_into().ok()?))),
        Scalar::Int4 => ScalarValue::Int32(Some(i32::from_be_bytes(bytes.try_into().ok()?))),
        // `oid` has four bytes.
        Scalar::Int8 if bytes.len() == 4 => {
            ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(bytes.try_into().ok()?))))
        }
        Scalar::Int8 => ScalarValue::Int64(Some(i64::from_be_bytes(bytes.try_into().ok()?))),
        Scalar::Float4 => ScalarValue::Float32(Some(f32::from_be_bytes(bytes.try_into().ok()?))),
        Scalar::Float8 => ScalarValue::Float64(Some(f64::from_be_bytes(bytes.try_into().ok()?))),
        Scalar::Numeric(_) => decimal(&numeric::text(bytes)?)?,
        Scalar::Text if oid == UUID => {
            ScalarValue::Utf8(Some(uuid::Uuid::from_bytes(bytes.try_into().ok()?).to_string()))
        }
        Scalar::Text | Scalar::Json => {
            let text = if oid == JSONB { bytes.strip_prefix(&[1])? } else { bytes };
            ScalarValue::Utf8(Some(std::str::from_utf8(text).ok()?.to_owned()))
        }
        Scalar::Bytea => ScalarValue::Binary(Some(bytes.to_vec())),
        Scalar::Date => {
            ScalarValue::Date32(Some(i32::from_be_bytes(bytes.try_into().ok()?).checked_add(DAYS_TO_2000)?))
        }
        Scalar::Time => ScalarValue::Time64Microsecond(Some(i64::from_be_bytes(bytes.try_into().ok()?))),
        Scalar::Timestamp => ScalarValue::TimestampMicrosecond(Some(moment(bytes)?), None),
        Scalar::TimestampTz => ScalarValue::TimestampMicrosecond(Some(moment(bytes)?), utc()),
        Scalar::Interval => interval(bytes)?,
    })
}

fn moment(bytes: &[u8]) -> Option<i64> {
    i64::from_be_bytes(bytes.try_into().ok()?).checked_add(MICROS_TO_2000)
}

fn interval(mut bytes: &[u8]) -> Option<ScalarValue> {
    if bytes.len() != 16 {
        return None;
    }
    let (micros, days, months) = (bytes.get_i64(), bytes.get_i32(), bytes.get_i32());
    let value = IntervalMonthDayNanoType::make_value(months, days, micros.checked_mul(1_000)?);
    Some(ScalarValue::IntervalMonthDayNano(Some(value)))
}

/// As `put_array` of `values` writes it.
fn array_of_binary(mut bytes: &[u8], item: Scalar) -> Option<ScalarValue> {
    if bytes.len() < 12 {
        return None;
    }
    let (dimensions, _has_nulls, oid) = (bytes.get_i32(), bytes.get_i32(), bytes.get_u32());
    if dimensions == 0 {
        return list(Vec::new(), item);
    }
    if dimensions != 1 || bytes.len() < 8 {
        return None;
    }
    let (count, _lower_bound) = (usize::try_from(bytes.get_i32()).ok()?, bytes.get_i32());
    let mut items = Vec::new();
    for _ in 0..count {
        if bytes.len() < 4 {
            return None;
        }
        items.push(match usize::try_from(bytes.get_i32()) {
            Err(_) => ScalarValue::try_from(&layout(item)?).ok()?,
            Ok(length) => {
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                scalar_of_binary(value, item, oid)?
            }
        });
    }
    list(items, item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(oid: u32, text: &str) -> Result<ScalarValue, &'static str> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        value(1, (oid, Format::Text), Some(&bytes)).map_err(|complaint| complaint.sqlstate)
    }

    fn binary(oid: u32, bytes: &[u8]) -> Result<ScalarValue, &'static str> {
        value(1, (oid, Format::Binary), Some(&Bytes::copy_from_slice(bytes))).map_err(|complaint| complaint.sqlstate)
    }

    #[test]
    fn texts_are_values_of_the_type_named() {
        assert_eq!(text(0, "7"), Ok(ScalarValue::from("7")));
        assert_eq!(text(20, "7"), Ok(ScalarValue::Int64(Some(7))));
        assert_eq!(text(16, "t"), Ok(ScalarValue::Boolean(Some(true))));
        assert_eq!(text(1700, "-12.50"), Ok(ScalarValue::Decimal128(Some(-1250), 4, 2)));
        assert_eq!(text(17, "\\x00ff"), Ok(ScalarValue::Binary(Some(vec![0, 255]))));
        assert_eq!(text(17, "a\\\\\\001"), Ok(ScalarValue::Binary(Some(vec![b'a', b'\\', 1]))));
        assert_eq!(text(1082, "1970-01-02"), Ok(ScalarValue::Date32(Some(1))));
        assert_eq!(text(1114, "1970-01-01 00:00:01").map(|v| v.data_type()), Ok(Shape::parameter(1114).unwrap()));
        assert_eq!(text(20, "x"), Err("22P02"));
        assert_eq!(text(1700, "NaN"), Err("22P02"));
        assert_eq!(text(17, "\\x0"), Err("22P02"));
        let list = ScalarValue::new_list_nullable(
            &[ScalarValue::from("a b"), ScalarValue::Utf8(None), ScalarValue::from("null")],
            &DataType::Utf8,
        );
        assert_eq!(text(1009, r#"{"a b",NULL,"null"}"#), Ok(ScalarValue::List(list)));
        assert_eq!(text(1007, "{1,{2}}"), Err("22P02"));
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (written, value, precision, scale) in [
            ("1.5e3", 1500, 4, 0),
            ("12E-3", 12, 3, 3),
            ("-1e+2", -100, 3, 0),
            ("0.0012e2", 12, 2, 2),
            ("0e0", 0, 1, 0),
        ] {
            assert_eq!(text(1700, written), Ok(ScalarValue::Decimal128(Some(value), precision, scale)), "{written}");
        }
        for wrong in ["1e", "e5", "1e39", "1e-39", "1e99999", "1e5.5", "."] {
            assert_eq!(text(1700, wrong), Err("22P02"), "{wrong}");
        }
        let list = |items: &[Option<i128>], precision: u8, scale: i8| -> Result<ScalarValue, &'static str> {
            let items: Vec<_> = items.iter().map(|item| ScalarValue::Decimal128(*item, precision, scale)).collect();
            Ok(ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Decimal128(precision, scale))))
        };
        assert_eq!(text(1231, "{1,2.345,NULL,10.5}"), list(&[Some(1000), Some(2345), None, Some(10_500)], 5, 3));
        assert_eq!(text(1231, "{NULL}"), list(&[None], 38, 0));
        assert_eq!(text(1231, "{}"), list(&[], 38, 0));
        assert_eq!(text(1231, &format!("{{{},0.1}}", "9".repeat(38))), Err("22P02"));
    }

    #[test]
    fn a_zone_is_passed_over_by_types_without_one() {
        let plain = text(1114, "2026-01-01 10:00:00.5").unwrap();
        for zone in ["+01", "-05:30", "Z", "z", " +01:00:00", "+0130"] {
            assert_eq!(text(1114, &format!("2026-01-01 10:00:00.5{zone}")).as_ref(), Ok(&plain), "{zone}");
            assert_eq!(text(1114, &format!("2026-01-01T10:00:00.5{zone}")).as_ref(), Ok(&plain), "{zone}");
        }
        assert_eq!(text(1083, "10:00:00-08"), text(1083, "10:00:00"));
        for day in ["2026-01-01 +01", "2026-01-01 00:30:00+01"] {
            assert_eq!(text(1082, day), text(1082, "2026-01-01"), "{day}");
        }
        assert_ne!(text(1184, "2026-01-01 10:00:00+01"), text(1184, "2026-01-01 10:00:00+00"));
        assert_eq!(text(1114, "2026-01-01 10:00:00+nowhere"), Err("22P02"));
    }

    #[test]
    fn binary_values_are_exact_or_refused() {
        assert_eq!(binary(20, &7_i64.to_be_bytes()), Ok(ScalarValue::Int64(Some(7))));
        assert_eq!(binary(1082, &0_i32.to_be_bytes()), Ok(ScalarValue::Date32(Some(10_957))));
        assert_eq!(binary(1184, &0_i64.to_be_bytes()).map(|v| v.to_string()), Ok("946684800000000".to_owned()));
        assert_eq!(binary(1700, &[0, 1, 0, 0, 0, 0, 0, 1, 0, 12]), Ok(ScalarValue::Decimal128(Some(120), 3, 1)));
        assert_eq!(binary(20, &[1, 2]), Err("22P03"));
        assert_eq!(binary(99_999, &[1]), Err("0A000"));
        let array = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9];
        let nine = ScalarValue::new_list_nullable(&[ScalarValue::Int32(Some(9))], &DataType::Int32);
        assert_eq!(binary(1007, &array), Ok(ScalarValue::List(nine)));
        assert_eq!(binary(1007, &array[..24]), Err("22P03"));
        let many = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0x7f, 255, 255, 255, 0, 0, 0, 1];
        assert_eq!(binary(1007, &many), Err("22P03"));
    }
}
