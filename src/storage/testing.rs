//! Lakes for tests of this module and of the layers above: a temporary folder, and settings in which nothing waits.

use tempfile::TempDir;

use super::{Lake, LakeLocation, S3Config, StorageConfig};
use crate::base::config_value::Secret;
use crate::base::{ByteSize, Clock, Span};

pub(crate) fn test_config() -> StorageConfig {
    StorageConfig {
        target_file_size: ByteSize::mib(64),
        row_group_rows: 100_000,
        compression_level: 1,
        poll_interval: Span::from_millis(0),
        metadata_cache: ByteSize::mib(16),
        s3: S3Config {
            endpoint: String::new(),
            region: String::new(),
            access_key_id: Secret::default(),
            secret_access_key: Secret::default(),
            allow_http: false,
        },
    }
}

/// The lake in a folder; every call stands for a process.
pub(crate) async fn test_lake(folder: &TempDir, config: &StorageConfig, clock: Clock) -> Lake {
    Lake::open(&LakeLocation::Folder(folder.path().to_owned()), config, clock).await.unwrap()
}
