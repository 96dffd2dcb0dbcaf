//! One value: the text of a field, or a piece of JSON, → a typed [`Cell`], or the reason why not.
//!
//! Numbers are read from their text: a decimal never passes through floating point (money is exact), an integer too
//! large for its column is refused, never wrapped. Reasons are the end of a sentence that begins with the row and field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use serde_json::value::RawValue;

use super::decimal;
use super::time::{TimeReader, micros_from_epoch_millis};

/// Characters of a wrong value that a reason repeats.
const SHOWN_CHARS: usize = 40;

/// A value ready to be put into a column of the [`ValueType`] it was read for.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    /// Integers, days since 1970, microseconds since 1970.
    Int(i64),
    Float(f64),
    /// The unscaled digits.
    Decimal(i128),
    Text(Cow<'a, str>),
    List(Vec<Cell<'a>>),
    /// Names and values; a value may be null.
    Map(Vec<Entry<'a>>),
}

/// One entry of a map of text.
pub type Entry<'a> = (Cow<'a, str>, Option<Cow<'a, str>>);

/// What text can be read as.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueType {
    Bool,
    Int {
        bits: u32,
    },
    Float {
        bits: u32,
    },
    Decimal {
        precision: u8,
        scale: i8,
    },
    Text,
    Date,
    Timestamp,
    List(Box<ValueType>),
    /// `MAP<VARCHAR, VARCHAR>`.
    Map,
}

impl ValueType {
    /// # Errors
    /// For types that text formats cannot fill.
    pub fn of(data_type: &DataType) -> Result<Self, String> {
        Ok(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 => Self::Int { bits: 8 },
            DataType::Int16 => Self::Int { bits: 16 },
            DataType::Int32 => Self::Int { bits: 32 },
            DataType::Int64 => Self::Int { bits: 64 },
            DataType::Float32 => Self::Float { bits: 32 },
            DataType::Float64 => Self::Float { bits: 64 },
            DataType::Decimal128(precision, scale) => Self::Decimal { precision: *precision, scale: *scale },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Date32 => Self::Date,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp,
            DataType::List(item) => Self::List(Box::new(Self::of(item.data_type())?)),
            DataType::Map(entries, _) if is_text_map(entries.data_type()) => Self::Map,
            other => return Err(format!("has type {other}, which JSON and CSV cannot fill; load Parquet instead")),
        })
    }

    /// A field of CSV. An empty field is NULL whatever the type; spaces around anything but text are ignored.
    ///
    /// # Errors
    /// Why the text is not a value of this type.
    pub fn read_text<'a>(&self, text: &'a str, times: &TimeReader) -> Result<Cell<'a>, String> {
        if text.is_empty() {
            return Ok(Cell::Null);
        }
        if *self == Self::Text {
            return Ok(Cell::Text(Cow::Borrowed(text)));
        }
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Cell::Null);
        }
        match self {
            Self::Bool => read_bool(trimmed).map(Cell::Bool),
            Self::Int { bits } => read_int(trimmed, *bits).map(Cell::Int),
            Self::Float { bits } => read_float(trimmed, *bits).map(Cell::Float),
            Self::Decimal { precision, scale } => decimal::read(trimmed, *precision, *scale).map(Cell::Decimal),
            Self::Text => Ok(Cell::Text(Cow::Borrowed(text))),
            Self::Date => times.days(trimmed).map(|days| Cell::Int(i64::from(days))),
            Self::Timestamp => times.micros(trimmed).map(Cell::Int),
            Self::Map => read_map(trimmed).map(Cell::Map),
            Self::List(item) => {
                let array: Vec<&RawValue> = serde_json::from_str(trimmed)
                    .map_err(|_| format!("{} is not a JSON array such as [\"a\",\"b\"]", shown(text)))?;
                array.into_iter().map(|value| item.read_json(value, times)).collect::<Result<_, _>>().map(Cell::List)
            }
        }
    }

    /// A JSON value. Text columns also take numbers, booleans, arrays and objects, as their JSON text; the other types
    /// also take a string that holds the value.
    ///
    /// # Errors
    /// Why the value is not one of this type.
    pub fn read_json<'a>(&self, value: &'a RawValue, times: &TimeReader) -> Result<Cell<'a>, String> {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'n') => Ok(Cell::Null),
            Some(b'"') => self.read_json_string(text, times),
            Some(b'[' | b'{') => match self {
                Self::Text => Ok(Cell::Text(Cow::Borrowed(text))),
                Self::Map if text.starts_with('{') => read_map(text).map(Cell::Map),
                Self::List(item) if text.starts_with('[') => {
                    let array: Vec<&RawValue> =
                        serde_json::from_str(text).map_err(|error| format!("is not a JSON array: {error}"))?;
                    let cells = array.into_iter().map(|value| item.read_json(value, times));
                    cells.collect::<Result<_, _>>().map(Cell::List)
                }
                _ => Err(format!("{} is not {}", shown(text), self.noun())),
            },
            _ => self.read_json_scalar(text, times),
        }
    }

    fn read_json_string<'a>(&self, text: &'a str, times: &TimeReader) -> Result<Cell<'a>, String> {
        let content = serde_json::from_str::<Text<'a>>(text).map_err(|_| "is not valid JSON text".to_owned())?.0;
        if *self == Self::Text {
            return Ok(Cell::Text(content));
        }
        if content.trim().is_empty() {
            return Err(format!("is empty text, not {}; send null for no value", self.noun()));
        }
        match self.read_text(&content, times)? {
            Cell::Null => Ok(Cell::Null),
            Cell::Bool(value) => Ok(Cell::Bool(value)),
            Cell::Int(value) => Ok(Cell::Int(value)),
            Cell::Float(value) => Ok(Cell::Float(value)),
            Cell::Decimal(value) => Ok(Cell::Decimal(value)),
            // A list inside a string would need its own storage; nobody sends that.
            Cell::Text(_) | Cell::List(_) | Cell::Map(_) => {
                Err(format!("{} is text, not {}", shown(&content), self.noun()))
            }
        }
    }

    /// A number, `true` or `false`.
    fn read_json_scalar<'a>(&self, text: &'a str, times: &TimeReader) -> Result<Cell<'a>, String> {
        let is_bool = text.starts_with(['t', 'f']);
        match self {
            Self::Text => Ok(Cell::Text(Cow::Borrowed(text))),
            Self::Bool => read_bool(text).map(Cell::Bool),
            _ if is_bool => Err(format!("{text} is not {}", self.noun())),
            // Numbers are epoch milliseconds whatever the pattern for text says.
            Self::Timestamp => micros_from_epoch_millis(read_int(text, 64)?).map(Cell::Int),
            Self::Date | Self::List(_) | Self::Map => Err(format!("{} is a number, not {}", shown(text), self.noun())),
            Self::Int { .. } | Self::Float { .. } | Self::Decimal { .. } => self.read_text(text, times),
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Int { .. } => "an integer",
            Self::Float { .. } => "a number",
            Self::Decimal { .. } => "a decimal",
            Self::Text => "text",
            Self::Date => "a date",
            Self::Timestamp => "a time",
            Self::List(_) => "a list",
            Self::Map => "an object",
        }
    }
}

