//! Options of CREATE TABLE about rows to come, and `ALTER TABLE … SET (option='value')`, `… RESET (option)`.
//!
//! ALTER edits the stored CREATE statement in place, comments kept: the text stays the definition, so a changed option
//! goes through the same checks as a written one.

use arrow::datatypes::{DataType, Schema};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, is_word};
use super::options::{self, OptionValue, Options};
use super::{create_table, names};
use crate::base::suggestion;
use crate::catalog::CatalogError;
use crate::catalog::table_options::{EXTRA_COLUMN, IngestOptions, Landing, UnknownFields};

/// Options that stored rows do not depend on.
pub const CHANGEABLE: [&str; 12] = [
    "lateness",
    "clock_skew",
    "retention",
    "on_error",
    "unknown_fields",
    "landing",
    "landing_format",
    "landing_rate",
    "landing_map",
    "landing_time_format",
    "landing_order",
    "mode",
];
const FORMATS: [&str; 6] = ["auto", "parquet", "csv", "tsv", "ndjson", "json"];
const LANDING_DETAILS: [&str; 5] =
    ["landing_format", "landing_rate", "landing_map", "landing_time_format", "landing_order"];

/// Takes `on_error`, `unknown_fields` and `landing…` out of the options.
pub fn take(options: &mut Options, columns: &Schema) -> Result<IngestOptions, CatalogError> {
    let on_error = options.take("on_error").map(|option| option.parse()).transpose()?.unwrap_or_default();
    let unknown_fields = match options.take("unknown_fields") {
        Some(option) => take_unknown_fields(&option, columns)?,
        None => UnknownFields::default(),
    };
    Ok(IngestOptions { on_error, unknown_fields, landing: take_landing(options, columns)? })
}

fn take_unknown_fields(option: &OptionValue, columns: &Schema) -> Result<UnknownFields, CatalogError> {
    let unknown_fields = option.parse()?;
    if unknown_fields == UnknownFields::Extra {
        match columns.field_with_name(EXTRA_COLUMN) {
            Ok(field) if matches!(field.data_type(), DataType::Map(..)) && field.is_nullable() => {}
            _ => {
                return Err(option.position.bad(format!(
                    "unknown_fields='extra' keeps them in a column of the table; declare {EXTRA_COLUMN} MAP<VARCHAR, VARCHAR>"
                )));
            }
        }
    }
    Ok(unknown_fields)
}

fn take_landing(options: &mut Options, columns: &Schema) -> Result<Option<Landing>, CatalogError> {
    let Some(landing) = options.take("landing") else {
        return match LANDING_DETAILS.iter().find_map(|key| options.take(key)) {
            Some(option) => Err(option.key_position.bad(format!("option '{}' needs landing='folder'", option.key))),
            None => Ok(None),
        };
    };
    if landing.text.trim().is_empty() {
        return Err(landing.position.bad("landing names no folder; leave it out for a table without one"));
    }
    let format = match options.take("landing_format") {
        Some(option) => take_format(&option)?,
        None => None,
    };
    let map = match options.take("landing_map") {
        Some(option) => take_map(&option, columns)?,
        None => Vec::new(),
    };
    Ok(Some(Landing {
        from: landing.text,
        format,
        rate: options.take("landing_rate").map(|option| option.parse()).transpose()?,
        map,
        time_format: options.take("landing_time_format").map(|option| option.text),
        order: options.take("landing_order").map(|option| option.parse()).transpose()?.unwrap_or_default(),
    }))
}

fn take_format(option: &OptionValue) -> Result<Option<String>, CatalogError> {
    let name = option.text.to_lowercase();
    if !FORMATS.contains(&name.as_str()) {
        let near = suggestion(&name, FORMATS);
        return Err(option.position.bad(format!("'{}' is not one of {}{near}", option.text, FORMATS.join(", "))));
    }
    Ok((name != "auto").then_some(name))
}

