//! What a value of each SQL type is hashed as, so that the same value in another DataSketches library is the same.
//!
//! | type | hashed as |
//! |---|---|
//! | integers, BOOLEAN (0, 1) | 64-bit integer |
//! | REAL, DOUBLE | DOUBLE, one zero and one NaN |
//! | VARCHAR; DECIMAL as it is written, `1.50` | its UTF-8 bytes; nothing when empty |
//! | BINARY | its bytes; nothing when empty |
//! | DATE | days since 1970 |
//! | TIMESTAMP | microseconds since 1970, UTC |
//! | TIME, DURATION | their number of units |

use std::hash::{Hash, Hasher};

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, UInt64Type};
use datafusion::common::{Result, exec_err};
use datasketches::hash::value::{canonical_float, raw_bytes};

/// One value, not NULL.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Integer(u64),
    Number(f64),
    Bytes(&'a [u8]),
}

impl Hash for Value<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Integer(value) => value.hash(state),
            Self::Number(value) => canonical_float::from_f64(*value).hash(state),
            Self::Bytes(value) => raw_bytes::from_slice(value).hash(state),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Integers,
    Unsigned,
    Instants,
    Numbers,
    Texts,
    Bytes,
}

fn form(data_type: &DataType) -> Option<Form> {
    match data_type {
        DataType::Dictionary(_, values) => form(values),
        DataType::Timestamp(..) => Some(Form::Instants),
        DataType::Null | DataType::Boolean | DataType::Date32 | DataType::Duration(_) => Some(Form::Integers),
        DataType::Time32(_) | DataType::Time64(_) => Some(Form::Integers),
        signed if signed.is_signed_integer() => Some(Form::Integers),
        unsigned if unsigned.is_unsigned_integer() => Some(Form::Unsigned),
        float if float.is_floating() => Some(Form::Numbers),
        decimal if decimal.is_decimal() => Some(Form::Texts),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Form::Texts),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Some(Form::Bytes)
        }
        _ => None,
    }
}

/// Whether [`each`] takes values of the type.
pub(super) fn is_hashable(data_type: &DataType) -> bool {
    form(data_type).is_some()
}

/// Every value that counts, in order: neither NULL nor empty.
pub(super) fn each(values: &ArrayRef, mut add: impl FnMut(Value<'_>)) -> Result<()> {
    match form(values.data_type()) {
        Some(Form::Integers) => {
            let values = cast(values, &DataType::Int64)?;
            values.as_primitive::<Int64Type>().iter().flatten().for_each(|value| add(Value::Integer(value as u64)));
        }
        Some(Form::Unsigned) => {
            let values = cast(values, &DataType::UInt64)?;
            values.as_primitive::<UInt64Type>().iter().flatten().for_each(|value| add(Value::Integer(value)));
        }
        Some(Form::Instants) => {
            let values = cast(&cast(values, &DataType::Timestamp(TimeUnit::Microsecond, None))?, &DataType::Int64)?;
            values.as_primitive::<Int64Type>().iter().flatten().for_each(|value| add(Value::Integer(value as u64)));
        }
        Some(Form::Numbers) => {
            let values = cast(values, &DataType::Float64)?;
            values.as_primitive::<Float64Type>().iter().flatten().for_each(|value| add(Value::Number(value)));
        }
        Some(Form::Texts) => {
            let values = cast(values, &DataType::Utf8View)?;
            let texts = values.as_string_view().iter().flatten().filter(|value| !value.is_empty());
            texts.for_each(|value| add(Value::Bytes(value.as_bytes())));
        }
        Some(Form::Bytes) => {
            let values = cast(values, &DataType::BinaryView)?;
            let bytes = values.as_binary_view().iter().flatten().filter(|value| !value.is_empty());
            bytes.for_each(|value| add(Value::Bytes(value)));
        }
        None => return exec_err!("values of {} cannot be put into a sketch", values.data_type()),
    }
    Ok(())
}