/// JSON text, borrowed where it has no escapes (serde gives `Cow` only as a borrowed field's type).
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn is_text_map(entries: &DataType) -> bool {
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8);
    matches!(entries, DataType::Struct(pair) if pair.iter().all(|field| is_text(field.data_type())))
}

fn read_map(text: &str) -> Result<Vec<Entry<'_>>, String> {
    let object: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|_| format!("{} is not a JSON object", shown(text)))?;
    object.into_iter().map(|(name, value)| Ok((Cow::Owned(name), map_value(value)?))).collect()
}

/// A value kept as text, as a VARCHAR column would take it: text as it is, the rest as its JSON.
///
/// # Errors
/// Text with escapes that stand for nothing.
pub fn map_value(value: &RawValue) -> Result<Option<Cow<'_, str>>, String> {
    match value.get().as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => match serde_json::from_str::<Text<'_>>(value.get()) {
            Ok(text) => Ok(Some(text.0)),
            Err(_) => Err("is not valid JSON text".to_owned()),
        },
        _ => Ok(Some(Cow::Borrowed(value.get()))),
    }
}

fn read_bool(text: &str) -> Result<bool, String> {
    let is = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(["true", "t", "1", "yes"]) {
        Ok(true)
    } else if is(["false", "f", "0", "no"]) {
        Ok(false)
    } else {
        Err(format!("{} is not a boolean", shown(text)))
    }
}

