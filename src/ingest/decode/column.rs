//! Builds one Arrow column from [`Cell`]s.
//!
//! Narrow types are built wide and cast once per batch at the end: cells are checked against their range when read.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, ListArray, MapBuilder, MapFieldNames,
    NullBufferBuilder, StringBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use super::value::{Cell, ValueType};

pub struct ColumnBuilder {
    data_type: DataType,
    values: Values,
}

enum Values {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    List { item: FieldRef, lengths: Vec<usize>, nulls: NullBufferBuilder, items: Box<ColumnBuilder> },
    Map(Box<TextMapBuilder>),
}

/// Builds a `MAP<VARCHAR, VARCHAR>` column.
pub type TextMapBuilder = MapBuilder<StringBuilder, StringBuilder>;

/// With the names Delta gives.
pub fn text_map_builder() -> TextMapBuilder {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

impl ColumnBuilder {
    /// # Errors
    /// For types that text formats cannot fill (as [`ValueType::of`]).
    pub fn new(data_type: &DataType) -> Result<Self, String> {
        let values = match (ValueType::of(data_type)?, data_type) {
            (ValueType::Bool, _) => Values::Bool(BooleanBuilder::new()),
            (ValueType::Int { .. } | ValueType::Date | ValueType::Timestamp, _) => Values::Int(Int64Builder::new()),
            (ValueType::Float { .. }, _) => Values::Float(Float64Builder::new()),
            (ValueType::Decimal { .. }, _) => {
                Values::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()))
            }
            (ValueType::List(_), DataType::List(item)) => Values::List {
                item: item.clone(),
                lengths: Vec::new(),
                nulls: NullBufferBuilder::new(0),
                items: Box::new(Self::new(item.data_type())?),
            },
            (ValueType::Map, _) => Values::Map(Box::new(text_map_builder())),
            (ValueType::Text | ValueType::List(_), _) => Values::Text(StringBuilder::new()),
        };
        Ok(Self { data_type: data_type.clone(), values })
    }

    /// Appends a cell that was read for this column's type; any other is NULL (no reader makes one).
    pub fn push(&mut self, cell: &Cell<'_>) {
        match &mut self.values {
            Values::Bool(values) => {
                values.append_option(if let Cell::Bool(value) = cell { Some(*value) } else { None })
            }
            Values::Int(values) => values.append_option(if let Cell::Int(value) = cell { Some(*value) } else { None }),
            Values::Float(values) => {
                values.append_option(if let Cell::Float(value) = cell { Some(*value) } else { None });
            }
            Values::Decimal(values) => {
                values.append_option(if let Cell::Decimal(value) = cell { Some(*value) } else { None });
            }
            Values::Text(values) => values.append_option(if let Cell::Text(value) = cell { Some(value) } else { None }),
            Values::Map(values) => {
                let entries: &[_] = if let Cell::Map(entries) = cell { entries } else { &[] };
                for (key, value) in entries {
                    values.keys().append_value(key);
                    values.values().append_option(value.as_deref());
                }
                // Keys and values are appended together: they are always as many.
                let _ = values.append(matches!(cell, Cell::Map(_)));
            }
            Values::List { lengths, nulls, items, .. } => match cell {
                Cell::List(cells) => {
                    cells.iter().for_each(|cell| items.push(cell));
                    lengths.push(cells.len());
                    nulls.append_non_null();
                }
                _ => {
                    lengths.push(0);
                    nulls.append_null();
                }
            },
        }
    }

    /// The column of everything pushed since the last call.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let built: ArrayRef = match &mut self.values {
            Values::Bool(values) => Arc::new(values.finish()),
            Values::Int(values) => Arc::new(values.finish()),
            Values::Float(values) => Arc::new(values.finish()),
            Values::Decimal(values) => Arc::new(values.finish()),
            Values::Text(values) => Arc::new(values.finish()),
            Values::Map(values) => Arc::new(values.finish()),
            Values::List { item, lengths, nulls, items } => {
                let offsets = OffsetBuffer::from_lengths(lengths.drain(..));
                Arc::new(ListArray::try_new(item.clone(), offsets, items.finish()?, nulls.finish())?)
            }
        };
        if *built.data_type() == self.data_type {
            return Ok(built);
        }
        if self.data_type == DataType::Date32 {
            return cast(&cast(&built, &DataType::Int32)?, &DataType::Date32);
        }
        cast(&built, &self.data_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Date32Type, Field, Int16Type, TimeUnit, TimestampMicrosecondType};

    fn build(data_type: &DataType, cells: &[Cell<'_>]) -> ArrayRef {
        let mut builder = ColumnBuilder::new(data_type).unwrap();
        cells.iter().for_each(|cell| builder.push(cell));
        let array = builder.finish().unwrap();
        assert_eq!(array.data_type(), data_type);
        assert_eq!(array.len(), cells.len());
        assert_eq!(builder.finish().unwrap().len(), 0, "a builder starts afresh");
        array
    }

    #[test]
    fn builds_every_type() {
        let array = build(&DataType::Int16, &[Cell::Int(-7), Cell::Null]);
        assert_eq!((array.as_primitive::<Int16Type>().value(0), array.is_null(1)), (-7, true));
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(build(&time, &[Cell::Int(5)]).as_primitive::<TimestampMicrosecondType>().value(0), 5);
        assert_eq!(build(&DataType::Date32, &[Cell::Int(2)]).as_primitive::<Date32Type>().value(0), 2);
        assert_eq!(build(&DataType::Decimal128(5, 2), &[Cell::Decimal(150)]).len(), 1);
        assert_eq!(build(&DataType::LargeUtf8, &[Cell::Text("a".into())]).as_string::<i64>().value(0), "a");
        assert!(build(&DataType::Boolean, &[Cell::Bool(true)]).as_boolean().value(0));
        build(&DataType::Float32, &[Cell::Float(1.5)]);
        let list = DataType::List(Arc::new(Field::new("element", DataType::Int64, true)));
        let array = build(&list, &[Cell::List(vec![Cell::Int(1), Cell::Null]), Cell::Null, Cell::List(vec![])]);
        let lengths: Vec<_> = array.as_list::<i32>().iter().map(|list| list.map(|list| list.len())).collect();
        assert_eq!(lengths, [Some(2), None, Some(0)]);
        let map = text_map_builder().finish().data_type().clone();
        let entries = vec![("a".into(), Some("1".into())), ("b".into(), None)];
        let array = build(&map, &[Cell::Map(entries), Cell::Null, Cell::Map(Vec::new())]);
        let lengths: Vec<_> = array.as_map().iter().map(|entries| entries.map(|entries| entries.len())).collect();
        assert_eq!(lengths, [Some(2), None, Some(0)]);
    }
}
