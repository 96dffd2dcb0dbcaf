//! The values of a column, in PostgreSQL's text and binary forms.

use std::cell::RefCell;
use std::fmt::Write;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use arrow::json::writer::NullableEncoder;
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Datelike, NaiveDate, Timelike};

use super::interval::{self, push_fraction};
use super::numeric;
use super::shape::{Scalar, Shape};

/// Days from 1970-01-01, where ours are counted from, to 2000-01-01, where PostgreSQL's are.
const DAYS_TO_2000: i32 = 10_957;
const MICROS_TO_2000: i64 = 946_684_800_000_000;

/// How a column goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

/// A column that is being written.
pub(super) enum Values<'a> {
    Bool(&'a BooleanArray),
    Int2(&'a Int16Array),
    Int4(&'a Int32Array),
    Int8(&'a Int64Array),
    Float4(&'a Float32Array),
    Float8(&'a Float64Array),
    Numeric(&'a Decimal128Array),
    LongNumeric(&'a Decimal256Array),
    Text(&'a StringArray),
    Bytea(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time64MicrosecondArray),
    Timestamp(&'a TimestampMicrosecondArray, &'static str),
    Interval(&'a IntervalMonthDayNanoArray),
    List { lists: &'a ListArray, items: Box<Values<'a>>, item: Scalar },
    Json(&'a dyn Array, RefCell<NullableEncoder<'a>>),
}

impl<'a> Values<'a> {
    /// Of a column in the layout of `shape`.
    ///
    /// # Errors
    /// A column in another layout: a bug.
    pub fn new(column: &'a ArrayRef, shape: Shape) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::CastError(format!("a column of type {} is not {shape:?}", column.data_type()));
        match shape {
            Shape::One(scalar) => Self::scalar(column, scalar).ok_or_else(wrong),
            Shape::Array(item) => {
                let lists: &ListArray = column.as_list_opt().ok_or_else(wrong)?;
                let items = Self::scalar(lists.values(), item).ok_or_else(wrong)?;
                Ok(Self::List { lists, items: Box::new(items), item })
            }
        }
    }

    /// Of a column that goes as JSON.
    pub fn json(column: &'a ArrayRef, encoder: NullableEncoder<'a>) -> Self {
        Self::Json(column, RefCell::new(encoder))
    }

    fn scalar(column: &'a ArrayRef, scalar: Scalar) -> Option<Self> {
        Some(match scalar {
            Scalar::Bool => Self::Bool(column.as_boolean_opt()?),
            Scalar::Int2 => Self::Int2(column.as_primitive_opt()?),
            Scalar::Int4 => Self::Int4(column.as_primitive_opt()?),
            Scalar::Int8 => Self::Int8(column.as_primitive_opt()?),
            Scalar::Float4 => Self::Float4(column.as_primitive_opt()?),
            Scalar::Float8 => Self::Float8(column.as_primitive_opt()?),
            Scalar::Numeric(_) => match column.as_primitive_opt() {
                Some(values) => Self::Numeric(values),
                None => Self::LongNumeric(column.as_primitive_opt()?),
            },
            Scalar::Text => Self::Text(column.as_string_opt()?),
            Scalar::Bytea => Self::Bytea(column.as_binary_opt()?),
            Scalar::Date => Self::Date(column.as_primitive_opt()?),
            Scalar::Time => Self::Time(column.as_primitive_opt()?),
            Scalar::Timestamp => Self::Timestamp(column.as_primitive_opt()?, ""),
            Scalar::TimestampTz => Self::Timestamp(column.as_primitive_opt()?, "+00"),
            Scalar::Interval => Self::Interval(column.as_primitive_opt()?),
            Scalar::Json => return None,
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Bool(values) => values.is_null(row),
            Self::Int2(values) => values.is_null(row),
            Self::Int4(values) => values.is_null(row),
            Self::Int8(values) => values.is_null(row),
            Self::Float4(values) => values.is_null(row),
            Self::Float8(values) => values.is_null(row),
            Self::Numeric(values) => values.is_null(row),
            Self::LongNumeric(values) => values.is_null(row),
            Self::Text(values) => values.is_null(row),
            Self::Bytea(values) => values.is_null(row),
            Self::Date(values) => values.is_null(row),
            Self::Time(values) => values.is_null(row),
            Self::Timestamp(values, _) => values.is_null(row),
            Self::Interval(values) => values.is_null(row),
            Self::List { lists, .. } => lists.is_null(row),
            Self::Json(values, _) => values.is_null(row),
        }
    }

    /// Writes a value behind its length; NULL is a length of -1.
    pub fn put(&self, row: usize, format: Format, out: &mut BytesMut) {
        if self.is_null(row) {
            return out.put_i32(-1);
        }
        let start = out.len();
        out.put_i32(0);
        match format {
            Format::Text => self.put_text(row, out),
            Format::Binary => self.put_binary(row, out),
        }
        let length = i32::try_from(out.len() - start - 4).unwrap_or(i32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn put_text(&self, row: usize, out: &mut BytesMut) {
        // Writing to memory cannot fail.
        let _ = match self {
            Self::Bool(values) => out.write_str(if values.value(row) { "t" } else { "f" }),
            Self::Int2(values) => write!(out, "{}", values.value(row)),
            Self::Int4(values) => write!(out, "{}", values.value(row)),
            Self::Int8(values) => write!(out, "{}", values.value(row)),
            Self::Float4(values) => out.write_str(&float(f64::from(values.value(row)), &values.value(row), 6)),
            Self::Float8(values) => out.write_str(&float(values.value(row), &values.value(row), 15)),
            Self::Numeric(values) => out.write_str(&values.value_as_string(row)),
            Self::LongNumeric(values) => out.write_str(&values.value_as_string(row)),
            Self::Text(values) => out.write_str(values.value(row)),
            Self::Bytea(values) => {
                out.put_slice(b"\\x");
                values.value(row).iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
            Self::Date(values) => out.write_str(&date(values.value(row))),
            Self::Time(values) => out.write_str(&time(values.value(row))),
            Self::Timestamp(values, zone) => out.write_str(&timestamp(values.value(row), zone)),
            Self::Interval(values) => out.write_str(&interval::text(values.value(row))),
            Self::List { lists, items, .. } => {
                put_list(items, range(lists, row), out);
                Ok(())
            }
            Self::Json(_, encoder) => {
                put_json(encoder, row, out);
                Ok(())
            }
        };
    }

    fn put_binary(&self, row: usize, out: &mut BytesMut) {
        match self {
            Self::Bool(values) => out.put_u8(u8::from(values.value(row))),
            Self::Int2(values) => out.put_i16(values.value(row)),
            Self::Int4(values) => out.put_i32(values.value(row)),
            Self::Int8(values) => out.put_i64(values.value(row)),
            Self::Float4(values) => out.put_f32(values.value(row)),
            Self::Float8(values) => out.put_f64(values.value(row)),
            Self::Numeric(values) => numeric::put(&values.value_as_string(row), out),
            Self::LongNumeric(values) => numeric::put(&values.value_as_string(row), out),
            Self::Text(values) => out.put_slice(values.value(row).as_bytes()),
            Self::Bytea(values) => out.put_slice(values.value(row)),
            Self::Date(values) => out.put_i32(values.value(row).saturating_sub(DAYS_TO_2000)),
            Self::Time(values) => out.put_i64(values.value(row)),
            Self::Timestamp(values, _) => out.put_i64(values.value(row).saturating_sub(MICROS_TO_2000)),
            Self::Interval(values) => interval::put(values.value(row), out),
            Self::List { lists, items, item } => put_array(items, *item, range(lists, row), out),
            Self::Json(_, encoder) => put_json(encoder, row, out),
        }
    }
}

fn range(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = lists.value_offsets();
    let at = |index: usize| usize::try_from(offsets[index]).unwrap_or(0);
    at(row)..at(row + 1)
}

/// `{1,NULL,"a b"}`.
fn put_list(items: &Values<'_>, range: std::ops::Range<usize>, out: &mut BytesMut) {
    out.put_u8(b'{');
    let first = range.start;
    let mut item = BytesMut::new();
    for index in range {
        if index > first {
            out.put_u8(b',');
        }
        if items.is_null(index) {
            out.put_slice(b"NULL");
            continue;
        }
        item.clear();
        items.put_text(index, &mut item);
        let is_bare = !item.is_empty()
            && !item.eq_ignore_ascii_case(b"null")
            && !item.iter().any(|byte| b"{},\"\\ \t\n\r\x0b\x0c".contains(byte));
        if is_bare {
            out.put_slice(&item);
            continue;
        }
        out.put_u8(b'"');
        for byte in &item {
            if matches!(byte, b'"' | b'\\') {
                out.put_u8(b'\\');
            }
            out.put_u8(*byte);
        }
        out.put_u8(b'"');
    }
    out.put_u8(b'}');
}

/// Dimensions, whether there are NULLs, type, then length and lower bound of the one dimension (`array_send`).
fn put_array(items: &Values<'_>, item: Scalar, range: std::ops::Range<usize>, out: &mut BytesMut) {
    let has_nulls = range.clone().any(|index| items.is_null(index));
    out.put_i32(i32::from(!range.is_empty()));
    out.put_i32(i32::from(has_nulls));
    out.put_u32(item.oid());
    if range.is_empty() {
        return;
    }
    out.put_i32(i32::try_from(range.len()).unwrap_or(i32::MAX));
    out.put_i32(1);
    range.for_each(|index| items.put(index, Format::Binary, out));
}

fn put_json(encoder: &RefCell<NullableEncoder<'_>>, row: usize, out: &mut BytesMut) {
    let mut text = Vec::new();
    encoder.borrow_mut().encode(row, &mut text);
    out.put_slice(&text);
}

/// The shortest text that is the same number, as PostgreSQL writes it: with an exponent beyond `digits` digits. `shown` is the
/// number in its own width.
fn float(value: f64, shown: &(impl std::fmt::Display + std::fmt::LowerExp), digits: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    let scientific = format!("{shown:e}");
    let (digits_of, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match (-4..digits).contains(&exponent) {
        true => shown.to_string(),
        false => format!("{digits_of}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

fn calendar(date: NaiveDate) -> (String, &'static str) {
    // The year before 1 is 1 BC.
    let (year, era) = if date.year() > 0 { (date.year(), "") } else { (1 - date.year(), " BC") };
    (format!("{year:04}-{:02}-{:02}", date.month(), date.day()), era)
}

fn date(days: i32) -> String {
    let micros = i64::from(days) * 86_400_000_000;
    match DateTime::from_timestamp_micros(micros) {
        Some(moment) => {
            let (text, era) = calendar(moment.date_naive());
            format!("{text}{era}")
        }
        None => if days > 0 { "infinity" } else { "-infinity" }.to_owned(),
    }
}

fn time(micros: i64) -> String {
    let size = micros.unsigned_abs();
    let seconds = size / 1_000_000;
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    push_fraction(size % 1_000_000, &mut text);
    text
}

fn timestamp(micros: i64, zone: &str) -> String {
    let Some(moment) = DateTime::from_timestamp_micros(micros) else {
        return if micros > 0 { "infinity" } else { "-infinity" }.to_owned();
    };
    let (mut text, era) = calendar(moment.date_naive());
    let _ = write!(text, " {:02}:{:02}:{:02}", moment.hour(), moment.minute(), moment.second());
    push_fraction(u64::from(moment.timestamp_subsec_micros()), &mut text);
    text.push_str(zone);
    text.push_str(era);
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Builder;
    use arrow::array::ListBuilder;

    use super::*;

    fn text(column: ArrayRef) -> Vec<String> {
        let values = Values::new(&column, Shape::of(column.data_type())).unwrap();
        let row = |row| {
            let mut out = BytesMut::new();
            values.put(row, Format::Text, &mut out);
            String::from_utf8(out[4..].to_vec()).unwrap()
        };
        (0..column.len()).map(row).collect()
    }

    #[test]
    fn texts_are_those_of_postgres() {
        assert_eq!(text(Arc::new(BooleanArray::from(vec![true, false]))), ["t", "f"]);
        assert_eq!(
            text(Arc::new(Float64Array::from(vec![1.0, 0.1, 1e300, -1e-7, 123_456_789_012_345.0, f64::NAN]))),
            ["1", "0.1", "1e+300", "-1e-07", "123456789012345", "NaN"]
        );
        assert_eq!(text(Arc::new(Float32Array::from(vec![0.1, 1e6]))), ["0.1", "1e+06"]);
        assert_eq!(text(Arc::new(BinaryArray::from(vec![&b"\x00\xffa"[..], b""]))), ["\\x00ff61", "\\x"]);
        assert_eq!(text(Arc::new(Date32Array::from(vec![0, -719_163]))), ["1970-01-01", "0001-12-31 BC"]);
        let moments = TimestampMicrosecondArray::from(vec![1_510_047_000_120_000, -1]);
        assert_eq!(text(Arc::new(moments)), ["2017-11-07 09:30:00.12", "1969-12-31 23:59:59.999999"]);
        let zoned = TimestampMicrosecondArray::from(vec![1_510_047_000_000_000]).with_timezone("UTC");
        assert_eq!(text(Arc::new(zoned)), ["2017-11-07 09:30:00+00"]);
    }

    #[test]
    fn lists_are_arrays() {
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.append_value([Some(1), None, Some(3)]);
        lists.append_value([]);
        assert_eq!(text(Arc::new(lists.finish())), ["{1,NULL,3}", "{}"]);
        let mut texts = ListBuilder::new(arrow::array::StringBuilder::new());
        texts.append_value([Some("a"), Some("a b"), Some("\"\\"), Some(""), Some("null")]);
        assert_eq!(text(Arc::new(texts.finish())), [r#"{a,"a b","\"\\","","null"}"#]);
    }
}
