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
//! A source column that matches nothing is an error (a misspelt name would otherwise lose data silently), unless the
//! table's `unknown_fields` says to ignore it or to keep it; so are two sources for one column. Table columns without a
//! source are NULL.

use arrow::datatypes::Schema;

use crate::base::suggestion;
use crate::catalog::{EXTRA_COLUMN, UnknownFields};
use crate::ingest::IngestError;

/// The map as the user gave it, checked against the table.
#[derive(Clone, Debug, Default)]
pub struct ColumnMap {
    /// Source name → index of the table's column; `None` ignores the source.
    entries: Vec<(String, Option<usize>)>,
    /// Whether sources that match nothing are ignored.
    ignore_rest: bool,
    /// What the table says of them otherwise.
    unknown: UnknownFields,
    columns: Vec<String>,
}

/// What a source column fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Indexes of table columns; empty when the source is ignored.
    Columns(Vec<usize>),
    /// Kept by its name in the column of [`ColumnMap::extra_column`].
    Extra,
    /// The source matches nothing.
    Unknown,
}

impl ColumnMap {
    /// # Errors
    /// For a column the table does not have, or one that is filled twice.
    pub fn new(map: &[(String, String)], columns: &Schema) -> Result<Self, IngestError> {
        let names: Vec<String> = columns.fields().iter().map(|field| field.name().clone()).collect();
        let unknown = UnknownFields::Reject;
        let mut made = Self { entries: Vec::new(), ignore_rest: false, unknown, columns: names };
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

    /// The same for a table that says what becomes of unknown fields.
    pub fn with_unknown(self, unknown: UnknownFields) -> Self {
        Self { unknown, ..self }
    }

    /// The column unknown sources are kept in, when they are.
    pub fn extra_column(&self) -> Option<usize> {
        let keeps = self.unknown == UnknownFields::Extra && !self.ignore_rest;
        self.columns.iter().position(|column| keeps && column == EXTRA_COLUMN)
    }

    /// Which of the sources are kept there.
    pub fn extras(&self, sources: &[String]) -> Vec<usize> {
        (0..sources.len()).filter(|at| self.filled_by(&sources[*at]) == Filled::Extra).collect()
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
        match self.unknown {
            _ if self.ignore_rest => Filled::Columns(Vec::new()),
            UnknownFields::Ignore => Filled::Columns(Vec::new()),
            UnknownFields::Extra if self.extra_column().is_some() => Filled::Extra,
            UnknownFields::Extra | UnknownFields::Reject => Filled::Unknown,
        }
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
                Filled::Extra => {}
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
    fn the_table_says_what_becomes_of_strangers() {
        let columns = Schema::new(["ip", EXTRA_COLUMN].map(|name| Field::new(name, DataType::Utf8, true)).to_vec());
        let filled = |unknown, name| ColumnMap::new(&[], &columns).unwrap().with_unknown(unknown).filled_by(name);
        assert_eq!(filled(UnknownFields::Reject, "x"), Filled::Unknown);
        assert_eq!(filled(UnknownFields::Ignore, "x"), Filled::Columns(Vec::new()));
        assert_eq!(filled(UnknownFields::Extra, "x"), Filled::Extra);
        assert_eq!(filled(UnknownFields::Extra, "ip"), Filled::Columns(vec![0]));
        let map = ColumnMap::new(&[], &columns).unwrap().with_unknown(UnknownFields::Extra);
        let sources = ["a", "ip", "b"].map(str::to_owned);
        assert_eq!((map.extras(&sources), map.extra_column()), (vec![0, 2], Some(1)));
        let map = ColumnMap::new(&[("*".to_owned(), String::new())], &columns).unwrap();
        assert_eq!(map.with_unknown(UnknownFields::Extra).filled_by("x"), Filled::Columns(Vec::new()));
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
