//! What a user can say: our statements are recognised here, the rest is DataFusion's SQL.
//!
//! ```text
//! text ─► cursor (sqlparser's tokens with places) ─► first words decide ─► create · change · ask ─► Statement
//! ```
//! A pre-parser in front of DataFusion's: sqlparser supplies tokens, types, expressions and queries; the grammar of objects
//! and options is ours, so that unknown options, columns and types are errors at their place with the nearest spelling.
//! Everything is checked that the text alone can tell; what tables and functions exist is the planner's business (`query`).
//! A statement that is known and not supported answers `Unimplemented`; nothing is accepted and then ignored.

mod advise;
mod alter_options;
mod ask;
mod change;
mod checks;
mod create;
mod create_endpoint;
mod create_table;
mod create_view;
mod cursor;
mod delete;
mod kill;
mod names;
mod options;
mod parameter_range;
mod partitioning;
mod query;
mod refresh;
mod script;
mod security;
mod spelling;
mod table_options;
#[cfg(test)]
mod tests;
mod tokens;
mod types;
mod view_options;

use arrow::datatypes::FieldRef;

use self::cursor::Cursor;
use super::{CatalogError, DefinedBy, Definition, ObjectKind};
use crate::base::{Span, suggestion};

pub use alter_options::{OptionChanges, with_options};
pub use query::{FILTERS_FUNCTION, replace_filters};
pub use script::{normalised, parse_script};
pub use security::{
    Granted, GrantedOn, GrantedTo, MaskWord, NewTokenOptions, PrivilegeWord, SecurityStatement, TokenUse, UserOptions,
    redacted,
};
pub use tokens::tokens;

/// One parsed statement.
#[derive(Clone, Debug)]
pub enum Statement {
    /// SELECT, VALUES, WITH, EXPLAIN of a query, SHOW FUNCTIONS: DataFusion plans it. Carries the whole text up to its end.
    Query(String),
    /// `INSERT INTO table [(columns)] source`
    Insert {
        table: String,
        /// Empty = all, in the table's order.
        columns: Vec<String>,
        /// A query, as written.
        source: String,
    },
    Delete(Delete),
    Create(Box<Create>),
    Drop(DropObject),
    AlterAddColumn(AlterAddColumn),
    AlterOptions(AlterOptions),
    Refresh(Refresh),
    /// `EXPLAIN REFRESH view`: what the next refresh would do, and why.
    ExplainRefresh {
        view: String,
    },
    /// `VERIFY MATERIALIZED VIEW view [BETWEEN a AND b]`: compares the view's rows with its query over the sources.
    Verify {
        view: String,
        /// As in [`RefreshScope::Between`]; `None` = all rows.
        range: Option<(String, String)>,
    },
    /// `ADVISE MATERIALIZED VIEWS [FOR 'query']`: views that would answer what was asked lately, or this query.
    Advise {
        query: Option<String>,
    },
    Replay(Replay),
    /// `KILL QUERY id`: ends a statement that runs.
    Kill {
        query_id: String,
    },
    Copy(CopyInto),
    Maintain(Maintain),
    /// Users, roles, tokens, grants, policies, masks.
    Security(Box<SecurityStatement>),
    Show(ShowTarget),
    /// `DESCRIBE name`; a name in another schema keeps it: `system.tables`.
    Describe {
        name: String,
    },
    /// `SET key = value`
    Set {
        key: String,
        value: String,
    },
    /// `RESET key`; `None` = all.
    Reset {
        key: Option<String>,
    },
}

/// `CREATE [OR REPLACE] kind [IF NOT EXISTS] name …`, consistent in itself.
#[derive(Clone, Debug)]
pub struct Create {
    pub name: String,
    pub if_not_exists: bool,
    pub or_replace: bool,
    /// The statement as given, comments kept, without OR REPLACE, IF NOT EXISTS and the closing `;`.
    pub sql: String,
    pub definition: Definition,
    /// Names of the relations its query reads, sorted.
    pub reads: Vec<String>,
    pub defined_by: DefinedBy,
}

impl Create {
    pub fn kind(&self) -> ObjectKind {
        self.definition.kind()
    }
}

/// `DROP kind [IF EXISTS] name [CASCADE]`
#[derive(Clone, Debug)]
pub struct DropObject {
    pub kind: ObjectKind,
    pub name: String,
    pub if_exists: bool,
    pub cascade: bool,
}

/// `ALTER TABLE table ADD COLUMN field`; the field is nullable.
#[derive(Clone, Debug)]
pub struct AlterAddColumn {
    pub table: String,
    pub field: FieldRef,
}

/// `ALTER TABLE name SET (option='value', …)`, `ALTER TABLE name RESET (option, …)`, and the same with `MATERIALIZED VIEW`; the
/// options are ones that can change.
#[derive(Clone, Debug)]
pub struct AlterOptions {
    /// A table or a materialized view.
    pub kind: ObjectKind,
    pub name: String,
    pub changes: OptionChanges,
}

/// `DELETE FROM table WHERE predicate`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    pub table: String,
    /// The whole statement up to its end, so that places in it are those the user sees.
    pub sql: String,
}

/// `REPLAY REJECTS FROM table [WHERE predicate]`: reads rejected rows again and appends those that are good now. The
/// predicate is over the columns of `system.rejects`.
#[derive(Clone, Debug)]
pub struct Replay {
    pub table: String,
    /// As written.
    pub predicate: Option<String>,
}

/// `REFRESH MATERIALIZED VIEW view [FULL | BETWEEN a AND b]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    pub view: String,
    pub scope: RefreshScope,
}