fn read_int(text: &str, bits: u32) -> Result<i64, String> {
    let value = match text.parse::<i64>() {
        Ok(value) => value,
        // `1e3` and `7.0` are whole numbers too; `1.5` is not.
        Err(_) => {
            let whole = decimal::read_whole(text).map_err(|wrong| match wrong {
                decimal::NotWhole::NotANumber | decimal::NotWhole::Fraction => {
                    format!("{} is not an integer", shown(text))
                }
                decimal::NotWhole::TooLarge => out_of_range(text, bits),
            })?;
            i64::try_from(whole).map_err(|_| out_of_range(text, bits))?
        }
    };
    let limit = i64::MAX >> (64 - bits);
    if value > limit || value < -limit - 1 {
        return Err(out_of_range(text, bits));
    }
    Ok(value)
}

fn out_of_range(text: &str, bits: u32) -> String {
    let limit = i128::from(i64::MAX >> (64 - bits));
    format!("{} is out of range for a {bits}-bit integer ({} to {limit})", shown(text), -limit - 1)
}

fn read_float(text: &str, bits: u32) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{} is not a number", shown(text)))?;
    #[expect(clippy::cast_possible_truncation, reason = "only to see whether the value fits")]
    let fits = value.is_finite() && (bits == 64 || (value as f32).is_finite());
    if fits { Ok(value) } else { Err(format!("{} is out of range for a {bits}-bit float", shown(text))) }
}

