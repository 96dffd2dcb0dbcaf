//! `KILL QUERY id`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::Statement;
use super::cursor::Cursor;
use crate::catalog::CatalogError;

/// What was expected.
const ID: &str = "the id of a statement, as in system.queries";
/// Longest id read: those of ours have 32 characters.
const ID_LENGTH_MAX: usize = 64;

/// The id may stand in quotes; as it is it is read from the text, for `019f1e3…` is no token of SQL.
pub fn kill(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("KILL")?;
    if !cursor.word("QUERY") {
        return Err(cursor.expected("QUERY"));
    }
    let (from, position) = (cursor.offset(), cursor.position());
    while !matches!(cursor.peek(), Token::EOF | Token::SemiColon) {
        cursor.advance();
    }
    let written = cursor.slice(from, cursor.offset_behind()).trim();
    let unquoted = written.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let query_id = unquoted.unwrap_or(written).to_owned();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if query_id.is_empty() || query_id.len() > ID_LENGTH_MAX || !query_id.bytes().all(is_plain) {
        return Err(position.syntax(format!("expected {ID}")));
    }
    cursor.expect_end()?;
    Ok(Statement::Kill { query_id })
}
