//! `CREATE TABLE name (columns, CHECK (…)) WITH (event_time=…, …)`.
//!
//! Everything the options name is checked against the columns here, so a stored definition is a consistent one.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::create::Body;
use super::cursor::{Cursor, Position, is_word};
use super::options::{OptionValue, Options};
use super::{checks, names, partitioning, table_options, types};
use crate::base::Span;
use crate::catalog::{CatalogError, Definition, TableDefinition, TableKind};

/// Every option of a table.
pub const OPTIONS: [&str; 18] = [
    "event_time",
    "event_key",
    "partition_by",
    "sort_by",
    "lateness",
    "clock_skew",
    "kind",
    "key",
    "mode",
    "retention",
    "on_error",
    "unknown_fields",
    "landing",
    "landing_format",
    "landing_rate",
    "landing_map",
    "landing_time_format",
    "landing_order",
];
/// Shorter retentions are mistakes.
const RETENTION_MIN: Span = Span::from_secs(3600);
const KINDS: [&str; 3] = ["plain", "event", "snapshot"];

/// Reads what follows the table's name.
pub fn body(cursor: &mut Cursor) -> Result<Body, CatalogError> {
    if is_word(cursor.peek(), "AS") || (is_word(cursor.peek(), "WITH") && *cursor.peek_second() != Token::LParen) {
        return Err(cursor.position().unimplemented(
            "CREATE TABLE … AS is not supported yet: create the table with its columns, then INSERT INTO … SELECT",
        ));
    }
    let items = items(cursor)?;
    let columns: SchemaRef = Arc::new(Schema::new(items.columns));
    let mut checks = Vec::with_capacity(items.checks.len());
    for check in items.checks {
        checks.push(check.against(&columns)?);
    }
    let mut options = Options::read(cursor)?;
    if is_word(cursor.peek(), "AS") {
        return Err(cursor
            .position()
            .unimplemented("CREATE TABLE … AS is not supported yet: INSERT INTO it afterwards"));
    }
    options.refuse("mode", "a load replaces the keys it brings and keeps the others")?;
    let layout = partitioning::take_layout(&mut options, Some(&columns))?;
    let kind = take_kind(&mut options, &columns)?;
    let ingest = table_options::take(&mut options, &columns)?;
    options.finish("CREATE TABLE", &OPTIONS)?;
    let partitioning::Layout { partition_by, sort_by } = layout;
    let definition = TableDefinition { columns, kind, partition_by, sort_by, checks, ingest };
    Ok(Body { definition: Definition::Table(definition), reads: Vec::new() })
}

/// Reads `name type [NULL | NOT NULL]`, as ALTER TABLE … ADD COLUMN has it too; CHECKs behind it go to `checks`.
pub fn column(cursor: &mut Cursor, checks: &mut Vec<checks::Check>) -> Result<Field, CatalogError> {
    let position = cursor.position();
    let name = names::new_column_name(cursor)?;
    let data_type = types::data_type(cursor)?;
    types::check_money(&name, &data_type, position)?;
    let mut nullable = true;
    loop {
        let position = cursor.position();
        if cursor.words(&["NOT", "NULL"]) {
            nullable = false;
        } else if cursor.word("NULL") {
            nullable = true;
        } else if is_word(cursor.peek(), "CHECK") || is_word(cursor.peek(), "CONSTRAINT") {
            checks.push(checks::read(cursor)?);
        } else if is_word(cursor.peek(), "DEFAULT") {
            return Err(position.unimplemented("DEFAULT is not supported yet: a missing value is NULL"));
        } else if is_word(cursor.peek(), "PRIMARY") || is_word(cursor.peek(), "UNIQUE") {
            return Err(key_constraint(position));
        } else if is_word(cursor.peek(), "REFERENCES") {
            return Err(position.unimplemented("REFERENCES is not supported: rows of other tables are not looked up"));
        } else {
            return Ok(Field::new(name, data_type, nullable));
        }
    }
}

struct Items {
    columns: Vec<Field>,
    checks: Vec<checks::Check>,
}

fn items(cursor: &mut Cursor) -> Result<Items, CatalogError> {
    let mut items = Items { columns: Vec::new(), checks: Vec::new() };
    cursor.expect_symbol(&Token::LParen)?;
    loop {
        let position = cursor.position();
        if is_check(cursor) {
            items.checks.push(checks::read(cursor)?);
        } else if is_word(cursor.peek(), "PRIMARY") || is_word(cursor.peek(), "UNIQUE") {
            return Err(key_constraint(position));
        } else {
            let field = column(cursor, &mut items.checks)?;
            if items.columns.iter().any(|other| other.name().eq_ignore_ascii_case(field.name())) {
                return Err(position.bad(format!("column '{}' is declared twice", field.name())));
            }
            items.columns.push(field);
        }
        if cursor.symbol(&Token::RParen) {
            break;
        }
        if !cursor.symbol(&Token::Comma) {
            return Err(cursor.expected("',' or ')' after the column"));
        }
    }
    if items.columns.is_empty() {
        return Err(cursor.position().bad("a table needs at least one column"));
    }
    Ok(items)
}

/// `CHECK (` or `CONSTRAINT name CHECK`; a column may well be called `check`.
fn is_check(cursor: &Cursor) -> bool {
    (is_word(cursor.peek(), "CHECK") && *cursor.peek_second() == Token::LParen) || is_word(cursor.peek(), "CONSTRAINT")
}

fn key_constraint(position: Position) -> CatalogError {
    position.unimplemented(
        "PRIMARY KEY and UNIQUE are not supported: use WITH (event_key='column'), or kind='snapshot', key='column'",
    )
}

