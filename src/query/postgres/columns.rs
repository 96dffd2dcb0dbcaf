//! Columns of the tables of `pg_catalog`, written as `name:kind` or `name:kind=default`, and rows of them.
//!
//! Kinds: `t` text, `n` number, `f` flag, `a` list of texts. A row names what differs from the defaults; without one that is
//! NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::query::QueryError;

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// One row: names and values.
pub(super) type Row = Vec<(&'static str, Cell)>;

struct Column<'c> {
    name: &'c str,
    kind: &'c str,
    default: Option<&'c str>,
}

fn columns(text: &str) -> impl Iterator<Item = Column<'_>> {
    text.split_whitespace().map(|word| {
        let (name, rest) = word.split_once(':').unwrap_or((word, "t"));
        let (kind, default) = match rest.split_once('=') {
            Some((kind, default)) => (kind, Some(default)),
            None => (rest, None),
        };
        Column { name, kind, default }
    })
}

pub(super) fn schema(text: &str) -> SchemaRef {
    let field = |column: Column<'_>| {
        let data_type = match column.kind {
            "n" => DataType::Int64,
            "f" => DataType::Boolean,
            "a" => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
            _ => DataType::Utf8,
        };
        Field::new(column.name, data_type, true)
    };
    Arc::new(Schema::new(columns(text).map(field).collect::<Vec<_>>()))
}

/// Rows of the table whose columns are `text`.
///
/// # Errors
/// A value of another kind than its column: a bug.
pub(super) fn batch(text: &str, rows: &[Row]) -> Result<RecordBatch, QueryError> {
    let arrays = columns(text).map(|column| array(&column, rows)).collect();
    RecordBatch::try_new(schema(text), arrays).map_err(|error| QueryError::Internal { message: error.to_string() })
}

fn array(column: &Column<'_>, rows: &[Row]) -> ArrayRef {
    let cells = || rows.iter().map(|row| row.iter().find(|(name, _)| *name == column.name).map(|(_, cell)| cell));
    match column.kind {
        "n" => {
            let default = column.default.and_then(|text| text.parse().ok());
            Arc::new(
                cells()
                    .map(|cell| match cell {
                        Some(Cell::Number(number)) => Some(*number),
                        Some(_) => None,
                        None => default,
                    })
                    .collect::<Int64Array>(),
            )
        }
        "f" => {
            let default = column.default.map(|text| text == "true");
            Arc::new(
                cells()
                    .map(|cell| match cell {
                        Some(Cell::Flag(flag)) => Some(*flag),
                        Some(_) => None,
                        None => default,
                    })
                    .collect::<BooleanArray>(),
            )
        }
        "a" => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            cells().for_each(|_| lists.append(false));
            Arc::new(lists.finish())
        }
        _ => Arc::new(
            cells()
                .map(|cell| match cell {
                    Some(Cell::Text(text)) => Some(text.as_str()),
                    Some(_) => None,
                    None => column.default,
                })
                .collect::<StringArray>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn rows_have_defaults() {
        let rows = [vec![("a", Cell::text("x"))], vec![("b", Cell::Number(7)), ("c", Cell::Null)]];
        let batch = batch("a:t b:n=1 c:f=true d:a e:t=", &rows).unwrap();
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "x");
        assert!(batch.column(0).is_null(1));
        assert_eq!(batch.column(1).as_primitive::<arrow::datatypes::Int64Type>().values(), &[1, 7]);
        assert!(batch.column(2).as_boolean().value(0) && batch.column(2).is_null(1));
        assert!(batch.column(3).is_null(0));
        assert_eq!(batch.column(4).as_string::<i32>().value(0), "");
    }
}
