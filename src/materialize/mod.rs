//! Keeps materialized views true.
//!
//! Layer 4. Imports `rollup`, `query`, `catalog`, `storage`, `base`, `telemetry`; never `scheduler`, `ingest`.
//!
//! ```text
//! schedule (due) ─┬─► refresh ─┬─► absorb: new rows of the source → partial aggregates
//! REFRESH ────────┘            │      └─► slices: a rebuild works through the source part by part
//!                              ├─► partition: the rows of times that sources have touched, made anew
//!                              └─► full: the whole query, rows replaced
//!                     fold: partial aggregates, every group once      status, states: what system.views shows
//! ```
//! Readers do not depend on any of it: query reads what is absorbed and the rest of the source (`query::views`).

mod absorb;
mod behind;
mod commit;
pub mod config;
mod due;
pub mod error;
mod fold;
mod full;
mod last_refresh;
mod partition;
mod partition_status;
mod range;
pub mod refresh;
mod restated;
mod rows;
pub mod schedule;
mod slices;
mod staged;
mod states;
pub mod status;
mod verify;

pub use config::MaterializeConfig;
pub use error::MaterializeError;
pub use partition_status::PartitionStatus;
pub use refresh::{RefreshParts, RefreshReport, Refresher};
pub use schedule::Schedule;
pub use status::ViewStatus;
