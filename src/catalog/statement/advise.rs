//! `ADVISE MATERIALIZED VIEWS [FOR 'query']`.

use super::Statement;
use super::cursor::Cursor;
use crate::catalog::CatalogError;

pub fn advise(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("ADVISE")?;
    cursor.expect_word("MATERIALIZED")?;
    if !cursor.word("VIEWS") {
        return Err(cursor.expected("VIEWS"));
    }
    let query = match cursor.word("FOR") {
        true => Some(cursor.expect_string("a query in quotes, such as 'SELECT … FROM … GROUP BY …'")?),
        false => None,
    };
    cursor.expect_end()?;
    Ok(Statement::Advise { query })
}
