//! Arrow batches of a request → rows; columns by name, types that fit are cast.

use std::vec::IntoIter;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use super::conversion::Conversion;
use super::mapping::ColumnMap;
use super::time::TimeReader;
use super::{Decoder, Step};
use crate::ingest::IngestError;

pub struct ArrowDecoder {
    batches: IntoIter<RecordBatch>,
    /// `None` without batches.
    conversion: Option<Conversion>,
    next_row: u64,
}

impl ArrowDecoder {
    /// # Errors
    /// Names a column that the table does not have or whose type can never become the table's.
    pub fn new(
        batches: Vec<RecordBatch>,
        columns: &Schema,
        map: &ColumnMap,
        times: &TimeReader,
    ) -> Result<Self, IngestError> {
        let of = |first: &RecordBatch| Conversion::new(&first.schema(), columns, map, times);
        let conversion = batches.first().map(of).transpose()?;
        Ok(Self { batches: batches.into_iter(), conversion, next_row: 1 })
    }
}

impl Decoder for ArrowDecoder {
    fn next_step(&mut self) -> Result<Option<Step>, IngestError> {
        let (Some(batch), Some(conversion)) = (self.batches.next(), &self.conversion) else { return Ok(None) };
        let step = conversion.convert(&batch, self.next_row)?;
        self.next_row += batch.num_rows() as u64;
        Ok(Some(step))
    }
}
