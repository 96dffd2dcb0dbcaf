//! The payload of a request → its decoder, reading for one table.

use std::io::Cursor;

use arrow::datatypes::Schema;

use super::{ArrowDecoder, ColumnMap, Decoder, JsonArrayDecoder, NdjsonDecoder, TimeReader};
use crate::catalog::UnknownFields;
use crate::ingest::{IngestError, Payload};

/// Rows of at most `limit` bytes, for a table of these columns that says so of unknown fields.
///
/// # Errors
/// A body that is no JSON array, Arrow columns that fit nothing, a column of the table that the format cannot fill.
pub fn open_payload(
    payload: Payload,
    columns: &Schema,
    unknown: UnknownFields,
    limit: usize,
) -> Result<Box<dyn Decoder>, IngestError> {
    let map = ColumnMap::new(&[], columns)?.with_unknown(unknown);
    let times = TimeReader::standard();
    Ok(match payload {
        Payload::Ndjson(body) => Box::new(NdjsonDecoder::new(Cursor::new(body), columns, map, times, limit)?),
        Payload::JsonArray(body) => Box::new(JsonArrayDecoder::new(body, columns, map, limit)?),
        Payload::Arrow(batches) => Box::new(ArrowDecoder::new(batches, columns, &map, &times)?),
    })
}
