//! NDJSON and JSON arrays → rows. Each row is one object whose fields are columns of the table.
//!
//! A row is rejected alone for: not an object, bad JSON, invalid UTF-8, a field the table does not have (unless its
//! `unknown_fields` says otherwise), a field given twice, a value that is not of the column's type, more than `max_row_size` bytes. A JSON array that is not valid JSON
//! as a whole cannot be split into rows, so it is refused as a whole.

use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;
use std::sync::Arc;

use arrow::datatypes::Schema;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::content::read_failure;
use super::lines::{Line, LineReader};
use super::mapping::{ColumnMap, Filled};
use super::rows::{Rows, Target, targets};
use super::time::TimeReader;
use super::value::{Cell, Entry, map_value};
use super::{Decoder, Step};
use crate::base::ByteSize;
use crate::ingest::IngestError;
use crate::ingest::batch::{Rejection, RowFormat};

/// What is wrong with a row: the field, when it is one field's fault.
struct BadRow {
    field: Option<String>,
    reason: String,
}

impl BadRow {
    fn row(reason: impl Into<String>) -> Self {
        Self { field: None, reason: reason.into() }
    }

    fn field(field: &str, reason: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), reason: reason.into() }
    }
}

/// Reads one object into cells, in the table's column order.
struct ObjectReader {
    targets: Vec<Target>,
    map: ColumnMap,
    times: TimeReader,
    /// What each field name seen so far fills; names of strangers only so many, they could be endless.
    known: HashMap<String, Known>,
    /// The column of kept strangers.
    extra: Option<usize>,
}

/// Names of strangers that are remembered.
const STRANGERS_KNOWN: usize = 4_096;

#[derive(Clone)]
enum Known {
    Columns(Arc<[usize]>),
    Extra,
}

/// The fields of one object, values still text.
struct RawFields<'a>(Vec<(std::borrow::Cow<'a, str>, &'a RawValue)>);

impl<'de> Visitor<'de> for RawFields<'de> {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Self, A::Error> {
        while let Some((Key(name), value)) = access.next_entry::<Key<'de>, &'de RawValue>()? {
            self.0.push((name, value));
        }
        Ok(self)
    }
}

/// A field name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

impl ObjectReader {
    fn new(columns: &Schema, map: ColumnMap, times: TimeReader) -> Result<Self, IngestError> {
        let extra = map.extra_column();
        Ok(Self { targets: targets(columns)?, map, times, known: HashMap::new(), extra })
    }

    fn read<'a>(&mut self, text: &'a str) -> Result<Vec<Cell<'a>>, BadRow> {
        if !text.trim_start().starts_with('{') {
            return Err(BadRow::row("is not a JSON object"));
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let fields = deserializer.deserialize_map(RawFields(Vec::with_capacity(self.targets.len())));
        let fields = fields.map_err(|error| BadRow::row(bad_json(&error)))?.0;
        deserializer.end().map_err(|_| BadRow::row("is not valid JSON: something follows the object"))?;
        let mut cells = vec![None; self.targets.len()];
        let mut extras: Vec<Entry<'a>> = Vec::new();
        for (at, (name, value)) in fields.iter().enumerate() {
            let columns = match self.filled_by(name)? {
                Known::Columns(columns) => columns,
                Known::Extra => {
                    if extras.iter().any(|(other, _)| other == name) {
                        return Err(BadRow::field(name, "is given twice"));
                    }
                    let kept = map_value(value).map_err(|reason| BadRow::field(name, reason))?;
                    extras.push((name.clone(), kept));
                    continue;
                }
            };
            for column in columns.iter().copied() {
                let target = &self.targets[column];
                let cell = target.value_type.read_json(value, &self.times);
                let cell = cell.map_err(|reason| BadRow::field(name, reason))?;
                if cells[column].replace(cell).is_some() {
                    return Err(BadRow::field(name, twice(name, &target.name, &fields[..at])));
                }
            }
        }
        if let Some(column) = self.extra.filter(|_| !extras.is_empty()) {
            match &mut cells[column] {
                Some(Cell::Map(entries)) => entries.extend(extras),
                cell => *cell = Some(Cell::Map(extras)),
            }
        }
        Ok(cells.into_iter().map(|cell| cell.unwrap_or(Cell::Null)).collect())
    }

    fn filled_by(&mut self, name: &str) -> Result<Known, BadRow> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let (known, is_stranger) = match self.map.filled_by(name) {
            Filled::Columns(columns) => (Known::Columns(columns.clone().into()), columns.is_empty()),
            Filled::Extra => (Known::Extra, true),
            Filled::Unknown => {
                let near = self.map.near(name);
                return Err(BadRow::field(name, format!("is not a column of the table{near}")));
            }
        };
        if !is_stranger || self.known.len() < STRANGERS_KNOWN {
            self.known.insert(name.to_owned(), known.clone());
        }
        Ok(known)
    }

    /// Reads one row into `rows`: accepted or rejected.
    fn read_into(&mut self, rows: &mut Rows, line: u64, raw: &[u8]) {
        let text = match std::str::from_utf8(raw) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("is not valid UTF-8 (byte {})", error.valid_up_to() + 1);
                return rows.reject(Rejection::new(line, None, reason, RowFormat::Json, raw));
            }
        };
        match self.read(text) {
            Ok(cells) => rows.accept(line, &cells, raw),
            Err(BadRow { field, reason }) => {
                rows.reject(Rejection::new(line, field.as_deref(), reason, RowFormat::Json, raw));
            }
        }
    }
}

