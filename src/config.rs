//! Gathers each module's section; loads, validates, explains. `config.default.toml` documents every key.
use crate::ingest::IngestConfig;
use crate::query::QueryConfig;
use crate::server::{FlightConfig, HttpConfig, ServerConfig};
use crate::storage::StorageConfig;
use crate::telemetry::log::LogConfig;
use serde::Deserialize;
use std::path::Path;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub lake: LakeSection,
    pub server: ServerConfig,
    pub http: HttpConfig,
    pub flight: FlightConfig,
    pub storage: StorageConfig,
    pub query: QueryConfig,
    pub ingest: IngestConfig,
    pub log: LogConfig,
}
/// `[lake]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LakeSection {
    /** folder or s3://bucket/prefix */
    pub location: String,
    /** folder of SQL definitions applied at start; empty = none */
    pub sql: String,
}

/// A configuration and where each value came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /** key, shown value (secrets hidden), origin */
    pub settings: Vec<(String, String, String)>,
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    pub message: String,
}

/// defaults < `file` < environment `ADLAKE__SECTION__KEY` < `overrides` (key, value).
pub fn load(
    _file: Option<&Path>,
    _environment: &[(String, String)],
    _overrides: &[(String, String)],
) -> Result<Loaded, ConfigError> {
    todo!()
}
