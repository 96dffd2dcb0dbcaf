//! Values of a batch as text, and text made safe for a terminal.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The cells of one batch.
pub struct Cells<'a> {
    columns: Vec<(&'a ArrayRef, ArrayFormatter<'a>)>,
}

impl<'a> Cells<'a> {
    /// # Errors
    /// A column type that has no text form.
    pub fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let options = FormatOptions::default();
        let columns = batch.columns().iter();
        let columns = columns.map(|column| Ok((column, ArrayFormatter::try_new(column.as_ref(), &options)?)));
        Ok(Self { columns: columns.collect::<Result<_, ArrowError>>()? })
    }

    pub fn column_count(&self) -> usize {
        self.columns.len()
    }

    /// `None` is NULL.
    ///
    /// # Errors
    /// A value outside what its type can show, such as a date beyond the calendar.
    pub fn text(&self, column: usize, row: usize) -> Result<Option<String>, ArrowError> {
        let (array, formatter) = &self.columns[column];
        let is_null = array.is_null(row) || array.data_type() == &DataType::Null;
        if is_null { Ok(None) } else { formatter.value(row).try_to_string().map(Some) }
    }
}

/// Whether values of this type line up at the right.
pub fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Text for one line of a terminal: control characters, which could also be terminal commands, are spelled out.
pub fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}
