//! What clients ask about the server and its tables before they ask for data.
//!
//! Every answer is small and built in memory. An absent filter means "all".

mod catalogs;
mod keys;
mod sql_info;
mod tables;
mod type_info;

pub(super) use catalogs::{catalogs, schemas, table_types};
pub(super) use keys::{primary_keys_schema, reference_keys_schema};
pub(super) use sql_info::{sql_info, sql_info_rows};
pub(super) use type_info::type_info;

use super::error::internal;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::error::FlightError;
use tonic::Status;

/// A metadata answer: its schema is known even when it is empty.
pub(super) struct Table {
    pub schema: SchemaRef,
    pub batch: Option<RecordBatch>,
}

/// An error of the builders is a bug of ours.
fn built(batch: Result<RecordBatch, FlightError>) -> Result<Table, Status> {
    let batch = batch.map_err(|error| internal(format!("cannot build metadata: {error}")))?;
    Ok(Table { schema: batch.schema(), batch: Some(batch) })
}