fn take_kind(options: &mut Options, columns: &Schema) -> Result<TableKind, CatalogError> {
    let kind = options.take("kind");
    let name = kind.as_ref().map(|option| option.text.to_lowercase());
    if let (Some(option), Some(name)) = (&kind, &name)
        && !KINDS.contains(&name.as_str())
    {
        let near = crate::base::suggestion(name, KINDS);
        return Err(option
            .position
            .bad(format!("option kind: unknown kind '{name}'; use plain, event or snapshot{near}")));
    }
    let event_time = options.take("event_time");
    match (name.as_deref(), event_time) {
        (Some("snapshot"), None) => snapshot(options, columns, kind),
        (Some(other @ ("snapshot" | "plain")), Some(option)) => {
            Err(option.key_position.bad(format!("a table of kind '{other}' has no event_time; leave kind out")))
        }
        (Some("event"), None) => Err(kind_needs(kind, "kind='event' needs event_time='column'")),
        (_, Some(option)) => event(options, columns, &option),
        (_, None) => plain(options),
    }
}

fn plain(options: &mut Options) -> Result<TableKind, CatalogError> {
    for key in ["event_key", "lateness", "clock_skew", "retention"] {
        if let Some(option) = options.take(key) {
            return Err(option.key_position.bad(format!("option '{key}' needs event_time='column'")));
        }
    }
    refuse_key(options)?;
    Ok(TableKind::Plain)
}

fn event(options: &mut Options, columns: &Schema, event_time: &OptionValue) -> Result<TableKind, CatalogError> {
    refuse_key(options)?;
    let name = partitioning::column_name(&event_time.text);
    let field = partitioning::find_column("event_time", &name, columns, event_time.position)?;
    if *field.data_type() != types::timestamp_utc() {
        return Err(event_time.position.bad(format!("event_time column '{name}' must be TIMESTAMP WITH TIME ZONE")));
    }
    require_not_null("event_time", field, event_time.position)?;
    let event_key = match options.take("event_key") {
        Some(option) => Some(key_column("event_key", &option.text, columns, option.position)?),
        None => None,
    };
    let lateness = take_span(options, "lateness")?;
    Ok(TableKind::Event {
        event_time: name,
        event_key,
        lateness,
        clock_skew: take_span(options, "clock_skew")?,
        retention: take_retention(options, lateness)?,
    })
}

fn snapshot(options: &mut Options, columns: &Schema, kind: Option<OptionValue>) -> Result<TableKind, CatalogError> {
    for key in ["event_key", "lateness", "clock_skew", "retention"] {
        if let Some(option) = options.take(key) {
            return Err(option
                .key_position
                .bad(format!("option '{key}' is for event tables, not for kind='snapshot'")));
        }
    }
    let Some(option) = options.take("key") else {
        return Err(kind_needs(kind, "kind='snapshot' needs key='column, …'"));
    };
    let mut key = Vec::new();
    for name in option.list() {
        let name = key_column("key", &name, columns, option.position)?;
        if key.contains(&name) {
            return Err(option.position.bad(format!("key names '{name}' twice")));
        }
        key.push(name);
    }
    if key.is_empty() {
        return Err(option.position.bad("key names no column"));
    }
    Ok(TableKind::Snapshot { key })
}

fn kind_needs(kind: Option<OptionValue>, message: &str) -> CatalogError {
    let position = kind.map_or(Position { line: 1, column: 1 }, |option| option.key_position);
    position.bad(message)
}

fn refuse_key(options: &mut Options) -> Result<(), CatalogError> {
    match options.take("key") {
        Some(option) => Err(option.key_position.bad("option 'key' is for kind='snapshot'; event tables use event_key")),
        None => Ok(()),
    }
}

fn key_column(option: &str, text: &str, columns: &Schema, position: Position) -> Result<String, CatalogError> {
    let name = partitioning::column_name(text);
    let field = partitioning::find_column(option, &name, columns, position)?;
    let data_type = field.data_type();
    let is_time = matches!(data_type, DataType::Timestamp(..));
    let is_key = is_time || (partitioning::is_discrete(data_type) && *data_type != DataType::Boolean);
    if !is_key {
        return Err(
            position.bad(format!("{option} column '{name}' must be text, a whole number, a date or a timestamp"))
        );
    }
    require_not_null(option, field, position)?;
    Ok(name)
}

fn require_not_null(option: &str, field: &FieldRef, position: Position) -> Result<(), CatalogError> {
    if field.is_nullable() {
        return Err(position.bad(format!("{option} column '{}' must be declared NOT NULL", field.name())));
    }
    Ok(())
}

fn take_span(options: &mut Options, key: &str) -> Result<Option<Span>, CatalogError> {
    options.take(key).map(|option| option.parse::<Span>()).transpose()
}

/// Rows that are still accepted are not removed at once.
fn take_retention(options: &mut Options, lateness: Option<Span>) -> Result<Option<Span>, CatalogError> {
    let Some(option) = options.take("retention") else { return Ok(None) };
    let retention = option.parse::<Span>()?;
    match lateness {
        _ if retention < RETENTION_MIN => {
            Err(option.position.bad(format!("retention '{retention}' is too short: use at least '{RETENTION_MIN}'")))
        }
        Some(lateness) if retention < lateness => Err(option.position.bad(format!(
            "retention '{retention}' is shorter than lateness '{lateness}': events would be accepted and then removed"
        ))),
        _ => Ok(Some(retention)),
    }
}