/// `'text'`, cut when long, control characters escaped.
pub fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    format!("'{cut}{more}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value_type: &ValueType, text: &str) -> Result<Cell<'static>, String> {
        value_type.read_text(text, &TimeReader::standard()).map(own)
    }

    fn json(value_type: &ValueType, text: &str) -> Result<Cell<'static>, String> {
        let value: &RawValue = serde_json::from_str(text).unwrap();
        value_type.read_json(value, &TimeReader::standard()).map(own)
    }

    fn own(cell: Cell<'_>) -> Cell<'static> {
        match cell {
            Cell::Null => Cell::Null,
            Cell::Bool(value) => Cell::Bool(value),
            Cell::Int(value) => Cell::Int(value),
            Cell::Float(value) => Cell::Float(value),
            Cell::Decimal(value) => Cell::Decimal(value),
            Cell::Text(value) => Cell::Text(Cow::Owned(value.into_owned())),
            Cell::List(cells) => Cell::List(cells.into_iter().map(own).collect()),
            Cell::Map(entries) => {
                let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
                Cell::Map(entries.into_iter().map(|(key, value)| (owned(key), value.map(owned))).collect())
            }
        }
    }

    const BIGINT: ValueType = ValueType::Int { bits: 64 };
    const INT: ValueType = ValueType::Int { bits: 32 };

    #[test]
    fn integers_are_whole_and_in_range() {
        assert_eq!(text(&BIGINT, " 42 "), Ok(Cell::Int(42)));
        assert_eq!(text(&BIGINT, "+7"), Ok(Cell::Int(7)));
        assert_eq!(text(&BIGINT, "1e3"), Ok(Cell::Int(1_000)));
        assert_eq!(text(&BIGINT, "-9223372036854775808"), Ok(Cell::Int(i64::MIN)));
        assert_eq!(json(&INT, "7.0"), Ok(Cell::Int(7)));
        assert_eq!(json(&INT, "\"7\""), Ok(Cell::Int(7)));
        assert_eq!(text(&INT, "2147483647"), Ok(Cell::Int(2_147_483_647)));
        assert_eq!(
            text(&INT, "2147483648"),
            Err("'2147483648' is out of range for a 32-bit integer (-2147483648 to 2147483647)".to_owned())
        );
        assert!(text(&BIGINT, "9223372036854775808").is_err());
        assert!(text(&BIGINT, "1e400").is_err());
        assert_eq!(text(&BIGINT, "1.5"), Err("'1.5' is not an integer".to_owned()));
        assert_eq!(json(&BIGINT, "\"abc\""), Err("'abc' is not an integer".to_owned()));
        assert_eq!(json(&BIGINT, "true"), Err("true is not an integer".to_owned()));
        assert_eq!(json(&BIGINT, "{\"a\":1}"), Err("'{\\\"a\\\":1}' is not an integer".to_owned()));
    }

    #[test]
    fn text_takes_every_json_value_as_its_text() {
        assert_eq!(json(&ValueType::Text, "12345678901234567890.10"), Ok(Cell::Text("12345678901234567890.10".into())));
        assert_eq!(json(&ValueType::Text, "\"a\\u00e9\\n\""), Ok(Cell::Text("aé\n".into())));
        assert_eq!(json(&ValueType::Text, "[1, 2]"), Ok(Cell::Text("[1, 2]".into())));
        assert_eq!(json(&ValueType::Text, "\"\""), Ok(Cell::Text("".into())));
        assert_eq!(text(&ValueType::Text, " a "), Ok(Cell::Text(" a ".into())));
        assert_eq!(text(&ValueType::Text, ""), Ok(Cell::Null));
    }

    #[test]
    fn times_and_days() {
        assert_eq!(json(&ValueType::Timestamp, "1510047038000"), Ok(Cell::Int(1_510_047_038_000_000)));
        assert_eq!(json(&ValueType::Timestamp, "\"2017-11-07T09:30:38Z\""), Ok(Cell::Int(1_510_047_038_000_000)));
        assert!(json(&ValueType::Timestamp, "1.5").is_err());
        assert_eq!(json(&ValueType::Date, "\"1970-01-02\""), Ok(Cell::Int(1)));
        assert!(json(&ValueType::Date, "1").is_err());
        assert!(json(&ValueType::Timestamp, "1510047038000000").is_err(), "microseconds taken for milliseconds");
    }

    #[test]
    fn maps_keep_values_as_text() {
        let entries = vec![
            ("a".into(), Some("x\n".into())),
            ("b".into(), Some("[1, 2]".into())),
            ("c".into(), None),
            ("d".into(), Some("1.50".into())),
        ];
        let object = r#"{"d":1.50,"c":null,"b":[1, 2],"a":"x\n"}"#;
        assert_eq!(json(&ValueType::Map, object), Ok(Cell::Map(entries.clone())));
        assert_eq!(text(&ValueType::Map, object), Ok(Cell::Map(entries)));
        assert_eq!(json(&ValueType::Map, "7"), Err("'7' is a number, not an object".to_owned()));
        assert!(json(&ValueType::Map, "[1]").is_err());
    }

    #[test]
    fn lists_booleans_floats() {
        let list = ValueType::List(Box::new(BIGINT));
        assert_eq!(json(&list, "[1,null,3]"), Ok(Cell::List(vec![Cell::Int(1), Cell::Null, Cell::Int(3)])));
        assert_eq!(text(&list, "[1]"), Ok(Cell::List(vec![Cell::Int(1)])));
        assert!(json(&list, "[1,\"x\"]").is_err());
        assert!(text(&list, "1,2").is_err());
        assert_eq!(text(&ValueType::Bool, "FALSE"), Ok(Cell::Bool(false)));
        assert!(text(&ValueType::Bool, "2").is_err());
        assert_eq!(text(&ValueType::Float { bits: 64 }, "1.5e3"), Ok(Cell::Float(1_500.0)));
        assert!(text(&ValueType::Float { bits: 64 }, "1e999").is_err());
        assert!(text(&ValueType::Float { bits: 32 }, "1e300").is_err());
        assert!(json(&ValueType::Float { bits: 64 }, "\"\"").is_err());
    }
}
