//! What a user can say: our statements are recognised here, the rest is DataFusion's SQL.
use super::{CatalogError, Definition};

#[derive(Clone, Debug)]
pub enum Statement {
    /// SELECT, VALUES, WITH, EXPLAIN, SHOW settings …: DataFusion plans it. Carries the text.
    Query(String),
    /// INSERT INTO table [(columns)] source-query
    Insert {
        table: String,
        columns: Vec<String>,
        source: String,
    },
    Create(Box<Create>),
    Drop(DropObject),
    AlterAddColumn(AlterAddColumn),
    Refresh(Refresh),
    Copy(CopyInto),
    Show(ShowTarget),
    Describe {
        name: String,
    },
    /// SET key = value
    Set {
        key: String,
        value: String,
    },
}
#[derive(Clone, Debug)]
pub struct Create {
    pub name: String,
    pub if_not_exists: bool,
    pub or_replace: bool,
    pub sql: String,
    pub definition: Definition,
    pub reads: Vec<String>,
}
#[derive(Clone, Debug)]
pub struct DropObject {
    pub kind: super::ObjectKind,
    pub name: String,
    pub if_exists: bool,
    pub cascade: bool,
}
#[derive(Clone, Debug)]
pub struct AlterAddColumn {
    pub table: String,
    pub field: arrow::datatypes::FieldRef,
}
#[derive(Clone, Debug)]
pub struct Refresh {
    pub view: String,
    pub full: bool,
}
/// `COPY INTO table FROM 'pattern' [WITH (format='csv', map='a=b, c=d', time_format='…', max_rejects='100', header='false', delimiter=…)]`
#[derive(Clone, Debug, Default)]
pub struct CopyInto {
    pub table: String,
    pub from: String,
    pub options: Vec<(String, String)>,
}
#[derive(Clone, Debug)]
pub enum ShowTarget {
    Objects(super::ObjectKind),
    Setting(String),
    AllSettings,
}

/// Parses exactly one statement (a trailing `;` is allowed).
pub fn parse_statement(_sql: &str) -> Result<Statement, CatalogError> {
    todo!()
}
/// Splits a script at `;` outside quotes and comments; each with its text and 1-based starting line.
pub fn parse_script(_sql: &str) -> Result<Vec<(u64, String)>, CatalogError> {
    todo!()
}
