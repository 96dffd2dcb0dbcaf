//! CSV and TSV → rows: RFC 4180 quoting in both, any delimiter, header or `column_1`, `column_2`, ….
//!
//! An empty field is NULL, for text too (as DuckDB and Spark read CSV). A row is rejected alone for: a number of fields
//! other than the header's, invalid UTF-8, a value that is not of the column's type, more than `max_row_size` bytes
//! (an unclosed quote ends there too, instead of swallowing the file into memory).

use std::io::BufRead;

use arrow::datatypes::Schema;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::content::read_failure;
use super::json::too_long;
use super::mapping::ColumnMap;
use super::rows::{Rows, Target, targets};
use super::time::TimeReader;
use super::value::{Cell, Entry, shown};
use super::{Decoder, Step};
use crate::ingest::IngestError;
use crate::ingest::batch::{Rejection, RowFormat};

/// Fields of one record at most.
const FIELDS_MAX: usize = 16_384;
const OUTPUT_BYTES: usize = 16 << 10;

/// How a CSV file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvShape {
    pub delimiter: u8,
    pub header: Header,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The first record names the columns.
    FirstRow,
    /// Columns are `column_1`, `column_2`, …, as many as the first record has.
    None,
}

/// Splits content into records of bounded size.
struct Records<R> {
    content: R,
    core: Reader,
    limit: usize,
    output: Vec<u8>,
    ends: Vec<usize>,
}

/// What was read, left in `output` and `ends`.
enum Found {
    /// Starting on this line, with so many fields.
    Record {
        line: u64,
        fields: usize,
    },
    TooLong {
        line: u64,
        bytes: u64,
    },
    TooManyFields {
        line: u64,
    },
    End,
}

impl<R: BufRead> Records<R> {
    fn new(content: R, delimiter: u8, limit: usize) -> Self {
        let core = ReaderBuilder::new().delimiter(delimiter).build();
        Self { content, core, limit: limit.max(1), output: vec![0; OUTPUT_BYTES], ends: vec![0; 64] }
    }

