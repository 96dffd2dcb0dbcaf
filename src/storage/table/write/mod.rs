//! Rows → sorted Parquet files that no version names yet.
//!
//! ```text
//!   rows ─► prepare ──► sort ───────────► split ─────────────► file (several at once)
//!           types,      in memory, or     by partition,        row groups: columns encoded in parallel,
//!           nulls,      spilling (SortExec  row groups, size      page index, blooms ─► store
//!           partition    and merge)                            statistics ─► StagedFile
//! ```
//!
//! Rows that come in slices are sorted slice by slice (`slices`).
//!
//! Memory is bounded: the sort by its pool, row groups waiting or being encoded by [`ENCODE_BUDGET_MIB`].
//!
//! - **RUN-1** A write that fails deletes the files it finished; one that is killed leaves files no version names.

mod by_rows;
mod encode;
mod file;
mod measure;
mod prepare;
mod slices;
mod sort;
mod split;
mod stats;
mod value;

pub(crate) use measure::encoded_bytes;
pub use slices::Slice;
pub(super) use stats::StatsText;

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::{InputOrder, StagedFile, Table, WriteOptions};
use crate::base::Clock;
use crate::storage::{StorageConfig, StorageError, TableSpec};

/// Row groups waiting for or in encoding, all files of one write together.
const ENCODE_BUDGET_MIB: u32 = 512;
/// A row group is ended at this size even when it has few rows.
const ROW_GROUP_BYTES_MAX: usize = 192 << 20;
/// Files of one write that are being written or uploaded at once.
const FILES_AT_ONCE: usize = 4;
/// Rows of a data page at most: what a point query reads.
const PAGE_ROWS: usize = 10_000;

/// Everything that stays the same during one write.
pub(super) struct WritePlan {
    pub spec: TableSpec,
    pub config: StorageConfig,
    pub clock: Clock,
    pub store: Arc<dyn ObjectStore>,
    pub folder: Path,
    /// Columns of the Parquet files.
    pub file_schema: SchemaRef,
    /// One column per partition column, then `file_schema`: what is sorted and split.
    pub working_schema: SchemaRef,
    pub partition_fields: Vec<FieldRef>,
    /// Whether files are tagged as sorted.
    pub sort_columns: Vec<String>,
}

impl WritePlan {
    fn of(table: &Table) -> Self {
        let spec = table.current().spec().clone();
        let file_schema = spec.file_schema();
        let partition_fields: Vec<FieldRef> = spec.partition_by.iter().map(|part| spec.partition_field(part)).collect();
        let working = partition_fields.iter().chain(file_schema.fields()).cloned();
        Self {
            working_schema: Arc::new(Schema::new(working.collect::<Vec<_>>())),
            file_schema,
            partition_fields,
            sort_columns: spec.file_sort_columns(),
            spec,
            config: table.parts.config.clone(),
            clock: table.parts.clock.clone(),
            store: table.parts.store.clone(),
            folder: table.parts.folder.clone(),
        }
    }
}

impl Table {
    /// Writes rows (in `spec.columns` order; types that mean the same are cast) as Parquet files that no reader sees
    /// until they are committed.
    pub async fn write_files(
        &self,
        rows: SendableRecordBatchStream,
        options: WriteOptions,
    ) -> Result<Vec<StagedFile>, StorageError> {
        let plan = Arc::new(WritePlan::of(self));
        prepare::check_columns(&plan, &rows.schema())?;
        let mut sorted = match options.order {
            InputOrder::Sorted => prepare::prepared(plan.clone(), rows),
            InputOrder::Unsorted => sort::sorted(plan.clone(), rows, options.context).await?,
        };
        let mut files = split::Files::new(plan.clone());
        let mut failure = None;
        while let Some(batch) = sorted.next().await {
            let batch = batch.map_err(|error| StorageError::engine(self.writing_rows(), error));
            let written = match batch {
                Ok(batch) => files.push(&batch).await,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                failure = Some(error);
                break;
            }
        }
        let (staged, ending) = files.finish(failure.is_none()).await;
        match failure.or(ending) {
            None => Ok(staged),
            Some(error) => {
                self.discard(staged).await;
                Err(error)
            }
        }
    }

    fn writing_rows(&self) -> String {
        format!("write rows of table files '{}'", self.parts.path)
    }
}
