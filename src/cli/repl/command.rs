//! The backslash commands of `adlake sql`: reading them, and their help.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::base::suggestion;

use super::super::args::OutputFormat;

/// Shown by `\?`.
pub const HELP: &str = "\
  SQL ends with ; and may span lines. Tab completes, Ctrl-C cancels, Ctrl-D or \\q leaves.
  \\d                 list tables, views and endpoints
  \\d NAME            columns and definition of one
  \\dt  \\dv           list tables | views and materialized views
  \\timing [on|off]   show time taken and the moment the data is complete to
  \\x [on|off]        one column per line
  \\format [FORMAT]   table, csv, tsv, json, ndjson, markdown, parquet
  \\i FILE            run a script
  \\o [FILE]          write results to a file; without FILE, to the screen again
  \\watch N [SQL]     run SQL (or the last statement) every N seconds until Ctrl-C
  \\?                 this help
  \\q                 leave";

const NAMES: [&str; 11] = ["\\d", "\\dt", "\\dv", "\\timing", "\\x", "\\format", "\\i", "\\o", "\\watch", "\\?", "\\q"];

/// A backslash command, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Objects(Listing),
    Describe(String),
    Timing(Switch),
    Expanded(Switch),
    Format(Option<OutputFormat>),
    Include(PathBuf),
    Output(Option<PathBuf>),
    Watch { every: Duration, sql: Option<String> },
    Help,
    Quit,
}

/// What `\d`, `\dt` and `\dv` list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    All,
    Tables,
    Views,
}

/// `on`, `off`, or the other of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
    Toggle,
}

impl Switch {
    /// The state after this switch.
    pub fn apply(self, before: bool) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Toggle => !before,
        }
    }
}

/// The commands' names, for completion.
pub fn names() -> &'static [&'static str] {
    &NAMES
}

/// Reads a line that begins with `\`. A `;` at its end is ignored: habit puts it there.
///
/// # Errors
/// What is wrong with the line, for people.
pub fn parse(line: &str) -> Result<Command, String> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let text = (!rest.is_empty()).then(|| rest.to_owned());
    match name {
        "\\d" => Ok(text.map_or(Command::Objects(Listing::All), Command::Describe)),
        "\\dt" => Ok(Command::Objects(Listing::Tables)),
        "\\dv" => Ok(Command::Objects(Listing::Views)),
        "\\timing" => switch(name, rest).map(Command::Timing),
        "\\x" => switch(name, rest).map(Command::Expanded),
        "\\format" | "\\f" => format(rest),
        "\\i" => text.map(|file| Command::Include(file.into())).ok_or_else(|| "\\i needs a file".to_owned()),
        "\\o" => Ok(Command::Output(text.map(PathBuf::from))),
        "\\watch" => watch(rest),
        "\\?" | "\\h" | "\\help" => Ok(Command::Help),
        "\\q" | "\\quit" => Ok(Command::Quit),
        _ => Err(format!("unknown command '{name}'{}; \\? lists all", suggestion(name, NAMES))),
    }
}

fn switch(name: &str, text: &str) -> Result<Switch, String> {
    match text.to_lowercase().as_str() {
        "" => Ok(Switch::Toggle),
        "on" | "true" => Ok(Switch::On),
        "off" | "false" => Ok(Switch::Off),
        _ => Err(format!("{name} takes on or off, not '{text}'")),
    }
}

fn format(text: &str) -> Result<Command, String> {
    if text.is_empty() {
        return Ok(Command::Format(None));
    }
    let names = OutputFormat::value_variants().iter().map(|format| format.name());
    OutputFormat::from_str(text, true)
        .map(|format| Command::Format(Some(format)))
        .map_err(|_| format!("unknown format '{text}'{}; \\? lists all", suggestion(text, names)))
}

fn watch(text: &str) -> Result<Command, String> {
    let (seconds, sql) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let sql = sql.trim().trim_end_matches(';').trim();
    let every = seconds.parse::<f64>().ok().filter(|seconds| *seconds >= 0.1 && *seconds <= 86_400.0);
    let every = every.ok_or_else(|| format!("\\watch takes seconds from 0.1 to 86400 first, not '{seconds}'"))?;
    Ok(Command::Watch { every: Duration::from_secs_f64(every), sql: (!sql.is_empty()).then(|| sql.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_their_arguments() {
        for (line, wanted) in [
            ("\\d", Command::Objects(Listing::All)),
            ("\\d clicks;", Command::Describe("clicks".to_owned())),
            ("\\x", Command::Expanded(Switch::Toggle)),
            ("\\timing ON", Command::Timing(Switch::On)),
            ("\\format ndjson", Command::Format(Some(OutputFormat::Ndjson))),
            ("\\o", Command::Output(None)),
            ("\\o a b.csv", Command::Output(Some("a b.csv".into()))),
            ("\\watch 2 select 1;", Command::Watch { every: Duration::from_secs(2), sql: Some("select 1".to_owned()) }),
            ("\\watch 0.5", Command::Watch { every: Duration::from_millis(500), sql: None }),
            ("\\q", Command::Quit),
        ] {
            assert_eq!(parse(line), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn wrong_commands_say_what_is_right() {
        for (line, wanted) in [
            ("\\timng", "did you mean '\\timing'?"),
            ("\\format cvs", "did you mean 'csv'?"),
            ("\\watch select 1", "takes seconds"),
            ("\\watch -1 select 1", "takes seconds"),
            ("\\watch NaN select 1", "takes seconds"),
            ("\\x maybe", "takes on or off"),
            ("\\i", "needs a file"),
        ] {
            let message = parse(line).unwrap_err();
            assert!(message.contains(wanted), "{line}: {message}");
        }
    }

    #[test]
    fn the_help_lists_every_command() {
        for name in names() {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
