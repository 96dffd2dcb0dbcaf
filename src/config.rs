//! Configuration: gathers each module's section; loads, validates, explains.
//!
//! ```text
//! config.default.toml < --config FILE < environment < flags      every value remembers which of them it came from
//! ```
//! Unknown keys and values that do not fit are errors that name the key, its origin and the nearest valid spelling.
//! What a key means is written once, in `config.default.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use crate::auth::{AuditConfig, AuthConfig};
use crate::base::{chain, suggestion};
use crate::ingest::IngestConfig;
use crate::materialize::MaterializeConfig;
use crate::query::QueryConfig;
use crate::server::{FlightConfig, HttpConfig, PgwireConfig, ServerConfig, TlsConfig};
use crate::storage::{LeaseConfig, MaintenanceConfig, StorageConfig};
use crate::telemetry::log::LogConfig;

/// The documented defaults, as shipped.
pub const DEFAULTS: &str = include_str!("config.default.toml");

/// Keys whose values may be `env:NAME` or `file:/path` and are never shown.
const SECRETS: [&str; 2] = ["storage.s3.access_key_id", "storage.s3.secret_access_key"];

/// Keys that, left empty, take the usual AWS variables.
const AWS_FALLBACKS: [(&str, &str); 4] = [
    ("storage.s3.endpoint", "AWS_ENDPOINT_URL"),
    ("storage.s3.region", "AWS_REGION"),
    ("storage.s3.access_key_id", "AWS_ACCESS_KEY_ID"),
    ("storage.s3.secret_access_key", "AWS_SECRET_ACCESS_KEY"),
];

/// The whole configuration, one field per section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub lake: LakeSection,
    pub server: ServerConfig,
    pub http: HttpConfig,
    pub flight: FlightConfig,
    pub pgwire: PgwireConfig,
    pub auth: AuthConfig,
    pub audit: AuditConfig,
    pub tls: TlsConfig,
    pub storage: StorageConfig,
    pub lease: LeaseConfig,
    pub query: QueryConfig,
    pub ingest: IngestConfig,
    pub maintenance: MaintenanceConfig,
    pub materialize: MaterializeConfig,
    pub log: LogConfig,
}

/// `[lake]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LakeSection {
    /// Folder or `s3://bucket/prefix`.
    pub location: String,
    /// Folder of SQL definitions applied at start; empty = none.
    pub sql: String,
}

/// A configuration and where each value came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// (key, value as shown with secrets hidden, origin), sorted by key.
    pub settings: Vec<(String, String, String)>,
}

/// What is wrong, where it was written, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    pub message: String,
}

fn wrong(message: impl Into<String>) -> ConfigError {
    ConfigError { message: message.into() }
}

/// A value and who set it.
#[derive(Clone)]
struct Sourced {
    value: Value,
    origin: String,
}

type Layers = BTreeMap<String, Sourced>;

/// Loads defaults < `file` < `environment` (`ADLAKE__SECTION__KEY`) < `overrides` (dotted key, text).
///
/// # Errors
/// An unreadable file, an unknown key, a value of the wrong kind: named with its origin.
pub fn load(
    file: Option<&Path>,
    environment: &[(String, String)],
    overrides: &[(String, String)],
) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::new();
    flatten("", &parse(DEFAULTS, "built-in defaults")?, "default", &mut layers);
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| wrong(format!("cannot read configuration file '{}': {error}", path.display())))?;
        let origin = format!("file {}", path.display());
        let mut from_file = Layers::new();
        flatten("", &parse(&text, &origin)?, &origin, &mut from_file);
        for (key, sourced) in from_file {
            set(&mut layers, &key, sourced)?;
        }
    }
    for (name, text) in environment {
        if let Some(rest) = name.strip_prefix("ADLAKE__") {
            let key = rest.to_lowercase().replace("__", ".");
            set_text(&mut layers, &key, text, format!("environment {name}"))?;
        }
    }
    for (key, text) in overrides {
        set_text(&mut layers, key, text, "command line".to_owned())?;
    }
    for (key, variable) in AWS_FALLBACKS {
        let empty = layers.get(key).is_some_and(|found| found.value.as_str() == Some(""));
        if let (true, Some((_, text))) = (empty, environment.iter().find(|(name, _)| name == variable)) {
            set_text(&mut layers, key, text, format!("environment {variable}"))?;
        }
    }
    resolve_secrets(&mut layers, environment)?;
    build(&layers)
}

