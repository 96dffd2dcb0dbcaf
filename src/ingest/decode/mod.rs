//! Bytes → typed rows. A bad row becomes a rejection (line, field, reason); a bad file is an error.
//!
//! ```text
//! file ─ content (gzip, zstd) ─ lines │ csv records ─ value ─ rows ─► Step { batch, rejected }
//! Parquet ───────────────────────────────────────── cast ─────────►
//! ```
//!
//! Decoders run on a blocking thread, never panic whatever the bytes (property tests), and hold at most one batch and
//! one row of at most `ingest.max_row_size`. Not here: NOT NULL, CHECK, time limits (validate), duplicates (dedup).

pub mod arrow_rows;
pub mod column;
pub mod content;
pub mod conversion;
pub mod csv;
pub mod decimal;
pub mod json;
pub mod lines;
pub mod mapping;
pub mod parquet;
pub mod parquet_cast;
pub mod payload;
pub mod rows;
pub mod time;
pub mod value;

#[cfg(test)]
mod tests;

pub use arrow_rows::ArrowDecoder;
pub use content::{Content, open_content};
pub use csv::{CsvDecoder, CsvShape};
pub use json::{JsonArrayDecoder, NdjsonDecoder};
pub use mapping::ColumnMap;
pub use parquet::ParquetDecoder;
pub use payload::open_payload;
pub use time::TimeReader;

use super::IngestError;
use super::batch::{Batch, Decoded, Rejection};

/// Some decoded rows, and the rows between them that could not be.
#[derive(Debug)]
pub struct Step {
    pub batch: Batch<Decoded>,
    pub rejected: Vec<Rejection>,
}

/// Yields the rows of one body or file, in order.
pub trait Decoder: Send {
    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// When the whole input is no good: not the format it should be, truncated, damaged.
    fn next_step(&mut self) -> Result<Option<Step>, IngestError>;
}
