//! What a table's protocol demands of readers. Anything not understood is refused: skipping it would give wrong rows.

use super::action::{AddFile, Protocol};
use crate::storage::StorageError;

/// Reader features whose presence changes nothing about how this index and its scans read.
const UNDERSTOOD: [&str; 3] = ["timestampNtz", "vacuumProtocolCheck", "columnMapping"];

/// Fails when `protocol` (with the table's `configuration`) needs something unknown here.
pub(super) fn check_protocol(
    table: &str,
    protocol: &Protocol,
    column_mapping: Option<&str>,
) -> Result<(), StorageError> {
    if protocol.min_reader_version > 3 {
        return Err(cannot_read(table, &format!("reader version {}", protocol.min_reader_version)));
    }
    if column_mapping.is_some_and(|mode| mode != "none") {
        return Err(cannot_read(table, "columnMapping"));
    }
    for feature in protocol.reader_features.iter().flatten() {
        // A table may allow deletion vectors and have none: each file is checked.
        if feature != "deletionVectors" && !UNDERSTOOD.contains(&feature.as_str()) {
            return Err(cannot_read(table, feature));
        }
    }
    Ok(())
}

/// Fails when rows of `file` are deleted by a side file.
pub(super) fn check_file(table: &str, file: &AddFile) -> Result<(), StorageError> {
    match file.deletion_vector {
        Some(_) => Err(cannot_read(table, "deletionVectors")),
        None => Ok(()),
    }
}

pub(super) fn cannot_read(table: &str, feature: &str) -> StorageError {
    StorageError::Invalid {
        message: format!("table '{table}' uses Delta feature '{feature}' which adlake cannot read yet"),
    }
}
