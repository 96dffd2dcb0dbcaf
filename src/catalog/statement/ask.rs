//! Statements that ask or set: SELECT, EXPLAIN, SHOW, DESCRIBE, SET, RESET.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::change::begins_query;
use super::cursor::{Cursor, is_word};
use super::{ShowTarget, Statement, names, query, refresh};
use crate::catalog::{CatalogError, ObjectKind};

/// The setting behind `SET TIME ZONE`.
const TIME_ZONE_SETTING: &str = "datafusion.execution.time_zone";

/// What SHOW calls the tables about users and rights.
const SECURITY_TABLES: [(&str, &str); 6] = [
    ("USERS", "users"),
    ("ROLES", "roles"),
    ("TOKENS", "tokens"),
    ("GRANTS", "grants"),
    ("POLICIES", "policies"),
    ("MASKS", "masks"),
];

/// A query, to its end. The text is kept whole, so positions the planner reports are those of the user's text.
pub fn select(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    query::read(cursor)?;
    let text = cursor.slice(0, cursor.offset_behind()).trim_end().to_owned();
    cursor.expect_end()?;
    Ok(Statement::Query(text))
}

/// `EXPLAIN [ANALYZE] [VERBOSE] [FORMAT name] query`, `EXPLAIN REFRESH view`. Only of queries: EXPLAIN ANALYZE of a change
/// would make it.
pub fn explain(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("EXPLAIN")?;
    if is_word(cursor.peek(), "REFRESH") {
        return refresh::explain(cursor);
    }
    cursor.word("ANALYZE");
    cursor.word("VERBOSE");
    if cursor.word("FORMAT") {
        names::identifier(cursor, "a format, such as tree or indent")?;
    }
    let position = cursor.position();
    if is_word(cursor.peek(), "REFRESH") {
        return Err(position.syntax("EXPLAIN REFRESH view knows neither ANALYZE, VERBOSE nor FORMAT; leave them out"));
    }
    if !begins_query(cursor.peek()) {
        return Err(position.unimplemented("EXPLAIN shows the plan of a query only, such as EXPLAIN SELECT …"));
    }
    select(cursor)
}

/// `SHOW TABLES | VIEWS | MATERIALIZED VIEWS | ENDPOINTS | USERS | ROLES | TOKENS | GRANTS | POLICIES | MASKS | ALL |
/// COLUMNS FROM name | FUNCTIONS | setting`
pub fn show(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("SHOW")?;
    let kinds: [(&[&str], ObjectKind); 4] = [
        (&["TABLES"], ObjectKind::Table),
        (&["VIEWS"], ObjectKind::View),
        (&["MATERIALIZED", "VIEWS"], ObjectKind::MaterializedView),
        (&["ENDPOINTS"], ObjectKind::Endpoint),
    ];
    for (words, kind) in kinds {
        if cursor.words(words) {
            cursor.expect_end()?;
            return Ok(Statement::Show(ShowTarget::Objects(kind)));
        }
    }
    if cursor.words(&["COLUMNS", "FROM"]) || cursor.words(&["COLUMNS", "IN"]) {
        return described(cursor);
    }
    let position = cursor.position();
    for (word, table) in SECURITY_TABLES {
        if cursor.word(word) {
            cursor.expect_end()?;
            return Ok(Statement::Show(ShowTarget::Security(table)));
        }
    }
    for later in ["FEEDS", "TASKS", "COLLECTORS"] {
        if cursor.word(later) {
            return Err(position.unimplemented(format!("SHOW {later} is not supported yet")));
        }
    }
    if cursor.words(&["CREATE"]) {
        let message = "SHOW CREATE is not supported: SELECT sql FROM system.objects WHERE name = '…'";
        return Err(position.unimplemented(message));
    }
    if cursor.word("FUNCTIONS") {
        let text = cursor.slice(0, cursor.offset_behind()).to_owned();
        cursor.expect_end()?;
        return Ok(Statement::Query(text));
    }
    if cursor.word("ALL") {
        cursor.expect_end()?;
        return Ok(Statement::Show(ShowTarget::AllSettings));
    }
    let key = setting_name(cursor)?;
    cursor.expect_end()?;
    Ok(Statement::Show(ShowTarget::Setting(key)))
}

/// `DESCRIBE [TABLE] name`
pub fn describe(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.advance();
    if !matches!(cursor.peek_second(), Token::EOF | Token::SemiColon | Token::Period) {
        cursor.word("TABLE");
    }
    described(cursor)
}

/// `SET key = value`, `SET key TO value`, `SET TIME ZONE value`
pub fn set(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("SET")?;
    let key = if cursor.words(&["TIME", "ZONE"]) {
        cursor.symbol(&Token::Eq);
        TIME_ZONE_SETTING.to_owned()
    } else {
        let key = setting_name(cursor)?;
        if !cursor.symbol(&Token::Eq) && !cursor.word("TO") {
            return Err(cursor.expected(&format!("'=' after the setting '{key}'")));
        }
        key
    };
    let value = setting_value(cursor)?;
    cursor.expect_end()?;
    Ok(Statement::Set { key, value })
}

/// `RESET key`, `RESET ALL`
pub fn reset(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("RESET")?;
    let key = if cursor.word("ALL") { None } else { Some(setting_name(cursor)?) };
    cursor.expect_end()?;
    Ok(Statement::Reset { key })
}

fn described(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    let position = cursor.position();
    let mut parts = vec![names::identifier(cursor, "the name of a table or view")?];
    while cursor.symbol(&Token::Period) {
        parts.push(names::identifier(cursor, "the name of a table or view")?);
    }
    if parts.len() > 3 {
        return Err(position.bad(format!("'{}' has too many parts", parts.join("."))));
    }
    cursor.expect_end()?;
    let name = names::reduce(&parts).map_or_else(|| parts.join("."), str::to_owned);
    Ok(Statement::Describe { name })
}

fn setting_name(cursor: &mut Cursor) -> Result<String, CatalogError> {
    let mut parts = vec![names::identifier(cursor, "the name of a setting")?];
    while cursor.symbol(&Token::Period) {
        parts.push(names::identifier(cursor, "the name of a setting")?);
    }
    Ok(parts.join("."))
}

fn setting_value(cursor: &mut Cursor) -> Result<String, CatalogError> {
    let sign = if cursor.symbol(&Token::Minus) { "-" } else { "" };
    let text = match cursor.peek().clone() {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text,
        Token::Number(text, _) => text,
        Token::Word(word) => word.value,
        _ => return Err(cursor.expected("a value")),
    };
    cursor.advance();
    Ok(format!("{sign}{text}"))
}
