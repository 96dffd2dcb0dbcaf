//! Names of objects and columns: folding, allowed characters, the schema they may be written with.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Position};
use crate::catalog::CatalogError;

/// The one catalog and schema of user objects: `adlake.public.clicks` is `clicks`.
const CATALOG: &str = "adlake";
const SCHEMA: &str = "public";
/// Object names become folder names and parts of URLs.
const OBJECT_NAME_LENGTH_MAX: usize = 64;
/// Columns the engine adds for itself begin so.
const RESERVED_COLUMN_PREFIX: &str = "__adlake";
/// Delta refuses these in column names (its Parquet files cannot carry them without column mapping).
const COLUMN_NAME_FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '\r', '='];

/// Unquoted names are folded to lower case, quoted ones are kept.
pub fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        None => ident.value.to_lowercase(),
        Some(_) => ident.value.clone(),
    }
}

/// `name`, `public.name` or `adlake.public.name` → `name`; `None` for other schemas.
pub fn reduce(parts: &[String]) -> Option<&str> {
    match parts {
        [name] => Some(name),
        [schema, name] if schema == SCHEMA => Some(name),
        [catalog, schema, name] if catalog == CATALOG && schema == SCHEMA => Some(name),
        _ => None,
    }
}

/// Reads the name of an existing object, perhaps written with its schema.
pub fn object_name(cursor: &mut Cursor, what: &str) -> Result<String, CatalogError> {
    let position = cursor.position();
    let mut parts = vec![identifier(cursor, what)?];
    while cursor.symbol(&Token::Period) {
        parts.push(identifier(cursor, what)?);
    }
    reduce(&parts).map(str::to_owned).ok_or_else(|| {
        position
            .bad(format!("'{}': objects live in the schema {CATALOG}.{SCHEMA}; leave the schema out", parts.join(".")))
    })
}

/// Reads the name of an object to be made, and checks its characters.
pub fn new_object_name(cursor: &mut Cursor, what: &str) -> Result<String, CatalogError> {
    let position = cursor.position();
    let name = object_name(cursor, what)?;
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if !starts_well || !name.chars().all(allowed) || name.len() > OBJECT_NAME_LENGTH_MAX {
        return Err(position.bad(format!(
            "'{name}' cannot be the name of an object: use letters, digits, '_' and '-', starting with a letter, at most \
             {OBJECT_NAME_LENGTH_MAX} characters"
        )));
    }
    Ok(name)
}

/// Reads the name of a column to be made, and checks its characters.
pub fn new_column_name(cursor: &mut Cursor) -> Result<String, CatalogError> {
    let position = cursor.position();
    let name = identifier(cursor, "a column name")?;
    check_column_name(&name, position)?;
    Ok(name)
}

/// Reads an identifier, folded.
pub fn identifier(cursor: &mut Cursor, what: &str) -> Result<String, CatalogError> {
    if !matches!(cursor.peek(), Token::Word(_) | Token::DoubleQuotedString(_)) {
        return Err(cursor.expected(what));
    }
    let ident = cursor.parse(|parser| parser.parse_identifier())?;
    Ok(fold(&ident))
}

fn check_column_name(name: &str, position: Position) -> Result<(), CatalogError> {
    if name.is_empty() || name.contains(COLUMN_NAME_FORBIDDEN) || name.chars().any(char::is_control) {
        return Err(position.bad(format!(
            "'{name}' cannot be a column name: it must not be empty nor contain spaces or any of , ; {{ }} ( ) ="
        )));
    }
    if name.starts_with(RESERVED_COLUMN_PREFIX) {
        return Err(position.bad(format!("column names beginning with '{RESERVED_COLUMN_PREFIX}' are reserved")));
    }
    Ok(())
}
