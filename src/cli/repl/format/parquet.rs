//! A Parquet file, zstd compressed; one result per file.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::super::super::failure::Failure;
use super::{RowWriter, Sink};

/// Rows of a row group; also what the writer holds in memory at most.
const ROW_GROUP_ROWS: usize = 1_000_000;

/// Writes row groups.
pub struct Parquet(Option<ArrowWriter<Sink>>);

impl Parquet {
    pub fn new(schema: &SchemaRef, sink: Sink) -> Result<Self, Failure> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        Ok(Self(Some(ArrowWriter::try_new(sink, schema.clone(), Some(properties))?)))
    }
}

impl RowWriter for Parquet {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let writer = self.0.as_mut().ok_or_else(|| Failure::new("Parquet file is already finished"))?;
        Ok(writer.write(batch)?)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        if let Some(writer) = self.0.take() {
            let mut sink = writer.into_inner()?;
            sink.flush()?;
        }
        Ok(())
    }
}
