//! What both protocols do to rows before sending them: no view types on the wire.
//!
//! `Utf8View`, `BinaryView` and the list views are an in-memory layout that many clients (JDBC up to 18.3 among them)
//! cannot read; they become `Utf8`, `Binary` and `List`, at any depth.

use std::sync::Arc;

use arrow::array::RecordBatchOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// The schema as it goes over the wire.
pub fn wire_schema(schema: &SchemaRef) -> SchemaRef {
    if schema.fields().iter().all(|field| wire_type(field.data_type()) == *field.data_type()) {
        return schema.clone();
    }
    let fields: Vec<FieldRef> = schema.fields().iter().map(wire_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// `batch` with the types of `schema`, which [`wire_schema`] made.
///
/// # Errors
/// Only when a value does not fit the plain type (more than 2 GiB of text in one batch).
pub fn wire_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(column.clone())
        } else {
            arrow::compute::cast(column, field.data_type())
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

fn wire_field(field: &FieldRef) -> FieldRef {
    let plain = wire_type(field.data_type());
    if plain == *field.data_type() { field.clone() } else { Arc::new(Field::clone(field).with_data_type(plain)) }
}

fn wire_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) | DataType::ListView(item) => DataType::List(wire_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(wire_field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(wire_field(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(wire_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(wire_field(entries), *sorted),
        DataType::Dictionary(key, value) => DataType::Dictionary(key.clone(), Box::new(wire_type(value))),
        other => other.clone(),
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
