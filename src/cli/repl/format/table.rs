//! Tables for people: aligned columns, or one column per line.
//!
//! ```text
//!  ad_id      | clicks
//! ------------+--------
//!  ad00000001 |     12
//! (1 row)
//! ```
//! Column widths come from the first [`WIDTH_ROWS`] rows, the only rows held back; a wider value further down pushes its
//! line out instead of being cut. A value of several lines (a plan of EXPLAIN) takes as many lines of the table.

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

/// A cell as shown.
struct Shown {
    /// At least one; a line break at the end of the value adds none.
    lines: Vec<String>,
    is_null: bool,
}

impl Shown {
    /// NULL is `NULL`, a text that reads `NULL` is quoted.
    fn of(value: Option<String>) -> Self {
        let is_null = value.is_none();
        let lines = match value.as_deref() {
            None => vec!["NULL".to_owned()],
            Some("NULL") => vec!["'NULL'".to_owned()],
            Some(text) if text.contains('\n') => text.lines().map(printable).collect(),
            Some(text) => vec![printable(text)],
        };
        Self { lines, is_null }
    }

    fn width(&self) -> usize {
        self.lines.iter().map(|line| line.width()).max().unwrap_or(0)
    }

    /// Line `at`, filled up to `width`, in colour.
    fn line(&self, at: usize, width: usize, right: bool, colour: bool) -> String {
        let text = self.lines.get(at).map(String::as_str).unwrap_or_default();
        let gap = " ".repeat(width.saturating_sub(text.width()));
        let (dim, plain) = if self.is_null && colour && !text.is_empty() { (DIM, PLAIN) } else { ("", "") };
        if right { format!("{gap}{dim}{text}{plain}") } else { format!("{dim}{text}{plain}{gap}") }
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
                    column.width = column.width.max(Shown::of(cells.text(at, row)?).width());
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
        for row in 0..batch.num_rows() {
            let texts = (0..self.columns.len()).map(|at| cells.text(at, row).map(Shown::of));
            let row: Vec<Shown> = texts.collect::<Result<_, _>>()?;
            let height = row.iter().map(|cell| cell.lines.len()).max().unwrap_or(1);
            for at in 0..height {
                let cells = row.iter().zip(&self.columns);
                let cells = cells.map(|(cell, column)| cell.line(at, column.width, column.right, self.colour));
                let line = cells.collect::<Vec<_>>().join(" | ");
                writeln!(self.sink, " {}", line.trim_end_matches(' '))?;
            }
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
                let cell = Shown::of(cells.text(at, row)?);
                for line in 0..cell.lines.len() {
                    let name = if line == 0 { column.name.as_str() } else { "" };
                    let gap = " ".repeat(column.width - name.width());
                    writeln!(self.sink, "{name}{gap} | {}", cell.line(line, 0, false, self.colour))?;
                }
            }
        }
        Ok(self.sink.flush()?)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        writeln!(self.sink, "{}", row_count(self.rows))?;
        Ok(self.sink.flush()?)
    }
}
