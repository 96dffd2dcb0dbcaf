//! One Delta table: versions, files, writing and committing.
//!
//! ```text
//!   rows ─► write_files ─► StagedFile… ─► commit ─► _delta_log/<version>.json     (create if absent)
//!           sort, encode     invisible      │
//!                                           └─► current snapshot advances at once (read your own writes)
//! ```
//!
//! - **GC-1** The files of one commit appear together or not at all.
//! - **RUN-1** A commit repeated with the same transaction changes nothing; a write killed anywhere leaves only files
//!   that no version names.
//!
//! Not here: which file holds what (`index`), reading (`scan`), what a table's columns mean (catalog).

mod action;
mod alter;
mod changes;
mod checkpoint;
mod commit;
mod committed;
mod compact;
mod delete;
mod expire;
mod handle;
mod history;
mod log;
mod log_cleanup;
mod presence;
mod preview;
mod removal;
mod replace;
mod request;
mod rewrite;
mod vacuum;
mod write;

pub(crate) use compact::{CompactionLimits, Eagerness, is_small};
pub(crate) use handle::TableParts;
pub(crate) use rewrite::{CompactionTask, RewriteContext};
pub use write::Slice;
pub(crate) use write::encoded_bytes;

pub use changes::{ChangedFiles, TableChanges};
pub use committed::CommittedRows;
pub use delete::{DeleteOptions, DeleteProgress, DeleteReport};
pub use handle::Table;
pub use replace::FileSummary;
pub use request::{
    CommitMode, CommitOutcome, CommitRecord, CommitRequest, Fence, InputOrder, StagedFile, TableVersion, Transaction,
    WriteOptions,
};

pub use rewrite::RewriteReport;
pub use vacuum::VacuumReport;

#[cfg(test)]
mod tests;
