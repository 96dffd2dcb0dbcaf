//! Keeping tables in shape while they are written to: few files, a short log, no old rows, no forgotten bytes.
//!
//! ```text
//!   jobs ── every maintenance.interval, one table at a time ─► Maintainer::turn ─► retention · compact · vacuum · log
//!   OPTIMIZE, VACUUM ──────────────────────────────────────►       │                     (operations in `table`)
//!                                                                  └─► Board ─► system.maintenance, metrics
//! ```
//!
//! Every operation is one commit beside all others, or deletes what no version needs: ingest meets at most one commit more,
//! and two processes doing the same work waste it, nothing else.
//!
//! Not here: the operations (`table`), when a turn comes (`jobs`).

mod board;
mod config;
mod maintainer;

pub use board::{Board, Cost, Report, Work};
pub use config::MaintenanceConfig;
pub use maintainer::{Maintainer, OptimizeReport, Subject};
