//! Rows in, exactly once.
//!
//! Layer 3. Imports `catalog`, `storage`, `base`, `telemetry`; never `query`, `auth`.

pub mod batch;
pub mod config;
pub mod decode;
pub mod error;
pub mod ingestor;
mod load_options;

pub use batch::Rejection;
pub use config::IngestConfig;
pub use error::IngestError;
pub use ingestor::{
    AppendReport, FileFormat, FileReport, FileStatus, IngestParts, Ingestor, LoadProgress, LoadRequest, RowFormat,
};
pub use load_options::parse_map_pair;
