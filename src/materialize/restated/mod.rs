//! Restatements: what late events change of windows that had been over for a while, and that somebody may have billed from.
//!
//! ```text
//! new rows of the source, by commit ─► late rows of each ─► their groups ─► answers without and with them (`find`)
//!                                                              └─► the info of the refresh's own commit ─► carried (`log`)
//! ```
//! A row is late when its group's window of time was over for longer than `restate_after` when the row was *committed*: readers saw
//! it from then on, whenever the view is refreshed. The work follows the late rows: commits whose statistics rule them out are
//! not read, and of the stored rows only windows with late rows.
//!
//! RUN-1: what a refresh restates stands in the commit that restates it, so both are there or neither, once.
//!
//! Not here: a view that is built again as a whole restates nothing by itself; it has the answers it had.

mod find;
mod log;
mod record;

pub(super) use find::{event_time, find};
pub(super) use log::RestatementLog;
pub(super) use record::{Restatement, follow, put};
