//! What Flight SQL says of a column beside its Arrow type: the metadata `ARROW:FLIGHT:SQL:…` of its field.
//!
//! JDBC takes the precision and scale of a result's columns from here, Spark and others with it. A result's column is
//! read-only and is said to belong to no table; a table's column says which.

use super::CATALOG;
use super::encode::described_schema;
use crate::server::encode::wire_schema;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// The SQL name of a type, as CREATE TABLE takes it; `None` when a table cannot have it.
pub(super) fn sql_type(data_type: &DataType) -> Option<String> {
    use DataType::*;
    let name = match data_type {
        Boolean => "BOOLEAN",
        Int8 => "TINYINT",
        Int16 => "SMALLINT",
        Int32 => "INT",
        Int64 => "BIGINT",
        UInt8 => "SMALLINT",
        UInt16 => "INT",
        UInt32 => "BIGINT",
        UInt64 => "DECIMAL(20, 0)",
        Float32 => "FLOAT",
        Float64 => "DOUBLE",
        Utf8 | LargeUtf8 | Utf8View => "VARCHAR",
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => "BYTEA",
        Date32 | Date64 => "DATE",
        Timestamp(_, None) => "TIMESTAMP",
        Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale) => {
            return Some(format!("DECIMAL({precision}, {scale})"));
        }
        List(field) | LargeList(field) | FixedSizeList(field, _) => {
            return sql_type(field.data_type()).map(|inner| format!("{inner}[]"));
        }
        _ => return None,
    };
    Some(name.to_owned())
}

/// The name of a type for people, also where CREATE TABLE has none.
fn shown_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::Map(_, _) => "MAP".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        other => sql_type(other).unwrap_or_else(|| other.to_string().to_uppercase()),
    }
}

/// Precision and scale as JDBC counts them.
fn precision(data_type: &DataType) -> Option<(u32, i32)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            (u32::from(*precision), i32::from(*scale))
        }
        DataType::Timestamp(TimeUnit::Second, _) => (19, 0),
        DataType::Timestamp(TimeUnit::Millisecond, _) => (23, 3),
        DataType::Timestamp(TimeUnit::Microsecond, _) => (26, 6),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (29, 9),
        _ => return None,
    })
}

/// Whose a column is.
#[derive(Clone, Copy)]
enum Origin<'a> {
    Table { schema: &'a str, name: &'a str },
    Result,
}

fn described(field: &FieldRef, origin: Origin<'_>) -> Field {
    let mut metadata = field.metadata().clone();
    let mut put = |key: &str, value: String| metadata.insert(format!("ARROW:FLIGHT:SQL:{key}"), value);
    if let Origin::Table { schema, name } = origin {
        put("CATALOG_NAME", CATALOG.to_owned());
        put("SCHEMA_NAME", schema.to_owned());
        put("TABLE_NAME", name.to_owned());
    }
    put("TYPE_NAME", shown_type(field.data_type()));
    if let Some((precision, scale)) = precision(field.data_type()) {
        put("PRECISION", precision.to_string());
        put("SCALE", scale.to_string());
    }
    put("IS_AUTO_INCREMENT", "0".to_owned());
    put("IS_CASE_SENSITIVE", "1".to_owned());
    put("IS_READ_ONLY", if matches!(origin, Origin::Result) { "1" } else { "0" }.to_owned());
    put("IS_SEARCHABLE", "1".to_owned());
    field.as_ref().clone().with_metadata(metadata)
}

/// The columns of a table as metadata shows them.
pub(super) fn table_schema(columns: &Schema, schema: &str, name: &str) -> Schema {
    let origin = Origin::Table { schema, name };
    Schema::new(described_schema(columns).fields().iter().map(|field| described(field, origin)).collect::<Vec<_>>())
}

/// The columns of a result as they are promised and sent.
pub(super) fn result_schema(columns: &Schema) -> SchemaRef {
    let wire = wire_schema(columns);
    Arc::new(Schema::new(wire.fields().iter().map(|field| described(field, Origin::Result)).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<'a>(schema: &'a Schema, column: usize, key: &str) -> Option<&'a str> {
        schema.field(column).metadata().get(&format!("ARROW:FLIGHT:SQL:{key}")).map(String::as_str)
    }

    #[test]
    fn columns_tell_their_sql_type_and_precision() {
        let columns = Schema::new(vec![
            Field::new("price", DataType::Decimal128(10, 2), false),
            Field::new("name", DataType::Utf8View, true),
        ]);
        let table = table_schema(&columns, "public", "t");
        assert_eq!((told(&table, 0, "TYPE_NAME"), told(&table, 0, "SCALE")), (Some("DECIMAL(10, 2)"), Some("2")));
        assert_eq!((told(&table, 0, "TABLE_NAME"), told(&table, 0, "IS_READ_ONLY")), (Some("t"), Some("0")));
        assert!(!table.field(0).is_nullable());
        assert_eq!(table.field(1).data_type(), &DataType::Utf8);
        let result = result_schema(&columns);
        assert_eq!((told(&result, 0, "PRECISION"), told(&result, 0, "SCALE")), (Some("10"), Some("2")));
        assert_eq!((told(&result, 0, "TABLE_NAME"), told(&result, 0, "IS_READ_ONLY")), (None, Some("1")));
        assert_eq!((told(&result, 1, "TYPE_NAME"), told(&result, 1, "PRECISION")), (Some("VARCHAR"), None));
    }

    #[test]
    fn no_table_can_be_made_of_what_has_no_sql_type() {
        assert_eq!(sql_type(&DataType::Struct(arrow::datatypes::Fields::empty())), None);
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        assert_eq!(sql_type(&list), Some("BIGINT[]".to_owned()));
    }
}
