//! Bytes: the only module that knows Delta Lake and object stores.
//!
//! Layer 1. Imports `base` and `telemetry`. `deltalake_core` and `object_store` appear nowhere else.

pub mod config;
pub mod documents;
pub mod error;
pub mod external;
mod index;
pub mod lake;
pub mod location;
mod maintenance;
mod scan;
pub mod snapshot;
pub mod spec;
mod store;
pub mod table;

pub use config::{S3Config, StorageConfig};
pub use documents::{DocumentVersion, Documents};
pub use error::StorageError;
pub use external::{ExternalFile, LocalFile};
pub use lake::Lake;
pub use location::LakeLocation;
pub use maintenance::{
    Board, Maintainer, MaintenanceConfig, OptimizeReport, Report as MaintenanceReport, Subject, Work as MaintenanceWork,
};
pub use scan::configure_scans;
pub use snapshot::TableSnapshot;
pub use spec::{Partitioning, TableSpec, Transform, storable_type};
pub use table::{
    CommitMode, CommitOutcome, CommitRecord, CommitRequest, InputOrder, RewriteReport, StagedFile, Table, TableVersion,
    Transaction, VacuumReport, WriteOptions,
};
