//! Rows in, exactly once.
//!
//! Layer 3. Imports `catalog`, `storage`, `base`, `telemetry`; never `query`, `auth`.

pub mod config;
pub mod error;
pub mod ingestor;
mod load_options;

pub use config::IngestConfig;
pub use error::IngestError;
pub use ingestor::{
    AppendReport, FileFormat, FileReport, FileStatus, IngestParts, Ingestor, LoadProgress, LoadRequest, Rejection,
    RowFormat,
};
pub use load_options::parse_map_pair;
