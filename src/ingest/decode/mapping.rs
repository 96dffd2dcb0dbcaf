//! Which column of a file fills which column of the table.
//!
//! Columns match by name, letter case ignored when nothing matches exactly. `--map source=column` says otherwise:
//!
//! | map | meaning |
//! |---|---|
//! | `click_time=event_time` | the file's `click_time` fills `event_time` |
//! | `click_time=day` as well | one source may fill several columns |
//! | `is_attributed=` | the file's column is ignored |
//! | `*=` | every column that matches nothing is ignored |
//!
//! A source column that matches nothing is an error (a misspelt name would otherwise lose data silently); so are two
//! sources for one column. Table columns without a source are NULL.

use arrow::datatypes::Schema;

use crate::base::suggestion;
use crate::ingest::IngestError;

/// The map as the user gave it, checked against the table.
#[derive(Clone, Debug, Default)]
pub struct ColumnMap {
    /// Source name → index of the table's column; `None` ignores the source.
    entries: Vec<(String, Option<usize>)>,
    /// Whether sources that match nothing are ignored.
    ignore_rest: bool,
    columns: Vec<String>,
}

/// What a source column fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Indexes of table columns; empty when the source is ignored.
    Columns(Vec<usize>),
    /// The source matches nothing.
    Unknown,
}

impl ColumnMap {
    /// # Errors
    /// For a column the table does not have, or one that is filled twice.
    pub fn new(map: &[(String, String)], columns: &Schema) -> Result<Self, IngestError> {
        let names: Vec<String> = columns.fields().iter().map(|field| field.name().clone()).collect();
        let mut made = Self { entries: Vec::new(), ignore_rest: false, columns: names };
        for (source, column) in map {
            match (source.as_str(), column.as_str()) {
                ("*", "") => made.ignore_rest = true,
                ("*", _) => {
                    return Err(invalid("--map *= takes no column: it ignores every column that matches nothing"));
                }
                (_, "") => made.entries.push((source.clone(), None)),
                _ => made.add(source, column)?,
            }
        }
        Ok(made)
    }

    fn add(&mut self, source: &str, column: &str) -> Result<(), IngestError> {
        let Some(index) = self.position(column) else {
            let near = suggestion(column, self.columns.iter().map(String::as_str));
            return Err(invalid(format!("--map {source}={column}: the table has no column '{column}'{near}")));
        };
        if let Some((other, _)) = self.entries.iter().find(|(_, filled)| *filled == Some(index)) {
            return Err(invalid(format!("--map fills column '{column}' twice: from '{other}' and from '{source}'")));
        }
        self.entries.push((source.to_owned(), Some(index)));
        Ok(())
    }

    fn position(&self, name: &str) -> Option<usize> {
        let exact = self.columns.iter().position(|column| column == name);
        exact.or_else(|| self.columns.iter().position(|column| column.eq_ignore_ascii_case(name)))
    }

    /// What the source column `name` fills.
    pub fn filled_by(&self, name: &str) -> Filled {
        let mapped: Vec<Option<usize>> =
            self.entries.iter().filter(|(source, _)| source == name).map(|(_, column)| *column).collect();
        if !mapped.is_empty() {
            return Filled::Columns(mapped.into_iter().flatten().collect());
        }
        match self.position(name) {
            // Somebody else was mapped onto it: then this source is a stranger with a known name.
            Some(index) if self.entries.iter().any(|(_, filled)| *filled == Some(index)) => self.stranger(),
            Some(index) => Filled::Columns(vec![index]),
            None => self.stranger(),
        }
    }

    fn stranger(&self) -> Filled {
        if self.ignore_rest { Filled::Columns(Vec::new()) } else { Filled::Unknown }
    }

    /// The nearest spelling among the table's columns, as the end of an error.
    pub fn near(&self, name: &str) -> String {
        if self.position(name).is_some() {
            return "; another source is mapped to that column".to_owned();
        }
        suggestion(name, self.columns.iter().map(String::as_str))
    }