/// The documentation of one key: the nearest comment above it in its section of the defaults file.
pub fn describe(key: &str) -> Option<String> {
    let (section, name) = key.rsplit_once('.')?;
    let mut current = String::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut after_key = false;
    for line in DEFAULTS.lines() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix('#') {
            if after_key {
                comment.clear();
            }
            comment.push(text.trim());
        } else if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            header.clone_into(&mut current);
            comment.clear();
        } else if let Some((found, _)) = line.split_once(" = ") {
            if current == section && found == name {
                return Some(comment.join(" "));
            }
            after_key = true;
            continue;
        } else {
            comment.clear();
        }
        after_key = false;
    }
    None
}

fn parse(text: &str, origin: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|error| wrong(format!("{origin}: {}", error.to_string().trim_end())))
}

fn flatten(prefix: &str, table: &Table, origin: &str, into: &mut Layers) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, origin, into),
            other => {
                into.insert(key, Sourced { value: other.clone(), origin: origin.to_owned() });
            }
        }
    }
}

fn set(layers: &mut Layers, key: &str, sourced: Sourced) -> Result<(), ConfigError> {
    let Some(known) = layers.get_mut(key) else {
        let hint = suggestion(key, layers.keys().map(String::as_str));
        return Err(wrong(format!("unknown configuration key '{key}' ({}){hint}", sourced.origin)));
    };
    *known = sourced;
    Ok(())
}

/// Sets a key from text, read as the kind of value its default has.
fn set_text(layers: &mut Layers, key: &str, text: &str, origin: String) -> Result<(), ConfigError> {
    let bad = |kind: &str| wrong(format!("configuration key '{key}' ({origin}): '{text}' is not {kind}"));
    let value = match layers.get(key).map(|known| &known.value) {
        Some(Value::Integer(_)) => Value::Integer(text.parse().map_err(|_| bad("a whole number"))?),
        Some(Value::Boolean(_)) => Value::Boolean(text.parse().map_err(|_| bad("true or false"))?),
        Some(Value::Array(_)) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        _ => Value::String(text.to_owned()),
    };
    set(layers, key, Sourced { value, origin })
}

fn resolve_secrets(layers: &mut Layers, environment: &[(String, String)]) -> Result<(), ConfigError> {
    for key in SECRETS {
        let Some(sourced) = layers.get_mut(key) else { continue };
        let Some(text) = sourced.value.as_str() else { continue };
        let secret = if let Some(name) = text.strip_prefix("env:") {
            let found = environment.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone()).ok_or_else(|| {
                wrong(format!(
                    "configuration key '{key}' ({}): environment variable '{name}' is not set",
                    sourced.origin
                ))
            })?
        } else if let Some(path) = text.strip_prefix("file:") {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|error| {
                wrong(format!("configuration key '{key}' ({}): cannot read '{path}': {error}", sourced.origin))
            })?;
            text.trim_end().to_owned()
        } else {
            continue;
        };
        sourced.value = Value::String(secret);
    }
    Ok(())
}

fn build(layers: &Layers) -> Result<Loaded, ConfigError> {
    let config = nest(layers.iter()).map_err(|error| blame(layers, &error))?;
    let settings = layers.iter().map(|(key, sourced)| (key.clone(), show(key, &sourced.value), sourced.origin.clone()));
    Ok(Loaded { config, settings: settings.collect() })
}

fn show(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) if SECRETS.contains(&key) && !text.is_empty() => "***".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn nest<'a>(layers: impl Iterator<Item = (&'a String, &'a Sourced)>) -> Result<Config, toml::de::Error> {
    let mut root = Table::new();
    for (key, sourced) in layers {
        insert(&mut root, key, &sourced.value);
    }
    Config::deserialize(Value::Table(root))
}

