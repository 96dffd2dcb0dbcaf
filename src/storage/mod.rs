//! Bytes: the only module that knows Delta Lake and object stores.
//!
//! Layer 1. Imports `base` and `telemetry`. `deltalake_core` and `object_store` appear nowhere else.

pub mod config;
pub mod doctor;
pub mod documents;
pub mod error;
pub mod external;
mod file_times;
mod followed;
mod index;
pub mod init;
pub mod lake;
pub mod lease;
pub mod location;
pub mod locations;
mod maintenance;
mod own_table;
mod read_only;
mod scan;
pub mod snapshot;
pub mod spec;
mod store;
pub mod table;
#[cfg(test)]
mod testing;

pub use config::{S3Config, StorageConfig};
pub use doctor::{Check, Verdict, examine};
pub use documents::{DocumentVersion, Documents};
pub use error::StorageError;
pub use external::{ExternalFile, LocalFile};
pub use file_times::FileTimes;
pub use followed::{Followable, Followed};
pub use init::{InitMode, InitStep, StepOutcome, init};
pub use lake::Lake;
pub use lease::{Acquired, Address, LeaseConfig, LeaseRecord, Leases};
pub use location::LakeLocation;
pub use locations::Locations;
pub use maintenance::{
    Board, Maintainer, MaintenanceConfig, OptimizeReport, Report as MaintenanceReport, Subject, Work as MaintenanceWork,
};
pub use own_table::{OwnCommit, OwnTable};
pub use scan::{RowPredicate, TimeWindow, configure_scans, quantiles, rows_left, time_ranges};
pub use snapshot::{TableSnapshot, TimeRange};
pub(crate) use spec::partition_end;
pub use spec::{Partitioning, TableSpec, Transform, storable_type};
pub use table::{
    ChangedFiles, CommitMode, CommitOutcome, CommitRecord, CommitRequest, CommittedRows, DeleteOptions, DeleteProgress,
    DeleteReport, Fence, FileSummary, InputOrder, RewriteReport, Slice, StagedFile, Table, TableChanges, TableVersion,
    Transaction, VacuumReport, WriteOptions,
};
#[cfg(test)]
pub(crate) use testing::{test_config, test_lake};
