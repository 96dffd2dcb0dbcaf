//! Rows on their way to a commit, with the proof of what has been checked in their type:
//! `Batch<Decoded>` → `Batch<Valid>` → `Batch<Unique>` → commit.
//!
//! Only the stage that checks can make the next state, so a row cannot reach a commit unchecked.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

/// What a rejected row was written in, so that REPLAY REJECTS can read it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// A JSON object.
    Json,
    /// A record of CSV or TSV with its quotes; the header is in [`Rejection::read_as`].
    Csv,
    /// An Arrow IPC stream of one row, in the columns of the source.
    Arrow,
    /// The same in the columns of the table: the row was already converted.
    Columns,
    /// Longer than `ingest.max_row_size`: only its beginning is kept, it cannot be read again.
    Cut,
}

const FORMATS: [(RowFormat, &str); 5] = [
    (RowFormat::Json, "json"),
    (RowFormat::Csv, "csv"),
    (RowFormat::Arrow, "arrow"),
    (RowFormat::Columns, "columns"),
    (RowFormat::Cut, "cut"),
];

impl RowFormat {
    /// As the rejects table has it.
    pub fn as_str(self) -> &'static str {
        FORMATS.iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }

    pub fn named(name: &str) -> Option<Self> {
        FORMATS.iter().find(|(_, known)| *known == name).map(|(format, _)| *format)
    }
}

/// One row that was not accepted, and why. It is whole: nothing that came in is lost (LATE-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// 1-based line of the file or body (of its first line, when a row spans several); row number in Parquet and JSON arrays.
    pub line: u64,
    pub field: Option<String>,
    pub reason: String,
    /// The row as it came, for people: what is not text is shown as text.
    pub row: String,
    pub format: RowFormat,
    /// The row's bytes, when `row` is not exactly them: invalid UTF-8, Arrow.
    pub raw: Option<Vec<u8>>,
    /// How its file was read, as JSON (`replay::ReadAs`); `None`: the defaults.
    pub read_as: Option<Arc<str>>,
}

impl Rejection {
    /// A rejection of the row `raw`, text in `format`; it may be anything.
    pub fn new(line: u64, field: Option<&str>, reason: impl Into<String>, format: RowFormat, raw: &[u8]) -> Self {
        let (row, raw) = match std::str::from_utf8(raw) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => (String::from_utf8_lossy(raw).into_owned(), Some(raw.to_vec())),
        };
        Self { line, field: field.map(str::to_owned), reason: reason.into(), row, format, raw, read_as: None }
    }

    /// The beginning of the row, for a message.
    pub fn shown(&self) -> String {
        const SHOWN_CHARS: usize = 1_000;
        match self.row.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}…", &self.row[..end]),
            None => self.row.clone(),
        }
    }

    /// What of the row can be read again.
    pub fn content(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.row.as_bytes())
    }

    /// `line 7, field 'price': 'x' is not an integer`
    pub fn sentence(&self) -> String {
        match &self.field {
            Some(field) => format!("line {}, field '{field}': {}", self.line, self.reason),
            None => format!("line {}: {}", self.line, self.reason),
        }
    }
}

/// Rows in the table's columns and types, in the state `S` says.
#[derive(Clone, Debug)]
pub struct Batch<S> {
    pub(super) rows: RecordBatch,
    pub(super) state: S,
}

impl<S> Batch<S> {
    pub fn row_count(&self) -> usize {
        self.rows.num_rows()
    }
}

/// Typed, nothing more. Knows where each row came from, for the rejections of the next stage.
#[derive(Debug)]
pub struct Decoded {
    pub lines: Lines,
    pub texts: Option<RowTexts>,
}

/// NOT NULL, CHECK and time limits hold; the columns have the table's nullability.
#[derive(Clone, Copy, Debug)]
pub struct Valid;

/// No row repeats an event key of the table or of this request.
#[derive(Clone, Copy, Debug)]
pub struct Unique;

/// Line numbers of a batch's rows.
#[derive(Debug)]
pub enum Lines {
    /// Consecutive, beginning here.
    From(u64),
    Each(Vec<u64>),
}

impl Lines {
    pub fn of(&self, row: usize) -> u64 {
        match self {
            Self::From(first) => first + row as u64,
            Self::Each(lines) => lines.get(row).copied().unwrap_or_default(),
        }
    }
}

/// The texts rows were decoded from, one after the other.
#[derive(Debug)]
pub struct RowTexts {
    pub format: RowFormat,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RowTexts {
    pub fn new(format: RowFormat) -> Self {
        Self { format, bytes: Vec::new(), ends: Vec::new() }
    }

    pub fn push(&mut self, raw: &[u8]) {
        self.bytes.extend_from_slice(raw);
        self.ends.push(self.bytes.len());
    }

    pub fn of(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends.get(row - 1).copied().unwrap_or_default() };
        let end = self.ends.get(row).copied().unwrap_or(start);
        self.bytes.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_rows_are_whole() {
        let bytes = vec![0xff; 10_000];
        let rejection = Rejection::new(3, Some("a"), "is bad", RowFormat::Json, &bytes);
        assert_eq!(rejection.content(), bytes);
        assert!(rejection.row.starts_with('\u{fffd}'));
        assert_eq!(rejection.sentence(), "line 3, field 'a': is bad");
        let text = "x".repeat(100_000);
        let rejection = Rejection::new(3, None, "is bad", RowFormat::Csv, text.as_bytes());
        assert_eq!((rejection.raw.is_none(), rejection.content()), (true, text.as_bytes()));
    }

    #[test]
    fn formats_have_one_name() {
        for (format, name) in FORMATS {
            assert_eq!((format.as_str(), RowFormat::named(name)), (name, Some(format)));
        }
    }

    #[test]
    fn row_texts_come_back() {
        let mut texts = RowTexts::new(RowFormat::Json);
        for text in ["a", "", "bc"] {
            texts.push(text.as_bytes());
        }
        assert_eq!((texts.of(0), texts.of(1), texts.of(2), texts.of(3)), (&b"a"[..], &b""[..], &b"bc"[..], &b""[..]));
    }
}
