//! The file index: which Parquet files one version of a table consists of, and what is known about them.
//!
//! ```text
//!   _delta_log/                              FileIndex (immutable, one per version)
//!     00…10.checkpoint.parquet ─┐              layout        columns, partition columns, order
//!     00…11.json                ├─► load ─►    segments ───► Arc<Segment> ─► Arc<DataFile>  typed statistics
//!     00…12.json               ─┘              transactions  newest version of each application id
//!     00…13.json  ──── advance ──────────►   the next FileIndex, sharing every untouched segment
//! ```
//!
//! Advancing reads the new commits only: its cost grows with the files they add (and, when they remove files, with the
//! segments those are in), not with the table. A gap in the log (cleaned up while this process slept) means loading again.
//!
//! - **IDX-1** A file index advanced from any version equals one loaded freshly at the same version.
//! - **IDX-2** Statistics are bounds: a lower bound is never above, an upper bound never below any value of the file.
//!   They are marked exact only when the log cannot have rounded or cut them.
//!
//! Not here: choosing the files of a query (`scan`), committing (`table`).

mod action;
mod bounds;
mod changes;
mod checkpoint;
mod draft;
mod features;
mod file;
mod file_index;
mod layout;
mod log;
mod removed;
mod root;
mod segment;
mod segments;
mod statistics;
mod transactions;

pub(crate) use bounds::{Bounds, merged};
pub(crate) use changes::{CommitChange, ReplacedFile, RowChanges, commit_content};
pub(crate) use file::DataFile;
pub(crate) use file_index::FileIndex;
pub(crate) use layout::Layout;
pub(crate) use log::{Removals, expendable, removals};
pub(crate) use removed::RemovedFile;
pub(crate) use root::TableRoot;
#[cfg(test)]
pub(crate) use segment::segments_of_size;
pub(crate) use segment::{Segment, segments_of};
pub(crate) use segments::Segments;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
