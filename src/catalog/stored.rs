//! How the catalog is written into its document: JSON, versioned, pinned by a test.
//!
//! Only the text of a definition is stored; it is parsed again when the catalog is read, so the parser is the one place that
//! knows what a text means.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::snapshot::{CatalogSnapshot, CatalogVersion};
use super::{CatalogError, DefinedBy, Object, ObjectKind, Statement, parse_statement};
use crate::base::Timestamp;

/// The format this code writes, and the newest it reads.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct StoredCatalog {
    format: u32,
    objects: Vec<StoredObject>,
}

/// Read before the rest, to tell a newer format from a damaged one.
#[derive(Deserialize)]
struct StoredFormat {
    format: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredObject {
    name: String,
    kind: ObjectKind,
    sql: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    table_path: Option<String>,
    /// Microseconds since 1970, UTC.
    created_at: Timestamp,
    changed_at: Timestamp,
    #[serde(default)]
    defined_by: DefinedBy,
}

/// The document of a snapshot.
pub fn encode(snapshot: &CatalogSnapshot) -> Result<Vec<u8>, CatalogError> {
    let objects = snapshot
        .all()
        .map(|object| StoredObject {
            name: object.name.clone(),
            kind: object.kind,
            sql: object.sql.clone(),
            table_path: object.table_path.clone(),
            created_at: object.created_at,
            changed_at: object.changed_at,
            defined_by: object.defined_by,
        })
        .collect();
    serde_json::to_vec_pretty(&StoredCatalog { format: FORMAT, objects })
        .map_err(|error| CatalogError::Damaged { message: format!("it cannot be written as JSON: {error}") })
}

/// The snapshot in a document. Objects that are unchanged since `before` are shared with it, not parsed again.
pub fn decode(
    content: &[u8],
    version: CatalogVersion,
    before: &CatalogSnapshot,
) -> Result<CatalogSnapshot, CatalogError> {
    let not_json =
        |error: serde_json::Error| CatalogError::Damaged { message: format!("it is not the JSON expected: {error}") };
    let StoredFormat { format } = serde_json::from_slice(content).map_err(not_json)?;
    if format != FORMAT {
        return Err(CatalogError::Damaged {
            message: format!("its format is {format}, this program knows format {FORMAT}; use a newer program"),
        });
    }
    let stored: StoredCatalog = serde_json::from_slice(content).map_err(not_json)?;
    let mut snapshot = CatalogSnapshot { version, ..CatalogSnapshot::default() };
    for stored in stored.objects {
        let object = object(stored, before)?;
        let namespace = if object.kind.is_relation() { &mut snapshot.relations } else { &mut snapshot.endpoints };
        namespace.insert(object.name.clone(), object);
    }
    Ok(snapshot)
}

fn object(stored: StoredObject, before: &CatalogSnapshot) -> Result<Arc<Object>, CatalogError> {
    let StoredObject { name, kind, sql, table_path, created_at, changed_at, defined_by } = stored;
    if let Some(known) = before.namespace(kind).get(&name)
        && known.kind == kind
        && known.sql == sql
        && known.table_path == table_path
        && known.changed_at == changed_at
        && known.created_at == created_at
        && known.defined_by == defined_by
    {
        return Ok(known.clone());
    }
    let damaged = |reason: String| CatalogError::Damaged { message: format!("{kind} '{name}': {reason}") };
    match parse_statement(&sql) {
        Ok(Statement::Create(create)) if create.name == name && create.kind() == kind => {
            let object = Object::new(*create, table_path, created_at);
            Ok(Arc::new(Object { changed_at, defined_by, ..object }))
        }
        Ok(_) => Err(damaged("its text defines something else".to_owned())),
        Err(error) => Err(damaged(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stored form, letter by letter. A change here needs a new FORMAT and code that reads the old one.
    const PINNED: &str = r#"{
  "format": 1,
  "objects": [
    {
      "name": "t",
      "kind": "table",
      "sql": "CREATE TABLE t (a INT)",
      "table_path": "t",
      "created_at": 1,
      "changed_at": 2,
      "defined_by": "project"
    },
    {
      "name": "v",
      "kind": "view",
      "sql": "-- why\nCREATE VIEW v AS SELECT a FROM t",
      "created_at": 3,
      "changed_at": 3,
      "defined_by": "statement"
    },
    {
      "name": "e",
      "kind": "endpoint",
      "sql": "CREATE ENDPOINT e WITH (path='/v1/e') AS SELECT a FROM v",
      "created_at": 4,
      "changed_at": 4,
      "defined_by": "statement"
    }
  ]
}"#;

    #[test]
    fn the_stored_form_is_pinned() {
        let snapshot = decode(PINNED.as_bytes(), CatalogVersion(7), &CatalogSnapshot::default()).unwrap();
        assert_eq!(snapshot.version, CatalogVersion(7));
        assert_eq!(snapshot.relation("v").unwrap().reads, ["t"]);
        assert_eq!(String::from_utf8(encode(&snapshot).unwrap()).unwrap(), PINNED);
    }

    #[test]
    fn unchanged_objects_are_shared() {
        let first = decode(PINNED.as_bytes(), CatalogVersion(1), &CatalogSnapshot::default()).unwrap();
        let second = decode(PINNED.as_bytes(), CatalogVersion(2), &first).unwrap();
        assert!(Arc::ptr_eq(first.relation("t").unwrap(), second.relation("t").unwrap()));
    }

    #[test]
    fn other_formats_and_damage_are_told_apart() {
        let read = |text: &str| {
            decode(text.as_bytes(), CatalogVersion(1), &CatalogSnapshot::default()).unwrap_err().to_string()
        };
        assert!(read(r#"{"format": 2, "new": true}"#).contains("its format is 2"));
        assert!(read("{").contains("not the JSON expected"));
        assert!(
            read(&PINNED.replace("(a INT)", "(a IMT)")).contains("table 't': line 1, column 19: unknown type 'IMT'")
        );
    }
}
