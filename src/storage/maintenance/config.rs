//! `[maintenance]`: what is done to keep tables in shape, and how much of it at once.

use serde::Deserialize;

use crate::base::{ByteSize, Span};
use crate::storage::StorageError;

/// Files without a version that are younger than this belong to loads, refreshes and deletes that are at work.
const RETAIN_LEAST: Span = Span::from_secs(600);

/// `[maintenance]` in the configuration. Files grow to `storage.target_file_size`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceConfig {
    /// Whether `serve` does any of this by itself.
    pub enabled: bool,
    /// Between two looks at all tables.
    pub interval: Span,
    /// Small files merged at once, at least.
    pub files_min: usize,
    /// Small files of one table that are tolerated before two are enough to merge.
    pub small_files_max: usize,
    /// A partition without new files for so long is merged completely.
    pub settled_after: Span,
    /// Bytes of files one task reads at most.
    pub task_size: ByteSize,
    /// Files one task reads at most.
    pub task_files: usize,
    pub vacuum_every: Span,
    pub vacuum_retention: Span,
    pub log_cleanup_every: Span,
    pub log_retention: Span,
    pub retention_every: Span,
    /// The shortest `RETAIN` a `VACUUM` statement may ask for, and how long files of dropped tables stay.
    pub retain_min: Span,
    /// After an error the same work on the same table waits this long.
    pub retry_after: Span,
}

impl MaintenanceConfig {
    /// # Errors
    /// When vacuum could delete files that running loads will commit.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        let invalid = |message: String| Err(StorageError::Invalid { message });
        let Self { retain_min, vacuum_retention, .. } = self;
        if *retain_min < RETAIN_LEAST {
            return invalid(format!(
                "maintenance.retain_min ({retain_min}) must be at least {RETAIN_LEAST}: VACUUM could delete files that running \
                 loads will commit"
            ));
        }
        if vacuum_retention < retain_min {
            return invalid(format!(
                "maintenance.vacuum_retention ({vacuum_retention}) must not be shorter than maintenance.retain_min ({retain_min})"
            ));
        }
        Ok(())
    }
}
