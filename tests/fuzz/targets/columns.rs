//! The columns the decoders read for: one of every type.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

pub const ROW_BYTES_MAX: usize = 1 << 16;

pub fn columns() -> Schema {
    Schema::new(vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("number", DataType::Int64, true),
        Field::new("real", DataType::Float64, true),
        Field::new("money", DataType::Decimal128(12, 2), true),
        Field::new("truth", DataType::Boolean, true),
        Field::new("day", DataType::Date32, true),
        Field::new("moment", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ])
}