fn twice(name: &str, column: &str, before: &[(std::borrow::Cow<'_, str>, &RawValue)]) -> String {
    if before.iter().any(|(other, _)| other == name) {
        "is given twice".to_owned()
    } else {
        format!("fills column '{column}', which another field of this row fills already")
    }
}

fn bad_json(error: &serde_json::Error) -> String {
    // Rows are one line each: only the column says something.
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    format!("is not valid JSON: {text} at character {}", error.column())
}

pub(super) fn too_long(bytes: u64, limit: usize) -> String {
    format!("is {bytes} bytes long, more than the {} a row may have (ingest.max_row_size)", ByteSize(limit as u64))
}

/// One object per line.
pub struct NdjsonDecoder<R> {
    lines: LineReader<R>,
    limit: usize,
    objects: ObjectReader,
    rows: Rows,
}

impl<R: BufRead + Send> NdjsonDecoder<R> {
    /// # Errors
    /// When a column of the table has a type JSON cannot fill.
    pub fn new(
        content: R,
        columns: &Schema,
        map: ColumnMap,
        times: TimeReader,
        limit: usize,
    ) -> Result<Self, IngestError> {
        let objects = ObjectReader::new(columns, map, times)?;
        Ok(Self { lines: LineReader::new(content, limit), limit, objects, rows: Rows::new(columns, RowFormat::Json)? })
    }
}

impl<R: BufRead + Send> Decoder for NdjsonDecoder<R> {
    fn next_step(&mut self) -> Result<Option<Step>, IngestError> {
        while !self.rows.is_full() {
            let line =
                self.lines.next_line().map_err(|error| IngestError::Invalid { message: read_failure(&error) })?;
            match line {
                None => break,
                Some((_, Line::Whole(raw))) if raw.trim_ascii().is_empty() => {}
                Some((number, Line::Whole(raw))) => self.objects.read_into(&mut self.rows, number, raw),
                Some((number, Line::TooLong { start, bytes })) => {
                    let reason = too_long(bytes, self.limit);
                    let rejection = Rejection::new(number, None, reason, RowFormat::Cut, start);
                    self.rows.reject(rejection);
                }
            }
        }
        if self.rows.is_empty() { Ok(None) } else { self.rows.take().map(Some) }
    }
}

/// `[{…}, {…}]`, or one object alone. The whole body is in memory; rows are numbered from 1.
pub struct JsonArrayDecoder {
    body: bytes::Bytes,
    /// Where each row lies in the body, last first.
    left: Vec<(u64, std::ops::Range<usize>)>,
    limit: usize,
    objects: ObjectReader,
    rows: Rows,
}

impl JsonArrayDecoder {
    /// # Errors
    /// When the body is not a JSON array or object, or a column of the table has a type JSON cannot fill.
    pub fn new(body: bytes::Bytes, columns: &Schema, map: ColumnMap, limit: usize) -> Result<Self, IngestError> {
        let left = elements(&body)?;
        let objects = ObjectReader::new(columns, map, TimeReader::standard())?;
        Ok(Self { left, body, limit, objects, rows: Rows::new(columns, RowFormat::Json)? })
    }

    /// One object per element of `rows`, whatever each holds.
    ///
    /// # Errors
    /// When a column of the table has a type JSON cannot fill.
    pub fn of_rows<'r, I>(rows: I, columns: &Schema, map: ColumnMap, times: TimeReader) -> Result<Self, IngestError>
    where
        I: IntoIterator<Item = &'r [u8]>,
    {
        let mut body = Vec::new();
        let mut left = Vec::new();
        for (number, row) in (1..).zip(rows) {
            left.push((number, body.len()..body.len() + row.len()));
            body.extend_from_slice(row);
        }
        left.reverse();
        let objects = ObjectReader::new(columns, map, times)?;
        let rows = Rows::new(columns, RowFormat::Json)?;
        Ok(Self { left, body: body.into(), limit: usize::MAX, objects, rows })
    }
}

fn elements(body: &[u8]) -> Result<Vec<(u64, std::ops::Range<usize>)>, IngestError> {
    let invalid = |message: String| IngestError::Invalid { message };
    let text = std::str::from_utf8(body)
        .map_err(|error| invalid(format!("the body is not valid UTF-8 (byte {})", error.valid_up_to() + 1)))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let bad = |error: serde_json::Error| invalid(format!("the body is not a JSON array of objects: {error}"));
    let values: Vec<&RawValue> = match text.trim_start().as_bytes().first() {
        Some(b'{') => vec![serde_json::from_str(text).map_err(bad)?],
        _ => serde_json::from_str(text).map_err(bad)?,
    };
    let start = body.as_ptr().addr();
    let place = |value: &RawValue| {
        let from = value.get().as_ptr().addr() - start;
        from..from + value.get().len()
    };
    let mut places: Vec<_> = (1..).zip(values).map(|(number, value)| (number, place(value))).collect();
    places.reverse();
    Ok(places)
}

impl Decoder for JsonArrayDecoder {
    fn next_step(&mut self) -> Result<Option<Step>, IngestError> {
        while !self.rows.is_full() {
            let Some((number, place)) = self.left.pop() else { break };
            let raw = self.body.get(place).unwrap_or_default();
            if raw.len() > self.limit {
                // It is in memory already: kept whole.
                let reason = too_long(raw.len() as u64, self.limit);
                self.rows.reject(Rejection::new(number, None, reason, RowFormat::Json, raw));
            } else {
                self.objects.read_into(&mut self.rows, number, raw);
            }
        }
        if self.rows.is_empty() { Ok(None) } else { self.rows.take().map(Some) }
    }
}
