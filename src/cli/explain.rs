//! `adlake config`: what each key is, where its value came from.

use crate::base::suggestion;

use super::args::{ConfigCommand, Global, ServeArgs};
use super::failure::{Exit, Failure};
use super::{out, settings};

use crate::config::DEFAULTS;

/// Prints what was asked.
///
/// # Errors
/// An unknown key (with the nearest known one), a configuration that cannot be read.
pub fn run(global: &Global, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Default => out::say(DEFAULTS.trim_end())?,
        ConfigCommand::Explain { key } => {
            let loaded = settings::read(global, &ServeArgs::default())?;
            out::say(&explain(&loaded.settings, key.as_deref())?)?;
        }
    }
    Ok(Exit::Done)
}

/// Lines `key = value  # origin`; with a key, also its documentation.
fn explain(settings: &[(String, String, String)], key: Option<&str>) -> Result<String, Failure> {
    let line = |(key, value, origin): &(String, String, String)| format!("{key} = {value}  # from {origin}");
    let Some(key) = key else {
        return Ok(settings.iter().map(line).collect::<Vec<_>>().join("\n"));
    };
    let section: Vec<_> = settings.iter().filter(|(known, ..)| known.starts_with(&format!("{key}."))).collect();
    if !section.is_empty() {
        return Ok(section.into_iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    let known = settings.iter().find(|(known, ..)| known == key).ok_or_else(|| {
        let near = suggestion(key, settings.iter().map(|(known, ..)| known.as_str()));
        Failure::usage(format!("unknown configuration key '{key}'{near}"))
            .with_hint("`adlake config explain` lists every key")
    })?;
    let mut text = documentation(DEFAULTS, key);
    text.push_str(&line(known));
    Ok(text)
}

/// The comment lines above `key` in the documented defaults.
fn documentation(defaults: &str, wanted: &str) -> String {
    let mut section = String::new();
    let mut comment = String::new();
    for line in defaults.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            comment.clear();
        } else if line.starts_with('#') {
            comment.push_str(line);
            comment.push('\n');
        } else if let Some((name, _)) = line.split_once('=') {
            if format!("{section}.{}", name.trim()) == wanted {
                return comment;
            }
            comment.clear();
        } else {
            comment.clear();
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Vec<(String, String, String)> {
        let row = |key: &str, value: &str, origin: &str| (key.to_owned(), value.to_owned(), origin.to_owned());
        vec![
            row("http.port", "8080", "default"),
            row("http.max_body_size", "64 MiB", "default"),
            row("lake.sql", "x", "--set"),
        ]
    }

    #[test]
    fn one_key_a_section_or_all() {
        assert!(explain(&settings(), Some("lake.sql")).unwrap().ends_with("lake.sql = x  # from --set"));
        assert_eq!(explain(&settings(), Some("http")).unwrap().lines().count(), 2);
        assert_eq!(explain(&settings(), None).unwrap().lines().count(), 3);
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let failure = explain(&settings(), Some("http.prot")).unwrap_err();
        assert_eq!(failure.message(), "unknown configuration key 'http.prot'; did you mean 'http.port'?");
        assert_eq!(failure.exit(), Exit::Usage);
    }

    #[test]
    fn documentation_is_the_comment_above_the_key() {
        let defaults = "[a]\n# not this\nx = 1\n# this\n# and this\ny = 2\n[b]\ny = 3\n";
        assert_eq!(documentation(defaults, "a.y"), "# this\n# and this\n");
        assert_eq!(documentation(defaults, "b.y"), "");
    }
}
