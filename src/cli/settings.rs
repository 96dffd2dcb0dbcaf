//! From arguments to the loaded configuration: file < environment < `--set` < a command's own options.

use crate::app::{App, AppError};
use crate::base::Clock;
use crate::config::{self, Loaded};
use crate::telemetry::log::{self, LogConfig};

use super::args::{Global, ServeArgs};
use super::failure::Failure;

/// How chatty the process log is when the user has not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogUse {
    /// A server: as configured.
    Server,
    /// A command whose own output matters: warnings only.
    Quiet,
}

/// Reads the configuration and starts the log.
///
/// # Errors
/// Unknown keys, values that cannot be read, a file that is not there: wrong usage.
pub fn load(global: &Global, serve: &ServeArgs, log_use: LogUse) -> Result<Loaded, Failure> {
    let loaded = read(global, serve)?;
    let mut log = loaded.config.log.clone();
    let chosen = loaded.settings.iter().any(|(key, _, origin)| key == "log.level" && origin != "default");
    if log_use == LogUse::Quiet && !chosen {
        log = LogConfig { level: "warn".to_owned(), ..log };
    }
    log::init(&log).map_err(Failure::usage)?;
    Ok(loaded)
}

/// Reads the configuration without any effect.
///
/// # Errors
/// As [`load`].
pub fn read(global: &Global, serve: &ServeArgs) -> Result<Loaded, Failure> {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    config::load(global.config.as_deref(), &environment, &overrides(global, serve))
        .map_err(|error| Failure::usage(error.to_string()).with_hint("`adlake config explain` lists every key"))
}

fn overrides(global: &Global, serve: &ServeArgs) -> Vec<(String, String)> {
    let mut all = global.set.clone();
    let mut add = |key: &str, value: Option<String>| all.extend(value.map(|value| (key.to_owned(), value)));
    add("lake.location", global.lake.clone());
    add("lake.sql", global.sql.clone());
    add("server.bind", serve.bind.clone());
    add("flight.port", serve.flight_port.map(|port| port.to_string()));
    add("http.port", serve.http_port.map(|port| port.to_string()));
    add("server.read_only", serve.read_only.then(|| "true".to_owned()));
    all
}

/// Opens the lake with the machine's clock.
///
/// # Errors
/// As [`App::open`], with a hint.
pub async fn open_app(loaded: Loaded) -> Result<App, Failure> {
    Box::pin(App::open(loaded, Clock::system())).await.map_err(app_failure)
}

/// An error of the composition root as the command line shows it.
pub fn app_failure(error: AppError) -> Failure {
    let kind = error.kind;
    Failure::from(error).with_hint_for(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_own_option_wins_over_set() {
        let global = Global {
            set: vec![("http.port".to_owned(), "1".to_owned())],
            lake: Some("here".to_owned()),
            ..Global::default()
        };
        let serve = ServeArgs { http_port: Some(2), ..ServeArgs::default() };
        let pairs = overrides(&global, &serve);
        let last = pairs.iter().rfind(|(key, _)| key == "http.port");
        assert_eq!(last.map(|(_, value)| value.as_str()), Some("2"));
        assert!(pairs.contains(&("lake.location".to_owned(), "here".to_owned())));
    }
}
