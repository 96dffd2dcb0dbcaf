//! Which rows of a `system` table a caller sees: those about what they may see, and no counts of what policies hide.

use arrow::array::{Array, AsArray, BooleanArray, StringArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::Kind;
use crate::auth::{Access, Reading};
use crate::catalog::CatalogSnapshot;
use crate::query::QueryError;
use crate::query::viewer::Viewer;

/// What decides about a row.
#[derive(Clone, Copy)]
enum Shown {
    /// All that the table gives for this viewer.
    All,
    /// The relation that this column names may be seen.
    Relation(&'static str),
    /// The relation that the first column names may be seen, and its column that the second names be read.
    Column(&'static str, &'static str),
    /// All that the relation of this column is made from is seen whole: the row tells counts or texts of it.
    Whole(&'static str),
    /// The caller is the user of ours whom this column names.
    Own(&'static str),
    /// The caller makes and maintains objects.
    Engineer,
    /// An engineer's, about relations seen whole.
    EngineerWhole(&'static str),
    Admin,
    /// Everything that the object of this row reads is seen whole.
    Lineage,
}

impl Kind {
    fn shown(self) -> Shown {
        match self {
            Kind::Functions | Kind::InformationSchemata | Kind::Queries => Shown::All,
            Kind::Objects | Kind::Tables => Shown::Relation("name"),
            Kind::Columns => Shown::Column("table_name", "name"),
            Kind::InformationColumns => Shown::Column("table_name", "column_name"),
            Kind::InformationTables | Kind::InformationViews => Shown::Relation("table_name"),
            Kind::Commits => Shown::Whole("table_name"),
            Kind::Views => Shown::EngineerWhole("view_name"),
            Kind::Ingest | Kind::LateEvents | Kind::Maintenance => Shown::EngineerWhole("table_name"),
            Kind::Leases => Shown::Engineer,
            Kind::Rejects => Shown::EngineerWhole("table_name"),
            // Values of the view, and counts of events.
            Kind::Restatements => Shown::Whole("view_name"),
            Kind::Verifications => Shown::EngineerWhole("view_name"),
            Kind::Lineage => Shown::Lineage,
            Kind::Tokens | Kind::Limits => Shown::Own("user_name"),
            Kind::Audit | Kind::Users | Kind::Roles | Kind::Grants | Kind::Policies | Kind::Masks => Shown::Admin,
            Kind::Listeners | Kind::Settings => Shown::Admin,
        }
    }

    /// Columns that are NULL in rows about what is not seen whole.
    fn counts(self) -> &'static [&'static str] {
        match self {
            Kind::Tables => &["version", "committed_at", "rows", "bytes", "files", "path"],
            Kind::Objects => &["reads", "sql"],
            Kind::InformationViews => &["view_definition"],
            Kind::Queries => &["error", "sql"],
            _ => &[],
        }
    }
}

/// The rows for this viewer.
///
/// # Errors
/// A table without the column that decides: a bug.
pub(super) fn visible(
    kind: Kind,
    rows: RecordBatch,
    viewer: &Viewer,
    catalog: &CatalogSnapshot,
) -> Result<RecordBatch, QueryError> {
    let Some(access) = viewer.caller() else { return Ok(rows) };
    if access.may_administer() {
        return Ok(rows);
    }
    let kept = match kind.shown() {
        Shown::All => mask(rows.num_rows(), |_| true),
        Shown::Relation(column) => {
            let endpoints = if kind == Kind::Objects { Some(texts(&rows, "kind")?) } else { None };
            let names = texts(&rows, column)?;
            let schemas = schemas(&rows)?;
            mask(names.len(), |row| {
                let is_endpoint = endpoints.as_ref().is_some_and(|kinds| kinds.value(row) == "endpoint");
                match is_endpoint {
                    true => access.may_call(names.value(row)),
                    false => is_system(schemas.as_ref(), row) || access.may_see(names.value(row)),
                }
            })
        }
        Shown::Column(table, column) => {
            let (tables, columns, schemas) = (texts(&rows, table)?, texts(&rows, column)?, schemas(&rows)?);
            mask(tables.len(), |row| {
                is_system(schemas.as_ref(), row) || reads(access, tables.value(row), columns.value(row))
            })
        }
        Shown::Whole(column) => {
            let names = texts(&rows, column)?;
            mask(names.len(), |row| whole(viewer, catalog, names.value(row)))
        }
        Shown::Lineage => lineage(&rows, viewer, catalog)?,
        Shown::EngineerWhole(column) => {
            let names = texts(&rows, column)?;
            mask(names.len(), |row| access.is_engineer() && whole(viewer, catalog, names.value(row)))
        }
        Shown::Own(column) => {
            let names = texts(&rows, column)?;
            mask(names.len(), |row| access.is_ours() && names.value(row) == access.user())
        }
        Shown::Engineer => mask(rows.num_rows(), |_| access.is_engineer()),
        Shown::Admin => mask(rows.num_rows(), |_| false),
    };
    let rows = filter_record_batch(&rows, &kept).map_err(internal)?;
    without_counts(kind, rows, viewer, catalog)
}

/// Whether rows about the relation of this name can be for this viewer: asked before what is costly to look at is read.
pub(super) fn may_show(kind: Kind, viewer: &Viewer, catalog: &CatalogSnapshot, name: &str) -> bool {
    let Some(access) = viewer.caller().filter(|access| !access.may_administer()) else { return true };
    match kind.shown() {
        Shown::All | Shown::Column(..) | Shown::Own(_) | Shown::Lineage => true,
        Shown::Relation(_) => access.may_see(name),
        Shown::Whole(_) => whole(viewer, catalog, name),
        Shown::EngineerWhole(_) => access.is_engineer() && whole(viewer, catalog, name),
        Shown::Engineer => access.is_engineer(),
        Shown::Admin => false,
    }
}

/// What is no relation of a user's, such as a table of the program's own, has rows about all of them.
fn whole(viewer: &Viewer, catalog: &CatalogSnapshot, name: &str) -> bool {
    match catalog.relations.contains_key(name) {
        true => viewer.sees_whole(catalog, name),
        false => viewer.sees_all(),
    }
}

/// Whether everything that an endpoint reads is seen whole. Its name says nothing of that: a relation may have the same.
fn reads_whole(viewer: &Viewer, catalog: &CatalogSnapshot, endpoint: &str) -> bool {
    let reads = catalog.endpoints.get(endpoint).map(|endpoint| &endpoint.reads);
    reads.is_some_and(|reads| reads.iter().all(|read| whole(viewer, catalog, read)))
}

/// Names and columns below a view are for those who may read them; what endpoints read, for engineers.
fn lineage(rows: &RecordBatch, viewer: &Viewer, catalog: &CatalogSnapshot) -> Result<BooleanArray, QueryError> {
    let (objects, kinds, reads) =
        (texts(rows, "object_name")?, texts(rows, "object_kind")?, texts(rows, "reads_name")?);
    Ok(mask(objects.len(), |row| match kinds.value(row) {
        "endpoint" => viewer.is_engineer() && whole(viewer, catalog, reads.value(row)),
        _ => whole(viewer, catalog, objects.value(row)),
    }))
}

/// The rows of a table that the lake keeps which are for this viewer: a column, and the names it may hold; none = all rows.
pub(super) fn kept_rows(kind: Kind, viewer: &Viewer, catalog: &CatalogSnapshot) -> Option<(&'static str, Vec<String>)> {
    let access = viewer.caller().filter(|access| !access.may_administer())?;
    let (column, may_at_all) = match kind.shown() {
        Shown::Whole(column) => (column, true),
        Shown::EngineerWhole(column) => (column, access.is_engineer()),
        // Rows of no other kind are kept.
        Shown::All
        | Shown::Relation(_)
        | Shown::Column(..)
        | Shown::Own(_)
        | Shown::Engineer
        | Shown::Admin
        | Shown::Lineage => ("", false),
    };
    if may_at_all && viewer.sees_all() {
        return None;
    }
    let names = catalog.relations.keys().filter(|name| may_at_all && viewer.sees_whole(catalog, name));
    Some((column, names.cloned().collect()))
}

/// Columns of such a table that are NULL for this viewer: other people's statements, and values that come from whatever these read.
pub(super) fn without(kind: Kind, viewer: &Viewer) -> &'static [&'static str] {
    match kind {
        Kind::Verifications if viewer.may_administer() => &[],
        Kind::Verifications if viewer.sees_all() => &["sql"],
        Kind::Verifications => &["sql", "sample", "error"],
        _ => &[],
    }
}

/// Whether a caller may know of a column.
pub(in crate::query) fn reads(access: &Access, table: &str, column: &str) -> bool {
    match access.reading(table) {
        Reading::All => true,
        Reading::Columns(columns) => columns.contains(column),
        // Who puts rows in needs to know the columns.
        Reading::Nothing => access.may_insert(table),
    }
}

fn without_counts(
    kind: Kind,
    rows: RecordBatch,
    viewer: &Viewer,
    catalog: &CatalogSnapshot,
) -> Result<RecordBatch, QueryError> {
    if kind.counts().is_empty() {
        return Ok(rows);
    }
    let whole = match kind {
        // The text of an endpoint's query is its maker's.
        Kind::Queries => {
            let origins = texts(&rows, "origin")?;
            mask(origins.len(), |row| viewer.is_engineer() || origins.value(row) != "endpoint")
        }
        Kind::Objects => {
            let (names, kinds) = (texts(&rows, "name")?, texts(&rows, "kind")?);
            mask(names.len(), |row| match kinds.value(row) {
                "endpoint" => viewer.is_engineer() && reads_whole(viewer, catalog, names.value(row)),
                _ => viewer.sees_whole(catalog, names.value(row)),
            })
        }
        _ => {
            let names = texts(&rows, named(kind))?;
            mask(names.len(), |row| viewer.sees_whole(catalog, names.value(row)))
        }
    };
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, values)| {
        match kind.counts().contains(&field.name().as_str()) {
            true => {
                let nothing = new_null_array(values.data_type(), values.len());
                arrow::compute::kernels::zip::zip(&whole, values, &nothing).map_err(internal)
            }
            false => Ok(values.clone()),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns).map_err(internal)
}

fn named(kind: Kind) -> &'static str {
    match kind.shown() {
        Shown::Relation(column) | Shown::Column(column, _) | Shown::Whole(column) | Shown::EngineerWhole(column) => {
            column
        }
        Shown::All | Shown::Own(_) | Shown::Engineer | Shown::Admin | Shown::Lineage => "name",
    }
}

fn mask(length: usize, keep: impl Fn(usize) -> bool) -> BooleanArray {
    (0..length).map(|row| Some(keep(row))).collect()
}

fn texts<'b>(rows: &'b RecordBatch, column: &str) -> Result<&'b StringArray, QueryError> {
    let found = rows.column_by_name(column).and_then(|values| values.as_string_opt::<i32>());
    found.ok_or_else(|| QueryError::Internal { message: format!("a system table has no text column '{column}'") })
}

/// `information_schema` lists the tables of all schemas.
fn schemas(rows: &RecordBatch) -> Result<Option<&StringArray>, QueryError> {
    match rows.column_by_name("table_schema") {
        Some(_) => texts(rows, "table_schema").map(Some),
        None => Ok(None),
    }
}

fn is_system(schemas: Option<&&StringArray>, row: usize) -> bool {
    schemas.is_some_and(|schemas| schemas.value(row) != crate::query::runtime::PUBLIC)
}

fn internal(error: arrow::error::ArrowError) -> QueryError {
    QueryError::Internal { message: error.to_string() }
}