    /// Skips line ends before a record, so that its line number is exact.
    fn skip_line_ends(&mut self) -> std::io::Result<()> {
        loop {
            let chunk = self.content.fill_buf()?;
            let skipped = chunk.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let newlines = chunk[..skipped].iter().filter(|byte| **byte == b'\n').count() as u64;
            let whole_chunk = skipped == chunk.len();
            self.core.set_line(self.core.line() + newlines);
            self.content.consume(skipped);
            if skipped == 0 || !whole_chunk {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> std::io::Result<Found> {
        self.skip_line_ends()?;
        let line = self.core.line();
        // `kept` bytes of the output are the record's; beyond the limit the output is written over and only counted.
        let (mut kept, mut fields, mut bytes) = (0, 0, 0_u64);
        let mut too_many = false;
        loop {
            let chunk = self.content.fill_buf()?;
            let (result, read, written, ended) =
                self.core.read_record(chunk, &mut self.output[kept..], &mut self.ends[fields..]);
            self.content.consume(read);
            bytes += written as u64;
            kept += written;
            fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.output.len() > self.limit => kept = 0,
                ReadRecordResult::OutputFull => self.output.resize((self.output.len() * 2).min(self.limit + 1), 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= FIELDS_MAX => {
                    too_many = true;
                    fields = 0;
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize((self.ends.len() * 2).min(FIELDS_MAX), 0),
                ReadRecordResult::Record if bytes > self.limit as u64 => return Ok(Found::TooLong { line, bytes }),
                ReadRecordResult::Record if too_many => return Ok(Found::TooManyFields { line }),
                ReadRecordResult::Record => return Ok(Found::Record { line, fields }),
                ReadRecordResult::End => return Ok(Found::End),
            }
        }
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.output.get(start..self.ends[index]).unwrap_or_default()
    }

    /// The record as it can be read again: fields joined, quoted where they need it.
    fn raw(&self, fields: usize, delimiter: u8) -> Vec<u8> {
        let mut raw = Vec::new();
        for index in 0..fields {
            if index > 0 {
                raw.push(delimiter);
            }
            push_field(&mut raw, self.field(index), delimiter);
        }
        // An empty line is no record.
        if raw.is_empty() { b"\"\"".to_vec() } else { raw }
    }
}

fn push_field(raw: &mut Vec<u8>, field: &[u8], delimiter: u8) {
    let needs_quotes = |byte: &u8| *byte == delimiter || matches!(byte, b'"' | b'\r' | b'\n');
    if !field.iter().any(needs_quotes) {
        return raw.extend_from_slice(field);
    }
    raw.push(b'"');
    for byte in field {
        if *byte == b'"' {
            raw.push(b'"');
        }
        raw.push(*byte);
    }
    raw.push(b'"');
}

/// Names as the first record of a file.
pub fn header_record(names: &[String], delimiter: u8) -> Vec<u8> {
    let mut record = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            record.push(delimiter);
        }
        push_field(&mut record, name.as_bytes(), delimiter);
    }
    record
}

/// Records of CSV or TSV.
pub struct CsvDecoder<R> {
    records: Records<R>,
    shape: CsvShape,
    sources: Vec<String>,
    /// For each column of the table, which field fills it.
    source_of: Vec<Option<usize>>,
    /// The column that keeps fields without one of their own, and those fields.
    extra: Option<(usize, Vec<usize>)>,
    targets: Vec<Target>,
    times: TimeReader,
    rows: Rows,
    /// The first record, when it is not a header.
    pending: Option<(u64, usize)>,
}

impl<R: BufRead + Send> CsvDecoder<R> {
    /// Reads the header, or the first record to count columns.
    ///
    /// # Errors
    /// When there is no record at all, or a column fits nothing (see [`ColumnMap`]).
    pub fn new(
        content: R,
        shape: CsvShape,
        columns: &Schema,
        map: &ColumnMap,
        times: TimeReader,
        limit: usize,
    ) -> Result<Self, IngestError> {
        let mut records = Records::new(content, shape.delimiter, limit);
        let (line, fields) = match records.next().map_err(|error| invalid(read_failure(&error)))? {
            Found::Record { line, fields } => (line, fields),
            Found::TooLong { bytes, .. } => return Err(invalid(format!("its first row {}", too_long(bytes, limit)))),
            Found::TooManyFields { .. } => {
                return Err(invalid(format!("its first row has more than {FIELDS_MAX} fields")));
            }
            Found::End => return Err(invalid("has no rows")),
        };
        let (sources, pending) = match shape.header {
            Header::None => ((1..=fields).map(|number| format!("column_{number}")).collect(), Some((line, fields))),
            Header::FirstRow => (header(&records, fields)?, None),
        };
        let source_of = map.resolve(&sources)?;
        let extra = map.extra_column().map(|column| (column, map.extras(&sources)));
        let rows = Rows::new(columns, RowFormat::Csv)?;
        let targets = targets(columns)?;
        Ok(Self { records, shape, sources, source_of, extra, targets, times, rows, pending })
    }

    /// Names of the file's columns.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Names of the table's columns that no field fills.
    pub fn unfilled(&self) -> impl Iterator<Item = &str> {
        let pairs = self.targets.iter().zip(&self.source_of);
        pairs.filter(|(_, source)| source.is_none()).map(|(target, _)| target.name.as_str())
    }

    fn read_record(&mut self, line: u64, fields: usize) {
        let raw = self.records.raw(fields, self.shape.delimiter);
        if fields != self.sources.len() {
            let reason = format!("has {fields} fields, not {}", self.sources.len());
            return self.rows.reject(Rejection::new(line, None, reason, RowFormat::Csv, &raw));
        }
        let mut cells = Vec::with_capacity(self.targets.len());
        for (target, source) in self.targets.iter().zip(&self.source_of) {
            let Some(source) = *source else {
                cells.push(Cell::Null);
                continue;
            };
            let cell = std::str::from_utf8(self.records.field(source))
                .map_err(|_| "is not valid UTF-8".to_owned())
                .and_then(|text| target.value_type.read_text(text, &self.times));
            match cell {
                Ok(cell) => cells.push(cell),
                Err(reason) => {
                    let field = Some(self.sources[source].as_str());
                    return self.rows.reject(Rejection::new(line, field, reason, RowFormat::Csv, &raw));
                }
            }
        }
        if let Err(field) = keep_extras(self.extra.as_ref(), &self.records, &self.sources, &mut cells) {
            let rejection = Rejection::new(line, Some(&field), "is not valid UTF-8", RowFormat::Csv, &raw);
            return self.rows.reject(rejection);
        }
        self.rows.accept(line, &cells, &raw);
    }
}

/// Puts fields without a column into the one for them; the name of one that is no text.
fn keep_extras<'r, R: BufRead>(
    extra: Option<&(usize, Vec<usize>)>,
    records: &'r Records<R>,
    sources: &'r [String],
    cells: &mut [Cell<'r>],
) -> Result<(), String> {
    let Some((column, fields)) = extra else { return Ok(()) };
    let mut entries: Vec<Entry<'r>> = Vec::with_capacity(fields.len());
    for field in fields {
        let text = std::str::from_utf8(records.field(*field)).map_err(|_| sources[*field].clone())?;
        if !text.is_empty() {
            entries.push((sources[*field].as_str().into(), Some(text.into())));
        }
    }
    match &mut cells[*column] {
        _ if entries.is_empty() => {}
        Cell::Map(known) => known.extend(entries),
        cell => *cell = Cell::Map(entries),
    }
    Ok(())
}

fn header<R: BufRead>(records: &Records<R>, fields: usize) -> Result<Vec<String>, IngestError> {
    let mut names = Vec::with_capacity(fields);
    for index in 0..fields {
        let name =
            std::str::from_utf8(records.field(index)).map_err(|_| invalid("its header is not valid UTF-8"))?.trim();
        // A column without a name is common in exports of data frames: their row number.
        let name = if name.is_empty() { format!("column_{}", index + 1) } else { name.to_owned() };
        if names.contains(&name) {
            return Err(invalid(format!("its header names {} twice", shown(&name))));
        }
        names.push(name);
    }
    Ok(names)
}

fn invalid(message: impl Into<String>) -> IngestError {
    IngestError::Invalid { message: message.into() }
}

impl<R: BufRead + Send> Decoder for CsvDecoder<R> {
    fn next_step(&mut self) -> Result<Option<Step>, IngestError> {
        if let Some((line, fields)) = self.pending.take() {
            self.read_record(line, fields);
        }
        while !self.rows.is_full() {
            match self.records.next().map_err(|error| invalid(read_failure(&error)))? {
                Found::Record { line, fields } => self.read_record(line, fields),
                Found::TooLong { line, bytes } => {
                    let start = &self.records.output[..self.records.output.len().min(1_024)];
                    let reason = too_long(bytes, self.records.limit);
                    let rejection = Rejection::new(line, None, reason, RowFormat::Cut, start);
                    self.rows.reject(rejection);
                }
                Found::TooManyFields { line } => {
                    let reason = format!("has more than {FIELDS_MAX} fields, not {}", self.sources.len());
                    self.rows.reject(Rejection::new(line, None, reason, RowFormat::Cut, b""));
                }
                Found::End => break,
            }
        }
        if self.rows.is_empty() { Ok(None) } else { self.rows.take().map(Some) }
    }
}