fn take_map(option: &OptionValue, columns: &Schema) -> Result<Vec<(String, String)>, CatalogError> {
    let mut map = Vec::new();
    for pair in option.list() {
        let Some((source, column)) = pair.split_once('=') else {
            return Err(option.position.bad(format!("landing_map: '{pair}' is not of the form source=column")));
        };
        let (source, column) = (source.trim(), column.trim());
        let known = columns.fields().iter().any(|field| field.name().eq_ignore_ascii_case(column));
        if !column.is_empty() && !known {
            let near = suggestion(column, columns.fields().iter().map(|field| field.name().as_str()));
            return Err(option.position.bad(format!("landing_map: the table has no column '{column}'{near}")));
        }
        map.push((source.to_owned(), column.to_owned()));
    }
    Ok(map)
}

/// Options to set (with their value) and to reset.
pub type OptionChanges = Vec<(String, Option<String>)>;

/// What follows `ALTER TABLE name SET`.
pub fn set(cursor: &mut Cursor) -> Result<OptionChanges, CatalogError> {
    let mut changes = Vec::new();
    for option in Options::parenthesised(cursor)?.into_rest() {
        check_changeable(&option)?;
        changes.push((option.key, Some(option.text)));
    }
    if changes.is_empty() { Err(cursor.expected("an option, such as (lateness='3 days')")) } else { Ok(changes) }
}

/// What follows `ALTER TABLE name RESET`.
pub fn reset(cursor: &mut Cursor) -> Result<OptionChanges, CatalogError> {
    cursor.expect_symbol(&Token::LParen)?;
    let mut changes = Vec::new();
    loop {
        let key_position = cursor.position();
        let key = names::identifier(cursor, "an option name")?;
        let option = OptionValue { key, text: String::new(), key_position, position: key_position };
        check_changeable(&option)?;
        changes.push((option.key, None));
        if cursor.symbol(&Token::RParen) {
            return Ok(changes);
        }
        cursor.expect_symbol(&Token::Comma)?;
    }
}

fn check_changeable(option: &OptionValue) -> Result<(), CatalogError> {
    if CHANGEABLE.contains(&option.key.as_str()) {
        return Ok(());
    }
    if create_table::OPTIONS.contains(&option.key.as_str()) {
        return Err(option.key_position.bad(format!(
            "option '{}' cannot change: rows are stored by it; make a new table and INSERT INTO it from this one",
            option.key
        )));
    }
    Err(options::unknown(option, "ALTER TABLE", &CHANGEABLE))
}

/// The options of a text, by byte offsets: what is between the parentheses.
struct Clause {
    from: usize,
    options: Vec<Written>,
    end: usize,
}

struct Written {
    key: String,
    from: usize,
    value_from: usize,
    value_end: usize,
}

/// The CREATE TABLE statement `sql` with options set and reset.
///
/// # Errors
/// When the text is no CREATE TABLE.
pub fn with_options(sql: &str, changes: &[(String, Option<String>)]) -> Result<String, CatalogError> {
    let mut cursor = Cursor::new(sql)?;
    skip_columns(&mut cursor)?;
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    if !is_word(cursor.peek(), "WITH") {
        let at = cursor.offset_behind();
        let set: Vec<String> =
            changes.iter().filter_map(|(key, value)| Some(format!("{key}={}", quoted(value.as_ref()?)))).collect();
        let with = if set.is_empty() { String::new() } else { format!("\nWITH ({})", set.join(", ")) };
        return Ok(format!("{}{with}{}", &sql[..at], &sql[at..]));
    }
    cursor.advance();
    let Clause { from, options, end } = clause(&mut cursor)?;
    let removes = |key: &str| changes.iter().any(|(changed, value)| changed == key && value.is_none());
    let set = |key: &str| changes.iter().find_map(|(changed, value)| value.as_ref().filter(|_| changed == key));
    let added = changes.iter().filter(|(key, _)| !options.iter().any(|option| option.key == *key));
    let added = added.filter_map(|(key, value)| Some(format!("{key}={}", quoted(value.as_ref()?))));
    if options.is_empty() || options.iter().any(|option| removes(&option.key)) {
        // Written anew: commas of a list with gaps are not worth keeping.
        let kept = options.iter().filter(|option| !removes(&option.key)).map(|option| match set(&option.key) {
            Some(value) => format!("{}{}", &sql[option.from..option.value_from], quoted(value)),
            None => sql[option.from..option.value_end].to_owned(),
        });
        let all: Vec<String> = kept.chain(added).collect();
        return Ok(format!("{}{}{}", &sql[..from], all.join(", "), &sql[end..]));
    }
    let mut text = sql[..from].to_owned();
    let mut at = from;
    for option in &options {
        if let Some(value) = set(&option.key) {
            text.push_str(&sql[at..option.value_from]);
            text.push_str(&quoted(value));
            at = option.value_end;
        }
    }
    let last = options.last().map_or(from, |option| option.value_end);
    text.push_str(&sql[at..last]);
    added.for_each(|option| text.push_str(&format!(", {option}")));
    text.push_str(&sql[last..]);
    Ok(text)
}

