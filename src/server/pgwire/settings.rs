//! Settings that PostgreSQL has and clients set or ask for unasked. Most have one value here; setting another is refused, so
//! that nobody believes in what is not so. Those not known here are the engine's (`statement_timeout`, `adlake.*`).

use super::SERVER_VERSION;
use super::complaint::Complaint;

/// What a client may set a setting to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    /// Only to what it is, in one of these spellings.
    Only(&'static [&'static str]),
    /// To anything: it changes nothing that is not the client's own affair.
    Anything,
    /// Not at all.
    Read,
}

const UTC: &[&str] = &["utc", "gmt", "etc/utc", "z", "+00:00", "0", "zulu"];

const SETTINGS: [(&str, &str, May); 30] = [
    ("bytea_output", "hex", May::Only(&[])),
    ("client_encoding", "UTF8", May::Only(&["unicode"])),
    ("client_min_messages", "notice", May::Anything),
    ("datestyle", "ISO, MDY", May::Only(&["iso", "iso,mdy", "iso,dmy", "iso,ymd"])),
    ("default_transaction_deferrable", "off", May::Only(&["false", "0"])),
    ("default_transaction_isolation", "read committed", May::Only(&["read uncommitted"])),
    ("escape_string_warning", "on", May::Anything),
    ("extra_float_digits", "1", May::Anything),
    ("geqo", "on", May::Anything),
    ("idle_in_transaction_session_timeout", "0", May::Anything),
    ("in_hot_standby", "off", May::Read),
    ("integer_datetimes", "on", May::Read),
    ("intervalstyle", "postgres", May::Only(&[])),
    ("is_superuser", "off", May::Read),
    ("jit", "off", May::Anything),
    ("lc_collate", "C", May::Read),
    ("lc_ctype", "C", May::Read),
    ("lc_monetary", "C", May::Only(&[])),
    ("lc_numeric", "C", May::Only(&[])),
    ("lock_timeout", "0", May::Anything),
    ("max_identifier_length", "63", May::Read),
    ("row_security", "on", May::Only(&["true", "1"])),
    (
        "search_path",
        "public",
        May::Only(&["\"$user\",public", "$user,public", "public,pg_catalog", "pg_catalog,public"]),
    ),
    ("server_encoding", "UTF8", May::Read),
    ("server_version", SERVER_VERSION, May::Read),
    ("server_version_num", "150000", May::Read),
    ("standard_conforming_strings", "on", May::Only(&["true", "1"])),
    ("synchronous_commit", "on", May::Only(&["true", "1"])),
    ("timezone", "UTC", May::Only(UTC)),
    ("transaction_isolation", "read committed", May::Only(&["read uncommitted"])),
];

/// Told to every client when it connects, and again when it changes.
pub(super) const REPORTED: [&str; 13] = [
    "application_name",
    "client_encoding",
    "datestyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "intervalstyle",
    "is_superuser",
    "search_path",
    "server_encoding",
    "server_version",
    "standard_conforming_strings",
    "timezone",
];

/// Names of PostgreSQL's that have capital letters in messages.
const SPELLED: [(&str, &str); 3] =
    [("datestyle", "DateStyle"), ("intervalstyle", "IntervalStyle"), ("timezone", "TimeZone")];

const APPLICATION_NAME: &str = "application_name";
const CLIENT_ENCODING: &str = "client_encoding";
const DEFAULT_READ_ONLY: &str = "default_transaction_read_only";
/// Of one transaction: `block` has it while there is one.
pub(super) const TRANSACTION_READ_ONLY: &str = "transaction_read_only";
/// Longest name of an application that is kept.
const NAME_CHARACTERS_MAX: usize = 63;

/// A boolean in one of PostgreSQL's spellings (`parse_bool` in its `bool.c`): words may be cut as long as they are told apart.
pub(super) fn truth(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(text.as_str());
    match text.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || begins("on", 2) => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}

/// The value of a setting that is on or off.
///
/// # Errors
/// Another value.
pub(super) fn flag(name: &str, value: &str) -> Result<bool, Complaint> {
    truth(value).ok_or_else(|| Complaint::new("22023", format!("{name} is on or off, not '{value}'")))
}

pub(super) fn on_or_off(value: bool) -> String {
    if value { "on" } else { "off" }.to_owned()
}

/// What one connection has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    application_name: String,
    /// Changes are refused.
    pub read_only: bool,
}

/// The name as messages spell it.
pub(super) fn spelled(name: &str) -> &str {
    SPELLED.iter().find(|(lower, _)| *lower == name).map_or(name, |(_, spelled)| spelled)
}

