//! How many bytes rows take in a file of a table, found by writing them to memory.

use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::PAGE_ROWS;
use crate::storage::{StorageConfig, StorageError};

/// Bytes of one file of `rows`, which have one schema; encoded as files of tables are.
pub(crate) fn encoded_bytes(rows: &[RecordBatch], config: &StorageConfig) -> Result<u64, StorageError> {
    let Some(first) = rows.first() else { return Ok(0) };
    let encode = || {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(config.compression_level)?))
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_statistics_enabled(EnabledStatistics::Page)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), first.schema(), Some(properties))?;
        rows.iter().try_for_each(|batch| writer.write(batch))?;
        Ok(writer.into_inner()?.len() as u64)
    };
    encode().map_err(|error: ParquetError| StorageError::engine("measure rows", error.into()))
}