fn insert(table: &mut Table, key: &str, value: &Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value.clone());
        }
        Some((section, rest)) => {
            let inner = table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Finds the key whose value does not fit: the one that alone, over the defaults, fails too.
fn blame(layers: &Layers, error: &toml::de::Error) -> ConfigError {
    let mut defaults = Layers::new();
    if let Ok(table) = parse(DEFAULTS, "built-in defaults") {
        flatten("", &table, "default", &mut defaults);
    }
    for (key, sourced) in layers.iter().filter(|(_, sourced)| sourced.origin != "default") {
        let mut alone = defaults.clone();
        alone.insert(key.clone(), sourced.clone());
        if let Err(error) = nest(alone.iter()) {
            return wrong(format!("configuration key '{key}' ({}): {}", sourced.origin, error.message()));
        }
    }
    wrong(format!("configuration: {}", chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn origin(loaded: &Loaded, key: &str) -> (String, String) {
        let found = loaded.settings.iter().find(|(known, _, _)| known == key).unwrap();
        (found.1.clone(), found.2.clone())
    }

    #[test]
    fn defaults_load_and_every_key_is_documented() {
        let loaded = load(None, &[], &[]).unwrap();
        assert_eq!(loaded.config.http.port, 8080);
        for (key, _, _) in &loaded.settings {
            let own = describe(key);
            assert!(own.is_some_and(|text| !text.is_empty()), "{key} is not found by describe");
        }
    }

    #[test]
    fn later_layers_win_and_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adlake.toml");
        std::fs::write(&path, "[http]\nport = 1\n[flight]\nport = 2\n[query]\ntimeout = '3s'\n").unwrap();
        let environment = pairs(&[("ADLAKE__FLIGHT__PORT", "20"), ("ADLAKE__QUERY__TIMEOUT", "30s")]);
        let loaded = load(Some(&path), &environment, &pairs(&[("query.timeout", "40s")])).unwrap();
        assert_eq!(origin(&loaded, "http.port"), ("1".to_owned(), format!("file {}", path.display())));
        assert_eq!(origin(&loaded, "flight.port"), ("20".to_owned(), "environment ADLAKE__FLIGHT__PORT".to_owned()));
        assert_eq!(origin(&loaded, "query.timeout"), ("40s".to_owned(), "command line".to_owned()));
    }

    fn error(environment: &[(&str, &str)], overrides: &[(&str, &str)]) -> String {
        load(None, &pairs(environment), &pairs(overrides)).unwrap_err().message
    }

    #[test]
    fn wrong_keys_and_values_are_named() {
        assert_eq!(
            error(&[("ADLAKE__HTTP__PROT", "1")], &[]),
            "unknown configuration key 'http.prot' (environment ADLAKE__HTTP__PROT); did you mean 'http.port'?"
        );
        assert_eq!(
            error(&[], &[("http.port", "many")]),
            "configuration key 'http.port' (command line): 'many' is not a whole number"
        );
        assert!(
            error(&[], &[("query.timeout", "10")])
                .contains("'query.timeout' (command line): '10' is not a length of time")
        );
        assert!(error(&[], &[("http.port", "70000")]).contains("'http.port' (command line)"));
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let loaded = load(None, &[], &pairs(&[("query.allowed_locations", "/data/in, s3://ads/in")])).unwrap();
        assert!(loaded.config.query.allowed_locations.check("s3://ads/in/a.csv").is_ok());
        assert_eq!(origin(&loaded, "query.allowed_locations").0, "[\"/data/in\", \"s3://ads/in\"]");
        let refused = error(&[], &[("query.allowed_locations", "gs://ads")]);
        assert!(refused.contains("'query.allowed_locations' (command line): 'gs://ads' is not"), "{refused}");
    }

    #[test]
    fn secrets_are_read_and_never_shown() {
        let environment = pairs(&[("KEY", "swordfish"), ("AWS_REGION", "eu-1")]);
        let loaded = load(None, &environment, &pairs(&[("storage.s3.secret_access_key", "env:KEY")])).unwrap();
        assert_eq!(loaded.config.storage.s3.secret_access_key.expose(), "swordfish");
        assert_eq!(origin(&loaded, "storage.s3.secret_access_key").0, "***");
        assert_eq!(origin(&loaded, "storage.s3.region"), ("eu-1".to_owned(), "environment AWS_REGION".to_owned()));
        assert!(!format!("{:?}", loaded.config).contains("swordfish"));
    }
}
