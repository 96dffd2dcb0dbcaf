//! Rows in, exactly once.
//!
//! Layer 3. Imports `catalog`, `storage`, `base`, `telemetry`; never `query`, `auth`.

pub mod admission;
pub mod append;
mod arrivals;
pub mod batch;
pub mod bucket;
pub mod config;
pub mod decode;
pub mod dedup;
mod delete;
pub mod error;
pub mod group;
pub mod ingestor;
pub mod insert;
pub mod key_budget;
pub mod key_hash;
pub mod key_index;
pub mod key_probe;
pub mod key_set;
pub mod landing;
pub mod load;
mod load_options;
mod own_rows;
mod ownership;
pub mod producers;
pub mod queue;
pub mod rejects;
pub mod replay;
pub mod request;
pub mod snapshot;
pub mod state;
pub mod target;
pub mod validate;
pub mod watermark;
pub mod writer;

pub use batch::Rejection;
pub use config::IngestConfig;
pub use delete::DeleteRequest;
pub use error::IngestError;
pub use ingestor::{
    AppendReport, FileFormat, FileReport, FileStatus, IngestParts, Ingestor, LoadProgress, LoadRequest,
};
pub use landing::LandingReport;
pub use load_options::parse_map_pair;
pub use rejects::REJECTS_PATH;
pub use replay::ReplayReport;
pub use request::{AppendRequest, OnBadRow, Payload, Producer};
pub use state::IngestState;
