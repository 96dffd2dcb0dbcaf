//! Rows of `system.rejects` → typed, valid rows of their table, and the reasons of those that are still bad.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;

use super::ReadAs;
use crate::catalog::UnknownFields;
use crate::ingest::IngestError;
use crate::ingest::batch::{Batch, RowFormat, Valid};
use crate::ingest::decode::csv::{Header, header_record};
use crate::ingest::decode::{ArrowDecoder, ColumnMap, CsvDecoder, CsvShape, Decoder, JsonArrayDecoder, TimeReader};
use crate::ingest::validate::Validator;

/// Rows of one chunk, and their bytes: what is read, validated and committed together.
const CHUNK_ROWS: usize = 8_192;
const CHUNK_BYTES: usize = 32 << 20;

/// One rejected row as it is kept.
#[derive(Clone, Debug)]
pub struct RejectedRow {
    pub id: String,
    /// `None`: kept by a version that could not replay.
    format: Option<RowFormat>,
    read_as: Option<Arc<str>>,
    content: Arc<[u8]>,
    /// The interrupted replay that had begun with it.
    pub pending: Option<String>,
}

/// Gathers rows: each chunk holds rows of one interrupted replay, all of them, or fresh ones only.
#[derive(Default)]
pub struct Chunks {
    rows: Vec<RejectedRow>,
    bytes: usize,
}

impl Chunks {
    /// Adds rows (`reject_id, format, read_as, row, raw, pending`) and gives back chunks that are full.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<Vec<Vec<RejectedRow>>, IngestError> {
        let mut full = Vec::new();
        for row in rows(batch)? {
            let same = self.rows.first().is_none_or(|first| first.pending == row.pending);
            let has_room = self.rows.len() < CHUNK_ROWS && self.bytes < CHUNK_BYTES;
            if !same || (row.pending.is_none() && !has_room) {
                full.extend(self.rest());
            }
            self.bytes += row.content.len();
            self.rows.push(row);
        }
        Ok(full)
    }

    /// What is left.
    pub fn rest(&mut self) -> Option<Vec<RejectedRow>> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        (!rows.is_empty()).then_some(rows)
    }
}

fn rows(batch: &RecordBatch) -> Result<Vec<RejectedRow>, IngestError> {
    let column = |name: &str, data_type: &DataType| {
        let missing = || IngestError::Internal { message: format!("system.rejects gave no column '{name}'") };
        let found = batch.column_by_name(name).ok_or_else(missing)?;
        cast(found, data_type)
            .map_err(|error| IngestError::Internal { message: format!("column '{name}' of rejects: {error}") })
    };
    let text = |name| column(name, &DataType::Utf8);
    let (ids, formats, read_as) = (text("reject_id")?, text("format")?, text("read_as")?);
    let (texts, pending) = (text("row")?, text("pending")?);
    let raw = column("raw", &DataType::Binary)?;
    let raw = raw.as_binary::<i32>();
    let value = |column: &Arc<dyn Array>, row: usize| {
        column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned())
    };
    let mut shared: Option<Arc<str>> = None;
    let mut rows = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        // Rows of one file share the text.
        let as_text = value(&read_as, row);
        if shared.as_deref() != as_text.as_deref() {
            shared = as_text.map(Into::into);
        }
        let content = if raw.is_valid(row) { raw.value(row) } else { texts.as_string::<i32>().value(row).as_bytes() };
        rows.push(RejectedRow {
            id: value(&ids, row).unwrap_or_default(),
            format: value(&formats, row).and_then(|name| RowFormat::named(&name)),
            read_as: shared.clone(),
            content: content.into(),
            pending: value(&pending, row),
        });
    }
    Ok(rows)
}

/// Good rows, and by their place the others with the reason.
pub struct Reread {
    pub batches: Vec<Batch<Valid>>,
    pub bad: BTreeMap<usize, String>,
}

/// Reads all rows for a table of these columns.
///
/// # Errors
/// Only for what is nobody's row's fault.
pub fn reread(
    rows: &[RejectedRow],
    columns: &SchemaRef,
    unknown: UnknownFields,
    validator: &Validator,
) -> Result<Reread, IngestError> {
    let mut reread = Reread { batches: Vec::new(), bad: BTreeMap::new() };
    let mut from = 0;
    while let Some(first) = rows.get(from) {
        let same = |row: &&RejectedRow| row.format == first.format && row.read_as == first.read_as;
        let count = rows[from..].iter().take_while(same).count();
        let group = Group { rows: &rows[from..from + count], from, columns, unknown, validator };
        group.read(&mut reread)?;
        from += count;
    }
    Ok(reread)
}

/// Consecutive rows of one format and file.
struct Group<'a> {
    rows: &'a [RejectedRow],
    /// Place of the first one.
    from: usize,
    columns: &'a SchemaRef,
    unknown: UnknownFields,
    validator: &'a Validator,
}