    /// For files that name their columns once: for each column of the table, the index of its source.
    ///
    /// # Errors
    /// Lists the source columns that match nothing, mapped sources that do not exist, and columns filled twice.
    pub fn resolve(&self, sources: &[String]) -> Result<Vec<Option<usize>>, IngestError> {
        let absent = self.entries.iter().find(|(source, _)| !sources.contains(source));
        if let Some((source, _)) = absent {
            let near = suggestion(source, sources.iter().map(String::as_str));
            return Err(invalid(format!(
                "--map names '{source}', which is not among its columns: {}{near}",
                sources.join(", ")
            )));
        }
        let mut source_of = vec![None; self.columns.len()];
        let mut unknown = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            match self.filled_by(source) {
                Filled::Unknown => unknown.push(source.as_str()),
                Filled::Columns(columns) => {
                    for column in columns {
                        if let Some(other) = source_of[column].replace(at) {
                            return Err(self.filled_twice(column, &sources[other], source));
                        }
                    }
                }
            }
        }
        if unknown.is_empty() { Ok(source_of) } else { Err(self.unknown_sources(&unknown)) }
    }

    fn filled_twice(&self, column: usize, first: &str, second: &str) -> IngestError {
        let column = &self.columns[column];
        invalid(format!(
            "its columns '{first}' and '{second}' would both fill '{column}'; ignore one with --map {second}="
        ))
    }

    fn unknown_sources(&self, unknown: &[&str]) -> IngestError {
        let listed: Vec<String> = unknown.iter().map(|name| format!("'{name}'{}", self.near(name))).collect();
        let first = unknown.first().copied().unwrap_or_default();
        invalid(format!(
            "the table has no column for {}. Say where each goes with --map {first}=column, ignore one with --map {first}= or all with --map *=",
            listed.join(", ")
        ))
    }
}

fn invalid(message: impl Into<String>) -> IngestError {
    IngestError::Invalid { message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};

    fn table() -> Schema {
        Schema::new(["event_id", "event_time", "day", "ip"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec())
    }

    fn map(pairs: &[(&str, &str)]) -> Result<ColumnMap, IngestError> {
        let pairs: Vec<_> = pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        ColumnMap::new(&pairs, &table())
    }

    fn resolve(pairs: &[(&str, &str)], sources: &[&str]) -> Result<Vec<Option<usize>>, String> {
        let sources: Vec<String> = sources.iter().map(|name| (*name).to_owned()).collect();
        map(pairs).and_then(|map| map.resolve(&sources)).map_err(|error| error.to_string())
    }

    #[test]
    fn matches_by_name_and_by_map() {
        assert_eq!(resolve(&[], &["ip", "EVENT_ID"]), Ok(vec![Some(1), None, None, Some(0)]));
        let pairs = [("time", "event_time"), ("time", "day"), ("x", "")];
        assert_eq!(resolve(&pairs, &["time", "x", "ip"]), Ok(vec![None, Some(0), Some(0), Some(2)]));
        assert_eq!(resolve(&[("*", "")], &["a", "ip", "b"]), Ok(vec![None, None, None, Some(1)]));
    }

    #[test]
    fn explains_what_does_not_match() {
        let error = resolve(&[], &["event_tme", "zzz"]).unwrap_err();
        assert!(error.contains("'event_tme'; did you mean 'event_time'?") && error.contains("'zzz'"), "{error}");
        assert!(resolve(&[("tme", "ip")], &["time"]).unwrap_err().contains("did you mean 'time'?"));
        assert!(resolve(&[("a", "ipp")], &["a"]).unwrap_err().contains("did you mean 'ip'?"));
        assert!(resolve(&[("a", "ip"), ("b", "ip")], &["a", "b"]).unwrap_err().contains("twice"));
        assert!(resolve(&[("a", "ip")], &["a", "ip"]).unwrap_err().contains("another source"));
        assert!(resolve(&[], &["ip", "IP"]).unwrap_err().contains("both fill 'ip'"));
        assert!(map(&[("*", "ip")]).is_err());
    }
}
