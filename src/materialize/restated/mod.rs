//! Restatements: what refreshes change of windows that had been over for a while, and that somebody may have billed from.
//!
//! ```text
//! new rows of the source, by commit ─► late rows of each ─► their groups ─► answers without and with them (`find`)    ─┐
//! stored rows that others take the place of: removed events, rebuilds ────► answers of both, compared     (`replaced`) ─┤
//! partitions that are made anew ──────────────────────────────────────────► rows of both, compared       (`partitions`) ┤
//! all rows of a view that is kept in full ────────────────────────────────► rows of both, compared             (`full`) ┤
//!                                                          the info of the refresh's own commit ─► carried (`log`) ◄────┘
//! ```
//! A row is late when its group's window of time was over for longer than `restate_after` when the row was *committed*: readers saw
//! it from then on, whenever the view is refreshed. The work follows the late rows: commits whose statistics rule them out are
//! not read, and of the stored rows only windows with late rows.
//!
//! RUN-1: what a refresh restates stands in the commit that restates it, so both are there or neither, once.
//!
//! Nothing is told of what a table's `retention` takes away, which was agreed when the table was made; of a view kept in full that has
//! no column of time, or whose query may give other rows when nothing has changed (`rollup::RowWindows`); and of a view that is made
//! anew from tables whose log is gone (unless it is kept in full), or because another view below it was changed.

mod differing;
mod find;
mod full;
mod listing;
mod log;
mod partitions;
mod record;
mod replaced;
mod terms;
mod values;

pub(super) use find::find;
pub(super) use full::{Refreshed, find_full};
pub(super) use listing::Listing;
pub(super) use log::RestatementLog;
pub(super) use partitions::find_partitions;
pub(super) use record::{Restatement, follow, put};
pub(super) use replaced::{Rebuilt, Replaced, find_replaced};
pub(super) use terms::event_time;
