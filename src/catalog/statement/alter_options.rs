//! `ALTER TABLE … SET (option='value')`, `… RESET (option)`, and the same of materialized views.
//!
//! ALTER edits the stored CREATE statement in place, comments kept: the text stays the definition, so a changed option
//! goes through the same checks as a written one.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, is_word};
use super::options::{self, OptionValue, Options};
use super::{create_table, names, table_options, view_options};
use crate::catalog::CatalogError;

/// What ALTER may change of a kind of objects.
#[derive(Debug)]
pub struct Alterable {
    /// The statement's first words.
    statement: &'static str,
    changeable: &'static [&'static str],
    /// All options of CREATE.
    known: &'static [&'static str],
    /// How to change the others.
    instead: &'static str,
    example: &'static str,
}

pub const OF_TABLES: Alterable = Alterable {
    statement: "ALTER TABLE",
    changeable: &table_options::CHANGEABLE,
    known: &create_table::OPTIONS,
    instead: "make a new table and INSERT INTO it from this one",
    example: "(lateness='3 days')",
};
pub const OF_MATERIALIZED_VIEWS: Alterable = Alterable {
    statement: "ALTER MATERIALIZED VIEW",
    changeable: &view_options::CHANGEABLE,
    known: &view_options::OPTIONS,
    instead: "use CREATE OR REPLACE MATERIALIZED VIEW",
    example: "(refresh='every 5 minutes')",
};

/// Options to set (with their value) and to reset.
pub type OptionChanges = Vec<(String, Option<String>)>;

/// `SET (option='value', …)` or `RESET (option, …)`, if one of them comes next.
pub fn read(cursor: &mut Cursor, of: &Alterable) -> Result<Option<OptionChanges>, CatalogError> {
    let changes = if cursor.word("SET") {
        set(cursor, of)?
    } else if cursor.word("RESET") {
        reset(cursor, of)?
    } else {
        return Ok(None);
    };
    Ok(Some(changes))
}

fn set(cursor: &mut Cursor, of: &Alterable) -> Result<OptionChanges, CatalogError> {
    let mut changes = Vec::new();
    for option in Options::parenthesised(cursor)?.into_rest() {
        check_changeable(&option, of)?;
        changes.push((option.key, Some(option.text)));
    }
    if changes.is_empty() { Err(cursor.expected(&format!("an option, such as {}", of.example))) } else { Ok(changes) }
}

fn reset(cursor: &mut Cursor, of: &Alterable) -> Result<OptionChanges, CatalogError> {
    cursor.expect_symbol(&Token::LParen)?;
    let mut changes = Vec::new();
    loop {
        let key_position = cursor.position();
        let key = names::identifier(cursor, "an option name")?;
        let option = OptionValue { key, text: String::new(), key_position, position: key_position };
        check_changeable(&option, of)?;
        changes.push((option.key, None));
        if cursor.symbol(&Token::RParen) {
            return Ok(changes);
        }
        cursor.expect_symbol(&Token::Comma)?;
    }
}

fn check_changeable(option: &OptionValue, of: &Alterable) -> Result<(), CatalogError> {
    if of.changeable.contains(&option.key.as_str()) {
        return Ok(());
    }
    if of.known.contains(&option.key.as_str()) {
        return Err(option
            .key_position
            .bad(format!("option '{}' cannot change: rows are stored by it; {}", option.key, of.instead)));
    }
    Err(options::unknown(option, of.statement, of.changeable))
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

/// The CREATE TABLE or CREATE MATERIALIZED VIEW statement `sql` with options set and reset.
///
/// # Errors
/// When the text is neither.
pub fn with_options(sql: &str, changes: &[(String, Option<String>)]) -> Result<String, CatalogError> {
    let mut cursor = Cursor::new(sql)?;
    if cursor.words(&["CREATE", "MATERIALIZED", "VIEW"]) {
        names::object_name(&mut cursor, "the name of the materialized view")?;
    } else {
        skip_columns(&mut cursor)?;
    }
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
    #[test]
    fn options_of_materialized_views_are_edited_too() {
        assert_eq!(
            changed(
                "-- why\nCREATE MATERIALIZED VIEW v AS WITH x AS (SELECT 1 AS a) SELECT a FROM x",
                &[("refresh", Some("manual"))]
            ),
            "-- why\nCREATE MATERIALIZED VIEW v\nWITH (refresh='manual') AS WITH x AS (SELECT 1 AS a) SELECT a FROM x"
        );
        let sql = "CREATE MATERIALIZED VIEW public.v WITH (sort_by='a', -- by a\n rewrite='off') AS SELECT 1 AS a";
        assert_eq!(
            changed(sql, &[("rewrite", Some("on")), ("verify", Some("1%"))]),
            "CREATE MATERIALIZED VIEW public.v WITH (sort_by='a', -- by a\n rewrite='on', verify='1%') AS SELECT 1 AS a"
        );
        assert_eq!(
            changed(sql, &[("rewrite", None)]),
            "CREATE MATERIALIZED VIEW public.v WITH (sort_by='a') AS SELECT 1 AS a"
        );
    }
}
