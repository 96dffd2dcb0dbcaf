//! Materialized views that are kept incrementally, when they are read.
//!
//! ```text
//! names ─► designs (how each is kept) ─► pin (stored rows, source, what the stored rows lack: one set of versions)
//!                                                  └─► reading: the view's plan with stored parts ∪ the tail of its source
//! ```
//! An aggregate query on a table is answered the same way (`rewrite`, RW-1), and so is one on views (`open`, `over_views`), by the
//! view that reads the fewest rows (`candidates`, `estimate`).
//!
//! MV-1: a reader sees the view's query over the source at the version the statement has pinned, refreshed or not.

mod candidates;
mod designs;
mod estimate;
mod made_of;
mod moments;
mod open;
mod over_views;
mod partitioned;
mod pending;
mod pin;
mod reading;
mod rewrite;
mod run;

pub(super) use candidates::cheapest;
pub(super) use designs::{Designs, decide, stored_columns};
pub(super) use estimate::rows_of;
pub use made_of::MadeOf;
pub use moments::{as_of, stored_as_of};
pub(super) use open::{closed, open_view};
pub use partitioned::Behind;
pub(super) use partitioned::{PartitionedToPin, PinnedPartitioned, reading_partitioned};
pub use pending::{Pending, may_hold, pending, rows_at};
pub(super) use pin::{Pinned, PinnedView, ToPin, ViewToPin, pin};
pub use pin::{absorbed_version, absorbing};
pub(super) use reading::as_stored;
pub(super) use rewrite::{Answered, Rewritten, rewritten, with_moment};
pub use run::{PartitionAt, PartitionRun};
pub(super) use run::{pin_partitions, pin_run, view_called};
