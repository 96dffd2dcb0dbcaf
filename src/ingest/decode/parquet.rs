//! Parquet → rows, a batch at a time, whole columns at once: no work per row unless a row is bad.
//!
//! [`super::conversion`] makes table columns of file columns. Only the columns the table wants are read. A damaged or
//! truncated file is an error.

use std::fs::File;

use arrow::datatypes::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::conversion::Conversion;
use super::mapping::ColumnMap;
use super::rows::BATCH_ROWS;
use super::time::TimeReader;
use super::{Decoder, Step};
use crate::ingest::IngestError;

pub struct ParquetDecoder {
    reader: ParquetRecordBatchReader,
    conversion: Conversion,
    /// Row number of the next batch's first row, from 1.
    next_row: u64,
    row_total: u64,
}

impl ParquetDecoder {
    /// Opens the file and matches its columns with the table's.
    ///
    /// # Errors
    /// When the file is not (whole) Parquet, a column fits nothing, or a type can never become the table's.
    pub fn new(file: File, columns: &Schema, map: &ColumnMap, times: &TimeReader) -> Result<Self, IngestError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(&error))?;
        let conversion = Conversion::new(builder.schema(), columns, map, times)?;
        let row_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
        let mask = ProjectionMask::roots(builder.parquet_schema(), conversion.positions());
        let reader =
            builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|error| damaged(&error))?;
        Ok(Self { reader, conversion: conversion.projected(), next_row: 1, row_total })
    }

    /// Rows the file says it has.
    pub fn row_total(&self) -> u64 {
        self.row_total
    }

    /// Names of the table's columns that the file has nothing for.
    pub fn unfilled(&self) -> impl Iterator<Item = &str> {
        self.conversion.unfilled()
    }
}

impl Decoder for ParquetDecoder {
    fn next_step(&mut self) -> Result<Option<Step>, IngestError> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| damaged(&error))?;
        let step = self.conversion.convert(&batch, self.next_row)?;
        self.next_row += batch.num_rows() as u64;
        Ok(Some(step))
    }
}

fn damaged(error: &dyn std::error::Error) -> IngestError {
    IngestError::Invalid { message: format!("is not a whole Parquet file: {error}") }
}
