//! What a client asks of ingest, the same on every protocol.

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::IngestError;

/// Longest producer id.
const PRODUCER_ID_BYTES: usize = 128;

/// Rows for one table: committed together, answered once.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    pub table: String,
    pub payload: Payload,
    /// Makes a repeated request a no-op with the first one's answer.
    pub producer: Option<Producer>,
    /// `None`: as the table says (`on_error`), else reject.
    pub on_bad_row: Option<OnBadRow>,
    /// The protocol, as the rejects table shows it: `http`, `grpc`, `flight`.
    pub source: &'static str,
}

/// The rows as they came.
#[derive(Clone, Debug)]
pub enum Payload {
    /// One JSON object per line.
    Ndjson(Bytes),
    /// An array of JSON objects.
    JsonArray(Bytes),
    /// Columns by name; types that fit the table's are cast.
    Arrow(Vec<RecordBatch>),
}

/// What happens to a request with a bad row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRow {
    /// The row goes to the rejects table, the others are taken.
    #[default]
    Reject,
    /// Nothing is taken; the error names the first bad row.
    Fail,
}

/// An idempotent producer's step: `sequence` grows by one with every request of `id` (Kafka's idempotent producer,
/// KIP-98). A request with a sequence that was answered before gets that answer again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    pub id: String,
    pub sequence: u64,
}

impl Producer {
    /// # Errors
    /// An empty, long or unprintable id; a negative sequence.
    pub fn new(id: &str, sequence: i64) -> Result<Self, IngestError> {
        let printable = !id.is_empty() && id.chars().all(|c| c.is_ascii_graphic());
        if !printable || id.len() > PRODUCER_ID_BYTES {
            let message =
                format!("producer id must be 1 to {PRODUCER_ID_BYTES} printable ASCII characters without spaces");
            return Err(IngestError::Invalid { message });
        }
        let sequence = u64::try_from(sequence).map_err(|_| IngestError::Invalid {
            message: format!("producer sequence is {sequence}; it begins at 0 or above and grows by one"),
        })?;
        Ok(Self { id: id.to_owned(), sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_are_checked() {
        assert!(Producer::new("edge-1", 0).is_ok());
        for (id, sequence) in [("", 1), ("a b", 1), ("é", 1), ("a", -1)] {
            assert!(Producer::new(id, sequence).is_err(), "{id} {sequence}");
        }
        assert!(Producer::new(&"x".repeat(129), 1).is_err());
    }
}
