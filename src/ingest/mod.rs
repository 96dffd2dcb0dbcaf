//! Rows in, exactly once.
//!
//! Layer 3. Imports `catalog`, `storage`, `base`, `telemetry`; never `query`, `auth`.

pub mod config;
pub mod error;
pub mod ingestor;

pub use config::IngestConfig;
pub use error::IngestError;
pub use ingestor::{
    AppendReport, FileFormat, FileReport, FileStatus, IngestParts, Ingestor, LoadProgress, LoadRequest, Rejection,
    RowFormat,
};
