//! Relations, their columns and their schemas, as PostgreSQL lists them: those that the viewer may see.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::OWNER;
use super::columns::{Cell, Row};
use super::names::{SCHEMAS, relation_oid, schema_oid};
use super::types;
use crate::catalog::{CatalogSnapshot, Definition, Object, ObjectKind};
use crate::query::engine::Inner;
use crate::query::runtime::PUBLIC;
use crate::query::system;
use crate::query::viewer::Viewer;

/// A relation with the columns that may be seen of it, and their places.
struct Seen {
    schema: &'static str,
    name: String,
    /// `r` table, `v` view, `m` materialized view.
    kind: &'static str,
    columns: SchemaRef,
    shown: Vec<usize>,
}

fn seen(engine: &Arc<Inner>, viewer: &Viewer) -> Vec<Seen> {
    let own = engine.columns.all(engine).into_iter().filter(|(object, _)| viewer.may_see(&object.name));
    let own = own.map(|(object, columns)| {
        let may = |name: &str| match viewer.caller() {
            Some(access) if !access.may_administer() => system::reads(access, &object.name, name),
            _ => true,
        };
        let fields = columns.fields().iter().enumerate();
        let shown = fields.filter(|(_, field)| may(field.name())).map(|(index, _)| index).collect();
        Seen { schema: PUBLIC, name: object.name.clone(), kind: kind(object.kind), columns, shown }
    });
    let ours = system::schemas().map(|(schema, name, columns)| {
        let shown = (0..columns.fields().len()).collect();
        Seen { schema, name: name.to_owned(), kind: "v", columns, shown }
    });
    own.chain(ours).collect()
}

fn kind(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "r",
        ObjectKind::View | ObjectKind::Endpoint => "v",
        ObjectKind::MaterializedView => "m",
    }
}

/// `pg_class`.
pub(super) fn classes(engine: &Arc<Inner>, viewer: &Viewer) -> Vec<Row> {
    let row = |seen: Seen| {
        vec![
            ("oid", Cell::Number(relation_oid(seen.schema, &seen.name))),
            ("relname", Cell::text(seen.name)),
            ("relnamespace", Cell::Number(schema_oid(seen.schema))),
            ("relkind", Cell::text(seen.kind)),
            ("relnatts", Cell::Number(i64::try_from(seen.shown.len()).unwrap_or(i64::MAX))),
            ("relhasrules", Cell::Flag(seen.kind != "r")),
        ]
    };
    seen(engine, viewer).into_iter().map(row).collect()
}

/// `pg_attribute`.
pub(super) fn attributes(engine: &Arc<Inner>, viewer: &Viewer) -> Vec<Row> {
    let mut rows = Vec::new();
    for seen in seen(engine, viewer) {
        let relation = relation_oid(seen.schema, &seen.name);
        for index in seen.shown {
            let field = seen.columns.field(index);
            let (oid, modifier, size) = types::of_column(field.data_type());
            rows.push(vec![
                ("attrelid", Cell::Number(relation)),
                ("attname", Cell::text(field.name())),
                ("atttypid", Cell::Number(oid)),
                ("atttypmod", Cell::Number(modifier)),
                ("attlen", Cell::Number(size)),
                ("attnum", Cell::Number(i64::try_from(index + 1).unwrap_or(i64::MAX))),
                ("attnotnull", Cell::Flag(!field.is_nullable())),
            ]);
        }
    }
    rows
}

/// `pg_namespace`.
pub(super) fn namespaces() -> Vec<Row> {
    SCHEMAS.iter().map(|(name, oid)| vec![("oid", Cell::Number(*oid)), ("nspname", Cell::text(*name))]).collect()
}

/// `pg_tables`, `pg_views` or `pg_matviews`: relations of one kind, with the texts of those that are seen whole.
pub(super) fn of_kind(engine: &Arc<Inner>, viewer: &Viewer, wanted: ObjectKind) -> Vec<Row> {
    let (name, owner) = match wanted {
        ObjectKind::Table | ObjectKind::Endpoint => ("tablename", "tableowner"),
        ObjectKind::View => ("viewname", "viewowner"),
        ObjectKind::MaterializedView => ("matviewname", "matviewowner"),
    };
    let catalog = engine.catalog.snapshot();
    let objects = catalog.relations.values().filter(|object| object.kind == wanted && viewer.may_see(&object.name));
    let row = |object: &Arc<Object>| {
        vec![
            ("schemaname", Cell::text(PUBLIC)),
            (name, Cell::text(&object.name)),
            (owner, Cell::text(OWNER)),
            ("definition", definition(&catalog, viewer, object)),
            ("oid", Cell::Number(relation_oid(PUBLIC, &object.name))),
        ]
    };
    objects.map(row).collect()
}

fn definition(catalog: &CatalogSnapshot, viewer: &Viewer, object: &Object) -> Cell {
    match &object.definition {
        _ if !viewer.sees_whole(catalog, &object.name) => Cell::Null,
        Definition::View(view) => Cell::text(&view.query),
        Definition::MaterializedView(view) => Cell::text(&view.query),
        Definition::Table(_) | Definition::Endpoint(_) => Cell::Null,
    }
}
