//! Statements that change objects, rows or files: DROP, ALTER, REPLAY REJECTS, COPY INTO, INSERT INTO, OPTIMIZE, VACUUM.

use std::sync::Arc;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, is_word};
use super::options::{self, Options};
use super::{
    AlterAddColumn, AlterOptions, CopyInto, DropObject, Maintain, MaintainWork, Replay, Statement, alter_options,
    create, create_table, names, query, security,
};
use crate::base::Span;
use crate::catalog::{CatalogError, ObjectKind};

/// Options of COPY INTO; their values are read by `ingest`.
const COPY_OPTIONS: [&str; 6] = ["format", "map", "time_format", "max_rejects", "header", "delimiter"];

/// `DROP kind [IF EXISTS] name [CASCADE | RESTRICT]`
pub fn drop_object(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("DROP")?;
    let kind = create::object_kind(cursor, "DROP")?;
    let if_exists = cursor.words(&["IF", "EXISTS"]);
    let name = names::object_name(cursor, &format!("the name of the {kind}"))?;
    let cascade = cursor.word("CASCADE");
    if !cascade {
        cursor.word("RESTRICT");
    }
    cursor.expect_end()?;
    Ok(Statement::Drop(DropObject { kind, name, if_exists, cascade }))
}

/// `ALTER TABLE name ADD [COLUMN] column type | SET (option='value', …) | RESET (option, …)`,
/// `ALTER MATERIALIZED VIEW name SET (option='value', …) | RESET (option, …)`
pub fn alter(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("ALTER")?;
    let position = cursor.position();
    if cursor.words(&["MATERIALIZED", "VIEW"]) {
        return alter_view(cursor);
    }
    if !cursor.word("TABLE") {
        return Err(position.unimplemented(
            "only ALTER TABLE and ALTER MATERIALIZED VIEW are supported; for other objects use CREATE OR REPLACE",
        ));
    }
    let table = names::object_name(cursor, "the name of the table")?;
    let position = cursor.position();
    if let Some(changes) = alter_options::read(cursor, &alter_options::OF_TABLES)? {
        cursor.expect_end()?;
        return Ok(Statement::AlterOptions(AlterOptions { kind: ObjectKind::Table, name: table, changes }));
    }
    if is_word(cursor.peek(), "ALTER") {
        return security::mask(cursor, table);
    }
    if !cursor.word("ADD") {
        return Err(position.unimplemented(
            "only ALTER TABLE … ADD COLUMN name type, SET (option='value') and RESET (option) are supported",
        ));
    }
    cursor.word("COLUMN");
    let position = cursor.position();
    if is_word(cursor.peek(), "CONSTRAINT") {
        return Err(position.unimplemented("ALTER TABLE … ADD CONSTRAINT is not supported"));
    }
    let mut checks = Vec::new();
    let field = create_table::column(cursor, &mut checks)?;
    if !field.is_nullable() {
        return Err(position.bad(format!(
            "column '{}' cannot be NOT NULL: the rows that are there have no value for it",
            field.name()
        )));
    }
    if !checks.is_empty() {
        return Err(position.unimplemented("CHECK in ADD COLUMN is not supported"));
    }
    cursor.expect_end()?;
    Ok(Statement::AlterAddColumn(AlterAddColumn { table, field: Arc::new(field) }))
}

fn alter_view(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    let name = names::object_name(cursor, "the name of the materialized view")?;
    let position = cursor.position();
    let Some(changes) = alter_options::read(cursor, &alter_options::OF_MATERIALIZED_VIEWS)? else {
        return Err(position.unimplemented(
            "only ALTER MATERIALIZED VIEW … SET (option='value') and RESET (option) are supported; for another query use \
             CREATE OR REPLACE",
        ));
    };
    cursor.expect_end()?;
    Ok(Statement::AlterOptions(AlterOptions { kind: ObjectKind::MaterializedView, name, changes }))
}