impl Group<'_> {
    fn read(&self, reread: &mut Reread) -> Result<(), IngestError> {
        let outcome = match self.rows.first().and_then(|row| row.format) {
            Some(RowFormat::Json) => self.json().and_then(|decoder| self.drain(decoder, |line| line - 1)),
            Some(RowFormat::Csv) => self.csv(),
            Some(RowFormat::Arrow | RowFormat::Columns) => return self.arrow(reread),
            Some(RowFormat::Cut) => {
                Err(invalid("only its beginning was kept, as it is longer than ingest.max_row_size"))
            }
            None => Err(invalid("it was kept by an earlier version, which did not say what it was read as")),
        };
        self.settle(outcome, reread)
    }

    /// Takes over what was read. A group that cannot be read at all is bad as a whole.
    fn settle(&self, outcome: Result<Reread, IngestError>, reread: &mut Reread) -> Result<(), IngestError> {
        match outcome {
            Ok(read) => {
                let good: usize = read.batches.iter().map(Batch::row_count).sum();
                if good + read.bad.len() != self.rows.len() {
                    let (found, wanted) = (good + read.bad.len(), self.rows.len());
                    let message = format!("{wanted} rejected rows were read again as {found}; nothing was replayed");
                    return Err(IngestError::Internal { message });
                }
                reread.batches.extend(read.batches);
                reread.bad.extend(read.bad.into_iter().map(|(at, reason)| (self.from + at, reason)));
                Ok(())
            }
            Err(IngestError::Invalid { message }) => {
                reread.bad.extend((0..self.rows.len()).map(|at| (self.from + at, message.clone())));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn read_as(&self) -> Result<(ReadAs, ColumnMap, TimeReader), IngestError> {
        let stored = self.rows.first().and_then(|row| row.read_as.as_deref());
        let read_as = ReadAs::read(stored).map_err(invalid)?;
        let map = ColumnMap::new(&read_as.map, self.columns)?.with_unknown(self.unknown);
        let times = match &read_as.time_format {
            Some(pattern) => TimeReader::pattern(pattern).map_err(invalid)?,
            None => TimeReader::standard(),
        };
        Ok((read_as, map, times))
    }

    fn json(&self) -> Result<JsonArrayDecoder, IngestError> {
        let (_, map, times) = self.read_as()?;
        JsonArrayDecoder::of_rows(self.rows.iter().map(|row| row.content.as_ref()), self.columns, map, times)
    }

    /// The rows as a file again, with its header.
    fn csv(&self) -> Result<Reread, IngestError> {
        let (read_as, map, times) = self.read_as()?;
        let delimiter = read_as.delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()).unwrap_or(b',');
        let shape = CsvShape { delimiter, header: Header::FirstRow };
        let mut file = header_record(&read_as.header, delimiter);
        // A record can span lines: where each begins tells them apart.
        let mut begins = BTreeMap::new();
        let newlines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut line = 1 + newlines(&file);
        for (at, row) in self.rows.iter().enumerate() {
            file.push(b'\n');
            line += 1;
            begins.insert(line - 1, at);
            file.extend_from_slice(&row.content);
            line += newlines(&row.content);
        }
        let limit = file.len();
        let decoder = CsvDecoder::new(Cursor::new(file), shape, self.columns, &map, times, limit)?;
        self.drain(decoder, |line| begins.get(&(line - 1)).map_or(u64::MAX, |at| *at as u64))
    }

    /// Rows of one schema are converted together.
    fn arrow(&self, reread: &mut Reread) -> Result<(), IngestError> {
        let mut from = 0;
        let batches: Vec<Option<RecordBatch>> = self.rows.iter().map(|row| ipc_row(&row.content)).collect();
        while let Some(first) = batches.get(from) {
            let schema = first.as_ref().map(RecordBatch::schema);
            let same = |batch: &&Option<RecordBatch>| batch.as_ref().map(RecordBatch::schema) == schema;
            let count = batches[from..].iter().take_while(same).count();
            let group = Group { rows: &self.rows[from..from + count], from: self.from + from, ..*self };
            let rows: Option<Vec<RecordBatch>> = batches[from..from + count].iter().cloned().collect();
            let outcome = match rows {
                None => Err(invalid("its bytes are damaged")),
                Some(rows) => group
                    .read_as()
                    .and_then(|(_, map, times)| ArrowDecoder::new(rows, self.columns, &map, &times))
                    .and_then(|decoder| group.drain(decoder, |line| line - 1)),
            };
            group.settle(outcome, reread)?;
            from += count;
        }
        Ok(())
    }

    /// Decodes and validates; `place` makes the row's place in the group of its line.
    fn drain(&self, mut decoder: impl Decoder, place: impl Fn(u64) -> u64) -> Result<Reread, IngestError> {
        let mut read = Reread { batches: Vec::new(), bad: BTreeMap::new() };
        while let Some(step) = decoder.next_step()? {
            let validated = self.validator.validate(step.batch)?;
            for rejection in step.rejected.into_iter().chain(validated.rejected) {
                let reason = match &rejection.field {
                    Some(field) => format!("field '{field}': {}", rejection.reason),
                    None => rejection.reason.clone(),
                };
                read.bad.insert(usize::try_from(place(rejection.line)).unwrap_or(usize::MAX), reason);
            }
            if validated.batch.row_count() > 0 {
                read.batches.push(validated.batch);
            }
        }
        Ok(read)
    }
}

fn ipc_row(content: &[u8]) -> Option<RecordBatch> {
    StreamReader::try_new(content, None).ok()?.next()?.ok()
}

fn invalid(message: impl Into<String>) -> IngestError {
    IngestError::Invalid { message: message.into() }
}
