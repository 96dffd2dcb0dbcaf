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
//! - **SCN-1** A scan with filters gives the rows a scan of all files gives after those filters.
//!
//! Not here: what is known of files (`index`), writing.

mod arrange;
mod provider;
mod prune;
mod summary;

pub(crate) use provider::LakeTable;

#[cfg(test)]
mod tests;
