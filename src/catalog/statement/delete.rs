//! `DELETE FROM table WHERE predicate`: one table, no alias; what goes is said in full, `WHERE TRUE` included.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, is_word};
use super::{Delete, Statement, names, query};
use crate::catalog::CatalogError;

/// Schemas without tables of users.
const SYSTEM_SCHEMAS: [&str; 2] = ["system", "information_schema"];
/// Words that bring in a second table.
const JOINS: [&str; 9] = ["USING", "JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL", "FROM"];
const NO_JOIN: &str = "DELETE names one table; choose its rows by others with WHERE column IN (SELECT … FROM other)";

/// `DELETE FROM name WHERE predicate`
pub fn delete(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("DELETE")?;
    cursor.expect_word("FROM")?;
    let position = cursor.position();
    if *cursor.peek_second() == Token::Period && SYSTEM_SCHEMAS.iter().any(|schema| is_word(cursor.peek(), schema)) {
        return Err(position
            .unimplemented("nothing is deleted from system tables: they show what is, and follow by themselves"));
    }
    let table = names::object_name(cursor, "the name of the table")?;
    let position = cursor.position();
    match cursor.peek() {
        Token::EOF | Token::SemiColon => {
            return Err(position.bad(format!(
                "DELETE without WHERE would delete every row of '{table}'; if that is meant, write WHERE TRUE, or \
                 DROP TABLE to be rid of the table too"
            )));
        }
        Token::Comma => return Err(position.unimplemented(NO_JOIN)),
        token if JOINS.iter().any(|word| is_word(token, word)) => return Err(position.unimplemented(NO_JOIN)),
        token if is_word(token, "RETURNING") => return Err(no_returning(cursor)),
        token if is_word(token, "WHERE") => cursor.advance(),
        Token::Word(_) => {
            return Err(position.unimplemented("DELETE takes no alias for its table; write its columns as they are"));
        }
        _ => return Err(cursor.expected("WHERE")),
    }
    query::predicate(cursor)?;
    let position = cursor.position();
    if is_word(cursor.peek(), "RETURNING") {
        return Err(no_returning(cursor));
    }
    if is_word(cursor.peek(), "ORDER") || is_word(cursor.peek(), "LIMIT") {
        return Err(
            position.unimplemented("ORDER BY and LIMIT of DELETE are not supported: say in WHERE which rows go")
        );
    }
    let sql = cursor.slice(0, cursor.offset_behind()).to_owned();
    cursor.expect_end()?;
    Ok(Statement::Delete(Delete { table, sql }))
}

fn no_returning(cursor: &Cursor) -> CatalogError {
    cursor.position().unimplemented("RETURNING is not supported: select the rows first; the answer is how many went")
}
