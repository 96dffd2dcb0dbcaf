//! Keeps materialized views true.
//!
//! Layer 4. Imports `query`, `catalog`, `storage`, `base`, `telemetry`; never `scheduler`, `ingest`.
//! Here so far: the *full* strategy, run on demand. Strategy choice, watermarks and rewriting are not here yet.

pub mod error;
pub mod refresh;

pub use error::MaterializeError;
pub use refresh::{RefreshParts, RefreshReport, Refresher};
