//! What a table says about rows to come: bad rows, unknown fields, its landing folder. None of it touches stored rows, so
//! all of it can change while the table lives: `ALTER TABLE t SET (on_error='fail')`.

use std::fmt;
use std::str::FromStr;

use crate::base::{Span, suggestion};

/// Where `unknown_fields='extra'` keeps what the table has no column for: `MAP<VARCHAR, VARCHAR>`, declared by the user.
pub const EXTRA_COLUMN: &str = "_extra";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct IngestOptions {
    pub on_error: OnError,
    pub unknown_fields: UnknownFields,
    pub landing: Option<Landing>,
}

/// `on_error`: what a bad row does to its request, unless the request says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It goes to the rejects table; the other rows are taken.
    #[default]
    Reject,
    /// Nothing of the request or file is taken.
    Fail,
}

/// `unknown_fields`: what becomes of fields that are no columns of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// Their row is rejected; a file with such a column is refused.
    #[default]
    Reject,
    Ignore,
    /// They are kept in [`EXTRA_COLUMN`], by name.
    Extra,
}

/// `landing='folder or pattern'` and the options that go with it: new files there are loaded, each once.
#[derive(Clone, Debug, PartialEq)]
pub struct Landing {
    /// A folder, `s3://bucket/prefix/`, or a pattern such as `in/**/*.csv.gz`.
    pub from: String,
    /// A format's name; `None`: by each file's name.
    pub format: Option<String>,
    pub rate: Option<FileRate>,
    /// (column of the file, column of the table).
    pub map: Vec<(String, String)>,
    pub time_format: Option<String>,
    pub order: LandingOrder,
}

/// `landing_order`: which of the files that are there comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LandingOrder {
    #[default]
    Name,
    Modified,
}

/// `landing_rate='10 files per minute'`: so many files begun in that time at most, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRate {
    pub files: u32,
    pub per: Span,
}

impl FileRate {
    /// The time from one file's beginning to the next one's.
    pub fn interval(self) -> std::time::Duration {
        self.per.duration() / self.files.max(1)
    }
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let lower = text.to_lowercase();
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == lower) {
        return Ok(*value);
    }
    let near = suggestion(&lower, choices.iter().map(|(name, _)| *name));
    let names: Vec<String> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
    Err(format!("'{text}' is not one of {}{near}", names.join(", ")))
}

const ON_ERROR: [(&str, OnError); 2] = [("reject", OnError::Reject), ("fail", OnError::Fail)];
const UNKNOWN_FIELDS: [(&str, UnknownFields); 3] =
    [("reject", UnknownFields::Reject), ("ignore", UnknownFields::Ignore), ("extra", UnknownFields::Extra)];
const ORDERS: [(&str, LandingOrder); 2] = [("name", LandingOrder::Name), ("modified", LandingOrder::Modified)];
const RATE_UNITS: [(&str, u64); 3] = [("second", 1), ("minute", 60), ("hour", 3_600)];

impl FromStr for OnError {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        choice(text, &ON_ERROR)
    }
}

impl FromStr for UnknownFields {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        choice(text, &UNKNOWN_FIELDS)
    }
}

impl FromStr for LandingOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        choice(text, &ORDERS)
    }
}

impl FromStr for FileRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a rate; write '10 files per minute' (second, minute, hour)");
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let [count, "file" | "files", "per", unit] = &words.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
            return Err(wrong());
        };
        let files: u32 = count.parse().ok().filter(|files| *files > 0).ok_or_else(wrong)?;
        let (_, seconds) = RATE_UNITS.iter().find(|(name, _)| name == unit).ok_or_else(wrong)?;
        Ok(Self { files, per: Span::from_secs(*seconds) })
    }
}

fn name_of<T: PartialEq>(choices: &[(&'static str, T)], value: &T) -> &'static str {
    choices.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&ON_ERROR, self))
    }
}

impl fmt::Display for UnknownFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&UNKNOWN_FIELDS, self))
    }
}

impl fmt::Display for LandingOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&ORDERS, self))
    }
}

impl fmt::Display for FileRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.per.duration().as_secs();
        let unit = RATE_UNITS.iter().find(|(_, known)| *known == seconds).map_or("", |(name, _)| name);
        write!(f, "{} files per {unit}", self.files)
    }
}

impl IngestOptions {
    /// Every option that is set, as it would be written; for showing what a change changes.
    pub fn written(&self) -> Vec<(&'static str, String)> {
        let mut all =
            vec![("on_error", self.on_error.to_string()), ("unknown_fields", self.unknown_fields.to_string())];
        let Some(Landing { from, format, rate, map, time_format, order }) = &self.landing else { return all };
        all.push(("landing", from.clone()));
        all.extend(format.clone().map(|format| ("landing_format", format)));
        all.extend(rate.map(|rate| ("landing_rate", rate.to_string())));
        if !map.is_empty() {
            let pairs = map.iter().map(|(source, column)| format!("{source}={column}"));
            all.push(("landing_map", pairs.collect::<Vec<_>>().join(", ")));
        }
        all.extend(time_format.clone().map(|pattern| ("landing_time_format", pattern)));
        all.push(("landing_order", order.to_string()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for text in ["reject", "FAIL"] {
            assert_eq!(text.parse::<OnError>().unwrap().to_string(), text.to_lowercase());
        }
        assert_eq!(
            "igore".parse::<UnknownFields>().unwrap_err(),
            "'igore' is not one of 'reject', 'ignore', 'extra'; did you mean 'ignore'?"
        );
    }

    #[test]
    fn rates_are_files_in_a_time() {
        let rate: FileRate = "10 files per minute".parse().unwrap();
        assert_eq!((rate.interval().as_secs(), rate.to_string()), (6, "10 files per minute".to_owned()));
        assert_eq!("1 file per second".parse::<FileRate>().unwrap().interval().as_millis(), 1_000);
        for wrong in ["0 files per minute", "10 per minute", "10 files per fortnight", "", "fast"] {
            assert!(wrong.parse::<FileRate>().unwrap_err().contains("write '10 files per minute'"), "{wrong}");
        }
    }
}
