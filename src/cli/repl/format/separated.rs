//! CSV (RFC 4180), TSV (PostgreSQL's text form) and Markdown tables: one line per row.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::super::super::failure::Failure;
use super::cells::{Cells, is_number};
use super::{RowWriter, Sink};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Csv,
    Tsv,
    Markdown,
}

/// Writes lines.
pub struct Separated {
    kind: Kind,
    schema: SchemaRef,
    sink: Sink,
    has_header: bool,
}

impl Separated {
    pub fn new(kind: Kind, schema: &SchemaRef, sink: Sink) -> Self {
        Self { kind, schema: schema.clone(), sink, has_header: false }
    }

    fn header(&mut self) -> Result<(), Failure> {
        if self.has_header {
            return Ok(());
        }
        self.has_header = true;
        let names = self.schema.fields().iter().map(|field| self.kind.cell(Some(field.name())));
        let mut text = self.kind.line(&names.collect::<Vec<_>>());
        if self.kind == Kind::Markdown {
            let rule = |number: bool| if number { "--:" } else { "---" }.to_owned();
            let rules = self.schema.fields().iter().map(|field| rule(is_number(field.data_type())));
            text.push_str(&self.kind.line(&rules.collect::<Vec<_>>()));
        }
        Ok(self.sink.write_all(text.as_bytes())?)
    }
}

impl RowWriter for Separated {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.header()?;
        let cells = Cells::of(batch)?;
        let mut line = Vec::with_capacity(cells.column_count());
        for row in 0..batch.num_rows() {
            line.clear();
            for column in 0..cells.column_count() {
                line.push(self.kind.cell(cells.text(column, row)?.as_deref()));
            }
            self.sink.write_all(self.kind.line(&line).as_bytes())?;
        }
        Ok(self.sink.flush()?)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.header()?;
        Ok(self.sink.flush()?)
    }
}

impl Kind {
    fn line(self, cells: &[String]) -> String {
        match self {
            Self::Csv => cells.join(",") + "\n",
            Self::Tsv => cells.join("\t") + "\n",
            Self::Markdown => format!("| {} |\n", cells.join(" | ")),
        }
    }

    fn cell(self, value: Option<&str>) -> String {
        match (self, value) {
            (Self::Csv, None) => String::new(),
            (Self::Csv, Some(text)) => csv_cell(text),
            (Self::Tsv, None) => "\\N".to_owned(),
            (Self::Tsv, Some(text)) => {
                text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
            }
            (Self::Markdown, None) => "*NULL*".to_owned(),
            (Self::Markdown, Some(text)) => {
                text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', "<br>").replace('\r', "")
            }
        }
    }
}

/// Quoted when it must be, and when empty: an empty field without quotes is NULL.
fn csv_cell(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