/// `REPLAY REJECTS FROM name [WHERE predicate]`
pub fn replay(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("REPLAY")?;
    cursor.expect_word("REJECTS")?;
    cursor.expect_word("FROM")?;
    let table = names::object_name(cursor, "the name of the table")?;
    let mut predicate = None;
    if cursor.word("WHERE") {
        let from = cursor.offset();
        cursor.parse(|parser| parser.parse_expr())?;
        predicate = Some(cursor.slice(from, cursor.offset_behind()).trim().to_owned());
    }
    cursor.expect_end()?;
    Ok(Statement::Replay(Replay { table, predicate }))
}

/// `COPY INTO table FROM 'pattern' [WITH (…)]`
pub fn copy(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("COPY")?;
    let position = cursor.position();
    if !cursor.word("INTO") {
        return Err(position.unimplemented(
            "only COPY INTO table FROM 'files' is supported; to write files, query from a client or the command line",
        ));
    }
    let table = names::object_name(cursor, "the name of the table")?;
    cursor.expect_word("FROM")?;
    let from = cursor.expect_string("the files in quotes, such as 'data/*.parquet'")?;
    let mut taken = Vec::new();
    for option in Options::read(cursor)?.into_rest() {
        if !COPY_OPTIONS.contains(&option.key.as_str()) {
            return Err(options::unknown(&option, "COPY INTO", &COPY_OPTIONS));
        }
        taken.push((option.key, option.text));
    }
    cursor.expect_end()?;
    Ok(Statement::Copy(CopyInto { table, from, options: taken }))
}

/// `OPTIMIZE TABLE table`
pub fn optimize(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("OPTIMIZE")?;
    cursor.expect_word("TABLE")?;
    let table = names::object_name(cursor, "the name of the table")?;
    cursor.expect_end()?;
    Ok(Statement::Maintain(Maintain { table, work: MaintainWork::Optimize }))
}

/// `VACUUM TABLE table [RETAIN 'length of time']`
pub fn vacuum(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("VACUUM")?;
    cursor.expect_word("TABLE")?;
    let table = names::object_name(cursor, "the name of the table")?;
    let mut retain = None;
    if cursor.word("RETAIN") {
        let position = cursor.position();
        let text = cursor.expect_string("a length of time in quotes, such as '2 hours'")?;
        retain = Some(text.parse::<Span>().map_err(|reason| position.bad(format!("RETAIN: {reason}")))?);
    }
    cursor.expect_end()?;
    Ok(Statement::Maintain(Maintain { table, work: MaintainWork::Vacuum { retain } }))
}

/// `INSERT INTO table [(columns)] query`
pub fn insert(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("INSERT")?;
    if is_word(cursor.peek(), "OVERWRITE") {
        return Err(cursor.position().unimplemented("INSERT OVERWRITE is not supported: rows are only added"));
    }
    cursor.expect_word("INTO")?;
    cursor.word("TABLE");
    let table = names::object_name(cursor, "the name of the table")?;
    let columns = match cursor.peek() {
        Token::LParen if !begins_query(cursor.peek_second()) => column_list(cursor)?,
        _ => Vec::new(),
    };
    let from = cursor.offset();
    query::read(cursor)?;
    let source = cursor.slice(from, cursor.offset_behind()).trim().to_owned();
    if is_word(cursor.peek(), "ON") || is_word(cursor.peek(), "RETURNING") {
        return Err(cursor.position().unimplemented("ON CONFLICT and RETURNING are not supported"));
    }
    cursor.expect_end()?;
    Ok(Statement::Insert { table, columns, source })
}

/// Whether a token begins a query.
pub fn begins_query(token: &Token) -> bool {
    *token == Token::LParen || ["SELECT", "WITH", "VALUES", "TABLE", "FROM"].iter().any(|word| is_word(token, word))
}

fn column_list(cursor: &mut Cursor) -> Result<Vec<String>, CatalogError> {
    cursor.expect_symbol(&Token::LParen)?;
    let mut columns = Vec::new();
    loop {
        let position = cursor.position();
        let name = names::identifier(cursor, "a column name")?;
        if columns.contains(&name) {
            return Err(position.bad(format!("column '{name}' is named twice")));
        }
        columns.push(name);
        if cursor.symbol(&Token::RParen) {
            return Ok(columns);
        }
        if !cursor.symbol(&Token::Comma) {
            return Err(cursor.expected("',' or ')' after the column"));
        }
    }
}