/// Moves behind the `)` of the column list.
fn skip_columns(cursor: &mut Cursor) -> Result<(), CatalogError> {
    let mut depth = 0_usize;
    loop {
        let token = cursor.peek().clone();
        match token {
            Token::EOF => return Err(cursor.expected("a list of columns")),
            Token::LParen => depth += 1,
            Token::RParen if depth <= 1 => {
                cursor.advance();
                return Ok(());
            }
            Token::RParen => depth -= 1,
            _ => {}
        }
        cursor.advance();
    }
}

/// Reads the options and the parentheses around them.
fn clause(cursor: &mut Cursor) -> Result<Clause, CatalogError> {
    cursor.expect_symbol(&Token::LParen)?;
    let from = cursor.offset_behind();
    let mut options = Vec::new();
    loop {
        let end = cursor.offset();
        if cursor.symbol(&Token::RParen) {
            return Ok(Clause { from, options, end });
        }
        let from = end;
        let key = match cursor.peek().clone() {
            Token::SingleQuotedString(key) => {
                cursor.advance();
                key
            }
            _ => names::identifier(cursor, "an option name")?,
        };
        cursor.expect_symbol(&Token::Eq)?;
        let value_from = cursor.offset();
        cursor.advance();
        options.push(Written { key, from, value_from, value_end: cursor.offset_behind() });
        if !cursor.symbol(&Token::Comma) && *cursor.peek() != Token::RParen {
            return Err(cursor.expected("',' or ')' after the option"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(sql: &str, changes: &[(&str, Option<&str>)]) -> String {
        let changes: Vec<_> =
            changes.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
        let text = with_options(sql, &changes).unwrap();
        super::super::parse_statement(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        text
    }

    #[test]
    fn options_are_edited_in_place() {
        let sql = "CREATE TABLE t (a INT, -- (\n CHECK (a > 0)) WITH (\n on_error = 'fail', -- why\n sort_by='a')";
        assert_eq!(
            changed(sql, &[("on_error", Some("reject"))]),
            "CREATE TABLE t (a INT, -- (\n CHECK (a > 0)) WITH (\n on_error = 'reject', -- why\n sort_by='a')"
        );
        assert_eq!(
            changed("CREATE TABLE t (a INT) WITH (sort_by='a')", &[("landing", Some("it's"))]),
            "CREATE TABLE t (a INT) WITH (sort_by='a', landing='it''s')"
        );
        assert_eq!(
            changed("CREATE TABLE t (a INT)", &[("on_error", Some("fail"))]),
            "CREATE TABLE t (a INT)\nWITH (on_error='fail')"
        );
    }

    #[test]
    fn options_are_removed() {
        let sql = "CREATE TABLE t (a INT) WITH (on_error='fail', sort_by='a', unknown_fields='ignore')";
        assert_eq!(
            changed(sql, &[("on_error", None), ("unknown_fields", None)]),
            "CREATE TABLE t (a INT) WITH (sort_by='a')"
        );
        let sql = "CREATE TABLE t (a INT) WITH (on_error='fail')";
        assert_eq!(changed(sql, &[("on_error", None)]), "CREATE TABLE t (a INT) WITH ()");
        assert_eq!(
            changed(sql, &[("on_error", None), ("unknown_fields", Some("ignore"))]),
            "CREATE TABLE t (a INT) WITH (unknown_fields='ignore')"
        );
    }
}
