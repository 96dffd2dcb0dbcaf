//! What is done to rows before they are sent: types every client reads.
//!
//! Views become `Utf8`, `Binary` and plain lists, dictionaries and run-end encoded columns their values, small decimals
//! `Decimal128`, half floats `Float32`; at any depth. Top-level columns are declared nullable, so that a plan whose
//! nullability is narrower than its data cannot fail a reply.

use std::sync::Arc;

use arrow::array::RecordBatchOptions;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// The schema as it goes over the wire.
pub fn wire_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let wire = Field::new(field.name(), wire_type(field.data_type()), true);
        wire.with_metadata(field.metadata().clone())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `batch` with the types of `schema`, which [`wire_schema`] made.
///
/// # Errors
/// Only when a value does not fit the plain type (more than 2 GiB of text in one batch).
pub fn wire_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(column.clone())
        } else {
            cast_with_options(column, field.data_type(), &strict)
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

fn wire_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(wire_type(field.data_type())))
}

/// The type a column is sent as.
pub fn wire_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, value) => wire_type(value),
        DataType::RunEndEncoded(_, values) => wire_type(values.data_type()),
        DataType::List(item) | DataType::ListView(item) => DataType::List(wire_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(wire_field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(wire_field(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(wire_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(wire_field(entries), *sorted),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn view_columns_become_plain_ones() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8View, true),
            Field::new("count", DataType::Int64, false),
            Field::new("tags", DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))), true),
        ]));
        let plain = wire_schema(&schema);
        assert_eq!(plain.field(0).data_type(), &DataType::Utf8);
        assert_eq!(plain.field(2).data_type(), &DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))));

        let two = Arc::new(schema.project(&[0, 1]).unwrap());
        let name = StringViewArray::from(vec![Some("a string longer than twelve bytes"), None]);
        let batch = RecordBatch::try_new(two.clone(), vec![Arc::new(name), Arc::new(Int64Array::from(vec![1, 2]))]);
        let sent = wire_batch(&batch.unwrap(), &wire_schema(&two)).unwrap();
        assert_eq!(sent.column(0).as_string::<i32>().value(0), "a string longer than twelve bytes");
    }
}