/// Which rows a refresh makes anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RefreshScope {
    /// What the sources have got since the last one.
    #[default]
    Pending,
    /// All.
    Full,
    /// Those of a time, half-open: at or after the first, before the second. Expressions as written, without columns,
    /// parameters and subqueries, such as `TIMESTAMP '2026-03-01'` or `now() - INTERVAL '1 day'`.
    Between(String, String),
}

/// `COPY INTO table FROM 'pattern' [WITH (format='csv', map='a=b, c=d', time_format='…', max_rejects='100',
/// header='false', delimiter=',')]`. Keys are known ones, values as written.
#[derive(Clone, Debug, Default)]
pub struct CopyInto {
    pub table: String,
    pub from: String,
    pub options: Vec<(String, String)>,
}

/// `OPTIMIZE TABLE table`, `VACUUM TABLE table [RETAIN '2 hours']`; the table may be a materialized view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintain {
    pub table: String,
    pub work: MaintainWork,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaintainWork {
    /// Merge small files.
    Optimize,
    /// Delete files of old versions; `None` = those older than the configured time.
    Vacuum { retain: Option<Span> },
}

/// What SHOW shows.
#[derive(Clone, Debug)]
pub enum ShowTarget {
    Objects(ObjectKind),
    /// `users`, `roles`, `tokens`, `grants`, `policies` or `masks`: the table of schema `system` of this name.
    Security(&'static str),
    Setting(String),
    AllSettings,
}

/// First words of statements that are known and refused, with what to do instead.
const REFUSED: [(&str, &str); 18] = [
    ("UPDATE", "rows are not changed in place: load a snapshot table, or DELETE the rows and insert them anew"),
    ("MERGE", "load a table of kind='snapshot' instead"),
    ("TRUNCATE", "DELETE FROM the table WHERE TRUE instead"),
    ("BEGIN", "each statement is its own transaction"),
    ("START", "each statement is its own transaction"),
    ("COMMIT", "each statement is its own transaction"),
    ("ROLLBACK", "each statement is its own transaction"),
    ("SAVEPOINT", "each statement is its own transaction"),
    ("PREPARE", "use the protocol's prepared statements"),
    ("EXECUTE", "use the protocol's prepared statements"),
    ("DEALLOCATE", "use the protocol's prepared statements"),
    ("USE", "there is one catalog and schema, adlake.public"),
    ("CALL", "there are no procedures"),
    ("ANALYZE", "statistics are kept with every file already"),
    ("EXPORT", "not supported yet"),
    ("RUN", "not supported yet"),
    ("ATTACH", "there is one catalog, adlake"),
    ("LOAD", "use COPY INTO table FROM 'files'"),
];
/// First words of what is supported.
const FIRST_WORDS: [&str; 24] = [
    "SELECT", "WITH", "VALUES", "EXPLAIN", "INSERT", "CREATE", "DROP", "ALTER", "REFRESH", "REPLAY", "COPY", "SHOW",
    "DESCRIBE", "SET", "RESET", "FROM", "OPTIMIZE", "VACUUM", "VERIFY", "ADVISE", "DELETE", "GRANT", "REVOKE", "KILL",
];

/// Parses exactly one statement (a trailing `;` is allowed).
pub fn parse_statement(sql: &str) -> Result<Statement, CatalogError> {
    let sql = spelling::spelled(sql);
    let mut cursor = Cursor::new(&sql)?;
    let cursor = &mut cursor;
    if change::begins_query(cursor.peek()) {
        return ask::select(cursor);
    }
    let first = cursor.peek().to_string().to_uppercase();
    match first.as_str() {
        "CREATE" if security::is_kind(cursor.peek_second()) => security::create(cursor).map_err(security::discreet),
        "DROP" if security::is_kind(cursor.peek_second()) => security::drop(cursor),
        "ALTER" if cursor::is_word(cursor.peek_second(), "USER") => {
            security::alter_user(cursor).map_err(security::discreet)
        }
        "GRANT" | "REVOKE" => security::grant(cursor),
        "CREATE" => Ok(Statement::Create(Box::new(create::create(cursor)?))),
        "DROP" => change::drop_object(cursor),
        "ALTER" => change::alter(cursor),
        "REFRESH" => refresh::refresh(cursor),
        "VERIFY" => refresh::verify(cursor),
        "ADVISE" => advise::advise(cursor),
        "REPLAY" => change::replay(cursor),
        "COPY" => change::copy(cursor),
        "OPTIMIZE" => change::optimize(cursor),
        "VACUUM" => change::vacuum(cursor),
        "KILL" => kill::kill(cursor),
        "INSERT" => change::insert(cursor),
        "DELETE" => delete::delete(cursor),
        "EXPLAIN" => ask::explain(cursor),
        "SHOW" => ask::show(cursor),
        "DESCRIBE" | "DESC" => ask::describe(cursor),
        "SET" => ask::set(cursor),
        "RESET" => ask::reset(cursor),
        _ => Err(refused(cursor, &first)),
    }
}

fn refused(cursor: &Cursor, first: &str) -> CatalogError {
    let position = cursor.position();
    if let Some((_, instead)) = REFUSED.iter().find(|(word, _)| *word == first) {
        return position.unimplemented(format!("{first} is not supported: {instead}"));
    }
    match suggestion(first, FIRST_WORDS) {
        near if near.is_empty() => cursor.expected("a statement"),
        near => position.syntax(format!("unknown statement '{first}'{near}")),
    }
}
