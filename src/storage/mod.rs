//! Bytes: the only module that knows Delta Lake and object stores.
//!
//! Layer 1. Imports `base` and `telemetry`. `deltalake_core` and `object_store` appear nowhere else.

pub mod config;
pub mod doctor;
pub mod documents;
pub mod error;
pub mod external;
mod index;
pub mod init;
pub mod lake;
pub mod lease;
pub mod location;
mod maintenance;
mod read_only;
mod scan;
pub mod snapshot;
pub mod spec;
mod store;
pub mod table;

pub use config::{S3Config, StorageConfig};
pub use doctor::{Check, Verdict, examine};
pub use documents::{DocumentVersion, Documents};
pub use error::StorageError;
pub use external::{ExternalFile, LocalFile};
pub use init::{InitMode, InitStep, StepOutcome, init};
pub use lake::Lake;
pub use lease::{Acquired, Address, LeaseConfig, LeaseRecord, Leases};
pub use location::LakeLocation;
pub use maintenance::{
    Board, Maintainer, MaintenanceConfig, OptimizeReport, Report as MaintenanceReport, Subject, Work as MaintenanceWork,
};
pub use scan::configure_scans;
pub use snapshot::{TableSnapshot, TimeRange};
pub use spec::{Partitioning, TableSpec, Transform, storable_type};
pub use table::{
    CommitMode, CommitOutcome, CommitRecord, CommitRequest, Fence, InputOrder, RewriteReport, StagedFile, Table,
    TableVersion, Transaction, VacuumReport, WriteOptions,
};
