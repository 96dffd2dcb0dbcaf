//! Tables for people: aligned columns, or one column per line.
//!
//! ```text
//!  ad_id      | clicks
//! ------------+--------
//!  ad00000001 |     12
//! (1 row)
//! ```
//! Column widths come from the first [`WIDTH_ROWS`] rows, the only rows held back; a wider value further down pushes its
//! line out instead of being cut.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use unicode_width::UnicodeWidthStr;

use super::super::super::failure::Failure;
use super::cells::{Cells, is_number, printable};
use super::{RowWriter, Sink};

/// Rows whose widths are known before the first line is written.
pub const WIDTH_ROWS: usize = 1_000;

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

struct Column {
    name: String,
    right: bool,
    width: usize,
}

fn columns(schema: &SchemaRef) -> Vec<Column> {
    let column = |field: &arrow::datatypes::FieldRef| {
        let name = printable(field.name());
        Column { width: name.width(), name, right: is_number(field.data_type()) }
    };
    schema.fields().iter().map(column).collect()
}

/// A cell as shown: NULL is `NULL`, a text that reads `NULL` is quoted.
fn shown(value: Option<String>) -> (String, bool) {
    match value {
        None => ("NULL".to_owned(), true),
        Some(text) if text == "NULL" => ("'NULL'".to_owned(), false),
        Some(text) => (printable(&text), false),
    }
}

fn row_count(rows: u64) -> String {
    if rows == 1 { "(1 row)".to_owned() } else { format!("({rows} rows)") }
}

/// Aligned columns.
pub struct Aligned {
    columns: Vec<Column>,
    sink: Sink,
    colour: bool,
    held: Vec<RecordBatch>,
    held_rows: usize,
    has_header: bool,
    rows: u64,
}

impl Aligned {
    pub fn new(schema: &SchemaRef, sink: Sink, colour: bool) -> Self {
        Self { columns: columns(schema), sink, colour, held: Vec::new(), held_rows: 0, has_header: false, rows: 0 }
    }

    /// Fixes the widths from what is held, writes the header and the held rows.
    fn open(&mut self) -> Result<(), Failure> {
        self.has_header = true;
        let held = std::mem::take(&mut self.held);
        let mut left = WIDTH_ROWS;
        for batch in &held {
            let cells = Cells::of(batch)?;
            for row in 0..batch.num_rows().min(left) {
                for (at, column) in self.columns.iter_mut().enumerate() {
                    column.width = column.width.max(shown(cells.text(at, row)?).0.width());
                }
            }
            left = left.saturating_sub(batch.num_rows());
        }
        self.write_header()?;
        held.iter().try_for_each(|batch| self.write_rows(batch))
    }

    fn write_header(&mut self) -> Result<(), Failure> {
        let (bold, plain) = if self.colour { (BOLD, PLAIN) } else { ("", "") };
        let name = |column: &Column| {
            let gap = column.width - column.name.width();
            let left = gap / 2;
            format!(" {}{bold}{}{plain}{} ", " ".repeat(left), column.name, " ".repeat(gap - left))
        };
        let names: Vec<_> = self.columns.iter().map(name).collect();
        let rules: Vec<_> = self.columns.iter().map(|column| "-".repeat(column.width + 2)).collect();
        writeln!(self.sink, "{}", names.join("|").trim_end())?;
        Ok(writeln!(self.sink, "{}", rules.join("+"))?)
    }

    fn write_rows(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let cells = Cells::of(batch)?;
        let mut line = String::new();
        for row in 0..batch.num_rows() {
            line.clear();
            for (at, column) in self.columns.iter().enumerate() {
                let (text, is_null) = shown(cells.text(at, row)?);
                let gap = " ".repeat(column.width.saturating_sub(text.width()));
                let text = if is_null && self.colour { format!("{DIM}{text}{PLAIN}") } else { text };
                line.push_str(if at == 0 { " " } else { "| " });
                if column.right {
                    line.push_str(&gap);
                }
                line.push_str(&text);
                if !column.right {
                    line.push_str(&gap);
                }
                line.push(' ');
            }
            writeln!(self.sink, "{}", line.trim_end_matches(' '))?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }
}

impl RowWriter for Aligned {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        if self.has_header {
            self.write_rows(batch)?;
            return Ok(self.sink.flush()?);
        }
        self.held_rows += batch.num_rows();
        self.held.push(batch.clone());
        if self.held_rows >= WIDTH_ROWS {
            self.open()?;
            self.sink.flush()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        if !self.has_header {
            self.open()?;
        }
        writeln!(self.sink, "{}", row_count(self.rows))?;
        Ok(self.sink.flush()?)
    }
}

/// One column per line (`\x`).
pub struct Expanded {
    columns: Vec<Column>,
    sink: Sink,
    colour: bool,
    rows: u64,
}

impl Expanded {
    pub fn new(schema: &SchemaRef, sink: Sink, colour: bool) -> Self {
        let mut columns = columns(schema);
        let width = columns.iter().map(|column| column.width).max().unwrap_or(0);
        columns.iter_mut().for_each(|column| column.width = width);
        Self { columns, sink, colour, rows: 0 }
    }
}

impl RowWriter for Expanded {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let cells = Cells::of(batch)?;
        for row in 0..batch.num_rows() {
            self.rows += 1;
            writeln!(self.sink, "-[ row {} ]{}", self.rows, "-".repeat(20))?;
            for (at, column) in self.columns.iter().enumerate() {
                let (text, is_null) = shown(cells.text(at, row)?);
                let text = if is_null && self.colour { format!("{DIM}{text}{PLAIN}") } else { text };
                let gap = " ".repeat(column.width - column.name.width());
                writeln!(self.sink, "{}{gap} | {text}", column.name)?;
            }
        }
        Ok(self.sink.flush()?)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        writeln!(self.sink, "{}", row_count(self.rows))?;
        Ok(self.sink.flush()?)
    }
}
