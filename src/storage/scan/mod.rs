//! Reading one version of a table: [`LakeTable`], a plain DataFusion scan over the file index.
//!
//! ```text
//!   filters ─► prune ──────► files that may hold matching rows
//!                              │
//!              arrange ──────► file groups: balanced, in sort order where the files allow it
//!              summary ──────► row count, null counts, minimum and maximum of the columns asked for
//!                              │
//!              provider ─────► DataSourceExec(FileScanConfig, ParquetSource)
//! ```
//!
//! The plan is made of DataFusion's own nodes, so every optimizer rule knows it and it can be sent to another node
//! without a codec. All filters stay above the scan (they are `Inexact`): pruning can only skip files, never rows.
//!
//! Sessions that read must be set up by [`configure_scans`]: without it a declared order can be a false promise.
//!
//! - **SCN-1** A scan with filters gives the rows a scan of all files gives after those filters.
//!
//! Not here: what is known of files (`index`), writing.

mod arrange;
mod provider;
mod prune;
mod quantiles;
mod selector;
mod summary;

pub(crate) use provider::LakeTable;
pub use provider::rows_left;
pub(in crate::storage) use quantiles::time_range;
pub use quantiles::{TimeWindow, quantiles, time_ranges};
pub use selector::RowPredicate;
pub(crate) use selector::Selector;

/// Sets what scans rely on. DataFusion 55 lets an idle partition read files of its neighbour's group, one after another,
/// and its limit push-down forgets that a declared order forbids that (`ORDER BY … LIMIT` then gave wrong rows); groups
/// are balanced by size here, so nothing is lost by keeping files where they are.
///
/// Filters that are decided on before other columns are decoded go by the size of their columns; a statement that needs them in
/// their own order sets `reorder_filters` to false.
pub fn configure_scans(options: &mut datafusion::config::ConfigOptions) {
    options.execution.enable_file_stream_work_stealing = false;
    options.execution.parquet.reorder_filters = true;
}

#[cfg(test)]
mod tests;
