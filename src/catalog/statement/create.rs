//! `CREATE [OR REPLACE] <kind> [IF NOT EXISTS] <name> …`: the head that every kind shares, and the text that is kept.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::{Create, create_endpoint, create_table, create_view, names};
use crate::base::suggestion;
use crate::catalog::{CatalogError, DefinedBy, Definition, ObjectKind};

/// Kinds of objects, as written.
pub const KINDS: [(&[&str], ObjectKind); 4] = [
    (&["TABLE"], ObjectKind::Table),
    (&["VIEW"], ObjectKind::View),
    (&["MATERIALIZED", "VIEW"], ObjectKind::MaterializedView),
    (&["ENDPOINT"], ObjectKind::Endpoint),
];
/// Kinds of later issues: known, and refused by name.
const KINDS_LATER: [&str; 3] = ["FEED", "TASK", "COLLECTOR"];
/// Kinds of other systems, with what to do instead.
const KINDS_FOREIGN: [(&str, &str); 11] = [
    ("TEMPORARY", "use CREATE VIEW, or WITH in the query"),
    ("TEMP", "use CREATE VIEW, or WITH in the query"),
    ("EXTERNAL", "make a table and load the files with COPY INTO"),
    ("UNBOUNDED", "make a table and load the files with COPY INTO"),
    ("INDEX", "use sort_by, partition_by and event_key of the table"),
    ("UNIQUE", "use event_key of the table"),
    ("SCHEMA", "there is one schema, adlake.public"),
    ("DATABASE", "there is one catalog, adlake"),
    ("FUNCTION", "use a view"),
    ("SEQUENCE", "use uuid() or a key of the data"),
    ("TYPE", "use a CHECK constraint"),
];

/// What a kind's parser found behind the name.
pub struct Body {
    pub definition: Definition,
    /// Relations its query reads, sorted.
    pub reads: Vec<String>,
}

/// Reads a statement that begins with CREATE, up to its end.
pub fn create(cursor: &mut Cursor) -> Result<Create, CatalogError> {
    cursor.expect_word("CREATE")?;
    let replace_from = cursor.offset();
    let or_replace = cursor.words(&["OR", "REPLACE"]);
    let replace_to = cursor.offset();
    let kind = object_kind(cursor, "CREATE")?;
    let exists_from = cursor.offset();
    let exists_position = cursor.position();
    let if_not_exists = cursor.words(&["IF", "NOT", "EXISTS"]);
    if or_replace && if_not_exists {
        return Err(exists_position.bad("OR REPLACE and IF NOT EXISTS contradict each other; keep one"));
    }
    let exists_to = cursor.offset();
    let name = names::new_object_name(cursor, &format!("the name of the {kind}"))?;
    let body = match kind {
        ObjectKind::Table => create_table::body(cursor)?,
        ObjectKind::View => create_view::view(cursor)?,
        ObjectKind::MaterializedView => create_view::materialized_view(cursor)?,
        ObjectKind::Endpoint => create_endpoint::body(cursor)?,
    };
    let end = cursor.offset_behind();
    cursor.expect_end()?;
    let sql =
        [cursor.slice(0, replace_from), cursor.slice(replace_to, exists_from), cursor.slice(exists_to, end)].concat();
    Ok(Create {
        name,
        if_not_exists,
        or_replace,
        sql: sql.trim().to_owned(),
        definition: body.definition,
        reads: body.reads,
        defined_by: DefinedBy::Statement,
    })
}

/// Reads the kind of object behind `verb`; what others call so is refused with what to do instead.
pub fn object_kind(cursor: &mut Cursor, verb: &str) -> Result<ObjectKind, CatalogError> {
    for (words, kind) in KINDS {
        if cursor.words(words) {
            return Ok(kind);
        }
    }
    let Token::Word(word) = cursor.peek().clone() else {
        return Err(cursor.expected("TABLE, VIEW, MATERIALIZED VIEW or ENDPOINT"));
    };
    let word = word.value.to_uppercase();
    let position = cursor.position();
    if KINDS_LATER.contains(&word.as_str()) {
        return Err(position.unimplemented(format!("{verb} {word} is not supported yet")));
    }
    if let Some((_, instead)) = KINDS_FOREIGN.iter().find(|(name, _)| *name == word) {
        return Err(position.unimplemented(format!("{verb} {word} is not supported: {instead}")));
    }
    match suggestion(&word, ["TABLE", "VIEW", "MATERIALIZED", "ENDPOINT"]) {
        near if near.is_empty() => Err(cursor.expected("TABLE, VIEW, MATERIALIZED VIEW or ENDPOINT")),
        near => Err(position.syntax(format!("cannot {verb} {word}{near}"))),
    }
}
