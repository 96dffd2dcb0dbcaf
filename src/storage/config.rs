//! `[storage]`: how the lake's bytes are reached and written.

use serde::Deserialize;

use crate::base::config_value::Secret;
use crate::base::{ByteSize, Span};

/// `[storage]` in the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Files grow to about this size before a new one is begun.
    pub target_file_size: ByteSize,
    /// Rows of one Parquet row group.
    pub row_group_rows: usize,
    /// zstd level of Parquet pages, 1..=22.
    pub compression_level: i32,
    /// How old a table's known version may be before a reader looks at the log again.
    pub poll_interval: Span,
    /// Bytes of Parquet metadata kept in memory.
    pub metadata_cache: ByteSize,
    pub s3: S3Config,
}

/// `[storage.s3]`: used when the lake, or a file to load, is `s3://…`. Empty values fall back to the usual AWS environment variables.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    pub endpoint: String,
    pub region: String,
    pub access_key_id: Secret,
    pub secret_access_key: Secret,
    /// Plain HTTP endpoints, for a server on the same machine.
    pub allow_http: bool,
}
