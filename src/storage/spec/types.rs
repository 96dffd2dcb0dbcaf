//! Which Arrow types a table can keep, and what to write instead of the others.
//!
//! Delta knows signed integers, floats, decimals up to 38 digits, text, bytes, dates, microsecond timestamps, lists,
//! structs and maps. Layouts of the same thing (views, large offsets, dictionaries, coarser timestamps) are mapped;
//! what would lose values is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use super::super::StorageError;
use super::invalid;

/// Characters that Parquet writers of the Delta world refuse in column names.
const REFUSED_IN_NAMES: [char; 10] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// The type a table stores for `data_type`; the error is the end of a sentence: `… has type UInt8, which …; use …`.
pub fn storable_type(data_type: &DataType) -> Result<DataType, String> {
    Ok(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32 => data_type.clone(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) if *scale >= 0 => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal128(_, scale) if *scale >= 0 => data_type.clone(),
        DataType::Dictionary(_, value) => storable_type(value)?,
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            DataType::List(Arc::new(Field::new("element", storable_type(item.data_type())?, item.is_nullable())))
        }
        DataType::Struct(fields) => DataType::Struct(storable_fields(fields)?),
        DataType::Map(entries, _) => storable_map(entries)?,
        other => return Err(refusal(other)),
    })
}

fn storable_fields(fields: &Fields) -> Result<Fields, String> {
    fields
        .iter()
        .map(|field| Ok(Field::new(field.name(), storable_type(field.data_type())?, field.is_nullable())))
        .collect::<Result<Vec<_>, String>>()
        .map(Fields::from)
}

fn storable_map(entries: &FieldRef) -> Result<DataType, String> {
    let DataType::Struct(pair) = entries.data_type() else { return Err(refusal(entries.data_type())) };
    let [key, value] = pair.as_ref() else { return Err(refusal(entries.data_type())) };
    let pair = Fields::from(vec![
        Field::new("key", storable_type(key.data_type())?, false),
        Field::new("value", storable_type(value.data_type())?, value.is_nullable()),
    ]);
    Ok(DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair), false)), false))
}

fn refusal(data_type: &DataType) -> String {
    let instead = match data_type {
        DataType::UInt8 => "SMALLINT",
        DataType::UInt16 => "INTEGER",
        DataType::UInt32 => "BIGINT",
        DataType::UInt64 => "BIGINT, or DECIMAL(20, 0) for values above 9223372036854775807",
        DataType::Float16 => "REAL",
        DataType::Time32(_) | DataType::Time64(_) => "TIMESTAMP WITH TIME ZONE, or BIGINT microseconds",
        DataType::Interval(_) | DataType::Duration(_) => "BIGINT microseconds",
        DataType::Decimal256(..) | DataType::Decimal128(..) | DataType::Decimal32(..) | DataType::Decimal64(..) => {
            "DECIMAL with at most 38 digits and a scale of 0 or more"
        }
        DataType::Null => "the type its values will have, such as VARCHAR",
        _ => "VARCHAR",
    };
    format!("type {data_type}, which tables cannot store; use {instead}")
}

/// One column as tables store it. Field metadata is dropped.
pub(crate) fn storable_field(field: &Field) -> Result<FieldRef, StorageError> {
    let name = field.name();
    if name.is_empty() || name.contains(REFUSED_IN_NAMES) {
        return Err(invalid(format!(
            "column name '{name}' cannot be stored; use a name without spaces and without any of , ; {{ }} ( ) ="
        )));
    }
    let data_type =
        storable_type(field.data_type()).map_err(|refusal| invalid(format!("column '{name}' has {refusal}")))?;
    Ok(Arc::new(Field::new(name, data_type, field.is_nullable())))
}

/// All columns as tables store them; names must differ in more than letter case.
pub(super) fn storable_schema(columns: &Schema) -> Result<SchemaRef, StorageError> {
    if columns.fields().is_empty() {
        return Err(invalid("a table needs at least one column".to_owned()));
    }
    let mut seen = BTreeSet::new();
    let mut fields = Vec::with_capacity(columns.fields().len());
    for field in columns.fields() {
        if !seen.insert(field.name().to_lowercase()) {
            return Err(invalid(format!(
                "column '{}' appears twice; names of columns must differ in more than letter case",
                field.name()
            )));
        }
        fields.push(storable_field(field)?);
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Whether a type holds a timestamp without time zone, for which Delta needs the `timestampNtz` feature.
pub(crate) fn has_zoneless_timestamp(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, None) => true,
        DataType::List(item) | DataType::Map(item, _) => has_zoneless_timestamp(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_zoneless_timestamp(field.data_type())),
        _ => false,
    }
}
