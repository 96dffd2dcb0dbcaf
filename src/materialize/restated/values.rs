//! Keys and values as the text they are listed as.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;

use crate::base::Timestamp;
use crate::materialize::MaterializeError;
use crate::query::QueryError;

/// One JSON object per row; there are columns.
pub(super) fn json(names: &[String], columns: &[ArrayRef]) -> Result<Vec<String>, MaterializeError> {
    let fields = names.iter().zip(columns).map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let written = RecordBatch::try_new(schema, columns.to_vec()).and_then(|batch| {
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
        writer.write(&batch)?;
        writer.finish()?;
        String::from_utf8(writer.into_inner()).map_err(|error| ArrowError::JsonError(error.to_string()))
    });
    Ok(written.map_err(|error| internal(&error))?.lines().map(str::to_owned).collect())
}

/// A column of times or days; NULL outside of what is one.
pub(super) fn times(column: &ArrayRef) -> Result<Vec<Option<Timestamp>>, MaterializeError> {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let times = cast(column, &micros).map_err(|error| internal(&error))?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().iter().map(|time| time.map(Timestamp)).collect())
}

pub(super) fn internal(error: &ArrowError) -> MaterializeError {
    QueryError::Internal { message: format!("cannot tell what was restated: {error}") }.into()
}
