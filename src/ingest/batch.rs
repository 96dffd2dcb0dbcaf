//! Rows on their way to a commit, with the proof of what has been checked in their type:
//! `Batch<Decoded>` → `Batch<Valid>` → `Batch<Unique>` → commit.
//!
//! Only the stage that checks can make the next state, so a row cannot reach a commit unchecked.

use arrow::record_batch::RecordBatch;

/// Text of a rejected row that is kept.
pub const REJECTED_ROW_BYTES: usize = 4 << 10;

/// One row that was not accepted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// 1-based line of the file or body (of its first line, when a row spans several); row number in Parquet and JSON arrays.
    pub line: u64,
    pub field: Option<String>,
    pub reason: String,
    /// The row as it came, cut at 4 KiB.
    pub row: String,
}

impl Rejection {
    /// A rejection of the row `raw`, which may be anything and any length.
    pub fn new(line: u64, field: Option<&str>, reason: impl Into<String>, raw: &[u8]) -> Self {
        Self { line, field: field.map(str::to_owned), reason: reason.into(), row: cut(raw) }
    }

    /// `line 7, field 'price': 'x' is not an integer`
    pub fn sentence(&self) -> String {
        match &self.field {
            Some(field) => format!("line {}, field '{field}': {}", self.line, self.reason),
            None => format!("line {}: {}", self.line, self.reason),
        }
    }
}

fn cut(raw: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&raw[..raw.len().min(REJECTED_ROW_BYTES)]).into_owned();
    // Replacement characters are longer than the bytes they stand for.
    if text.len() > REJECTED_ROW_BYTES {
        let end = (0..=REJECTED_ROW_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
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
#[derive(Debug, Default)]
pub struct RowTexts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RowTexts {
    /// Keeps as much of `raw` as a rejection would show.
    pub fn push(&mut self, raw: &[u8]) {
        self.bytes.extend_from_slice(&raw[..raw.len().min(REJECTED_ROW_BYTES)]);
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
    fn rejected_rows_are_cut_and_made_printable() {
        let rejection = Rejection::new(3, Some("a"), "is bad", &vec![0xff; 10_000]);
        assert!(rejection.row.len() <= REJECTED_ROW_BYTES, "{}", rejection.row.len());
        assert_eq!(rejection.sentence(), "line 3, field 'a': is bad");
    }

    #[test]
    fn row_texts_come_back() {
        let mut texts = RowTexts::default();
        for text in ["a", "", "bc"] {
            texts.push(text.as_bytes());
        }
        assert_eq!((texts.of(0), texts.of(1), texts.of(2), texts.of(3)), (&b"a"[..], &b""[..], &b"bc"[..], &b""[..]));
    }
}