impl Settings {
    /// The value of a setting; `None`: not one of these.
    pub fn show(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        if name == APPLICATION_NAME {
            return Some(self.application_name.clone());
        }
        if [DEFAULT_READ_ONLY, TRANSACTION_READ_ONLY].contains(&name.as_str()) {
            return Some(on_or_off(self.read_only));
        }
        SETTINGS.iter().find(|(known, ..)| *known == name).map(|(_, value, _)| (*value).to_owned())
    }

    /// Sets one. `None`: not one of these.
    ///
    /// # Errors
    /// A value it cannot have.
    pub fn set(&mut self, name: &str, value: &str) -> Option<Result<(), Complaint>> {
        let name = name.to_ascii_lowercase();
        if name == APPLICATION_NAME {
            let is_default = value.eq_ignore_ascii_case("default");
            self.application_name = value.chars().take(NAME_CHARACTERS_MAX).filter(|_| !is_default).collect();
            return Some(Ok(()));
        }
        let text: String = match name.as_str() {
            // `'utf-8'`, with its quotes, is what some clients say.
            CLIENT_ENCODING => value.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect(),
            _ => value.trim().to_ascii_lowercase().replace(", ", ","),
        };
        match name.as_str() {
            DEFAULT_READ_ONLY if text == "default" => {
                self.read_only = false;
                return Some(Ok(()));
            }
            DEFAULT_READ_ONLY => return Some(flag(&name, value).map(|value| self.read_only = value)),
            TRANSACTION_READ_ONLY => {
                let message = format!("{name} is of one transaction; set {DEFAULT_READ_ONLY}");
                return Some(Err(Complaint::unsupported(message)));
            }
            _ => {}
        }
        let (_, only, may) = SETTINGS.iter().find(|(known, ..)| *known == name)?;
        let same = text == only.to_ascii_lowercase().replace(", ", ",") || text == "default";
        Some(match may {
            May::Anything => Ok(()),
            May::Only(_) if same => Ok(()),
            May::Only(spellings) if spellings.contains(&text.as_str()) => Ok(()),
            May::Only(_) => Err(Complaint::unsupported(format!("{name} is always {only} here"))),
            May::Read => Err(Complaint::new("55P02", format!("{name} cannot be changed"))),
        })
    }

    /// Back to what it is for a new connection. False: not one of these.
    pub fn reset(&mut self, name: &str) -> bool {
        let known = self.show(name).is_some();
        if known {
            // Every one of these can be set to its default.
            let _ = self.set(name, "default");
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_the_value_it_says() {
        let mut settings = Settings::default();
        let mut set =
            |name: &str, value: &str| settings.set(name, value).map(|set| set.map_err(|error| error.sqlstate));
        assert_eq!(set("TimeZone", "Etc/UTC"), Some(Ok(())));
        assert_eq!(set("timezone", "Europe/Berlin"), Some(Err("0A000")));
        assert_eq!(set("datestyle", "ISO, MDY"), Some(Ok(())));
        assert_eq!(set("client_encoding", "'latin1'"), Some(Err("0A000")));
        assert_eq!(set("client_encoding", "'utf-8'"), Some(Ok(())));
        assert_eq!(set("transaction_read_only", "on"), Some(Err("0A000")));
        assert_eq!(set("default_transaction_read_only", "maybe"), Some(Err("22023")));
        assert_eq!(set("server_version", "9"), Some(Err("55P02")));
        assert_eq!(set("statement_timeout", "1"), None);
        assert_eq!(set("application_name", "psql"), Some(Ok(())));
        assert_eq!(set("default_transaction_read_only", "on"), Some(Ok(())));
        assert_eq!(settings.show("application_name").as_deref(), Some("psql"));
        assert_eq!(settings.show("transaction_read_only").as_deref(), Some("on"));
        assert!(settings.reset("application_name") && !settings.reset("statement_timeout"));
        assert_eq!(settings.show("application_name").as_deref(), Some(""));
    }

    #[test]
    fn booleans_are_spelled_as_in_postgres() {
        for (text, value) in [
            ("on", Some(true)),
            (" T ", Some(true)),
            ("tru", Some(true)),
            ("y", Some(true)),
            ("1", Some(true)),
            ("of", Some(false)),
            ("False", Some(false)),
            ("n", Some(false)),
            ("0", Some(false)),
            ("o", None),
            ("", None),
            ("truer", None),
            ("2", None),
        ] {
            assert_eq!(truth(text), value, "{text}");
        }
    }

    #[test]
    fn what_is_told_is_known() {
        assert!(REPORTED.iter().all(|name| Settings::default().show(name).is_some()));
    }
}
