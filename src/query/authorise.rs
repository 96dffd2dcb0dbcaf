//! Whether a caller may run a statement at all. What a query may read is decided where its names are found (`planner`), what
//! changes users and rights where that is done (`statement::security`).
//!
//! | statement | who |
//! |---|---|
//! | SELECT, EXPLAIN, SHOW, DESCRIBE, SET, RESET | every caller; each name by its grants |
//! | KILL QUERY | every caller their own statements; role `admin` all |
//! | INSERT | role `engineer` or `ingest`, or INSERT on the table |
//! | DELETE | role `engineer`, or DELETE on the table; of the rows the caller sees |
//! | CREATE, DROP, ALTER, REFRESH, EXPLAIN REFRESH, VERIFY, ADVISE, OPTIMIZE, VACUUM, REPLAY | role `engineer` |
//! | COPY, a landing folder (they read files of the server) | role `admin` |

use super::QueryError;
use super::viewer::Viewer;
use crate::auth::{ADMIN, Access, ENGINEER};
use crate::catalog::{AlterOptions, CatalogSnapshot, Create, Definition, Delete, Statement};

const LANDING_FOLDER: &str = "a landing folder is a folder of the server";

/// # Errors
/// `Denied`; `NotFound` when the caller may not even know of what the statement names.
pub(super) fn authorise(statement: &Statement, viewer: &Viewer, catalog: &CatalogSnapshot) -> Result<(), QueryError> {
    if viewer.caller().is_none() {
        return Ok(());
    }
    match statement {
        Statement::Query(_)
        | Statement::Show(_)
        | Statement::Describe { .. }
        | Statement::Set { .. }
        | Statement::Reset { .. }
        // Whose statement it is, is looked at where it is found.
        | Statement::Kill { .. }
        | Statement::Security(_) => Ok(()),
        Statement::Insert { table, .. } => insert(viewer, table, catalog),
        Statement::Delete(Delete { table, .. }) => delete(viewer, table, catalog),
        Statement::Copy(_) => admin(viewer, "COPY reads files of the server"),
        Statement::Create(create) if reads_files(create) => admin(viewer, LANDING_FOLDER),
        Statement::AlterOptions(alter) if sets_landing(alter) => admin(viewer, LANDING_FOLDER),
        Statement::AlterOptions(_)
        | Statement::Create(_)
        | Statement::Drop(_)
        | Statement::AlterAddColumn(_)
        | Statement::Refresh(_)
        | Statement::Maintain(_)
        // Whose statements and which tables count is decided where they are read (`advise::workload`).
        | Statement::Advise { .. } => engineer(viewer),
        Statement::ExplainRefresh { view } | Statement::Verify { view, .. } => {
            engineer(viewer)?;
            whole(viewer, catalog, view)
        }
        Statement::Replay(replay) => {
            engineer(viewer)?;
            whole(viewer, catalog, &replay.table)
        }
    }
}

fn insert(viewer: &Viewer, table: &str, catalog: &CatalogSnapshot) -> Result<(), QueryError> {
    change((viewer, catalog), table, Access::may_insert, "insert into")
}

fn delete(viewer: &Viewer, table: &str, catalog: &CatalogSnapshot) -> Result<(), QueryError> {
    change((viewer, catalog), table, Access::may_delete, "delete from")
}

fn change(
    (viewer, catalog): (&Viewer, &CatalogSnapshot),
    table: &str,
    is_granted: fn(&Access, &str) -> bool,
    doing: &str,
) -> Result<(), QueryError> {
    let Some(access) = viewer.caller() else { return Ok(()) };
    let is_there = catalog.relations.contains_key(table);
    match is_granted(access, table) {
        // Engineers know of all; for them the catalog is looked at again.
        true if is_there || access.is_engineer() => Ok(()),
        false if is_there && access.may_see(table) => Err(denied(format!("you may not {doing} '{table}'"))),
        _ => Err(viewer.not_found(table, catalog)),
    }
}

/// What tells of all rows is for those who may see all rows.
fn whole(viewer: &Viewer, catalog: &CatalogSnapshot, relation: &str) -> Result<(), QueryError> {
    match viewer.sees_whole(catalog, relation) {
        true => Ok(()),
        false => Err(denied(format!("policies or masks hold for you on what '{relation}' is made from"))),
    }
}

fn engineer(viewer: &Viewer) -> Result<(), QueryError> {
    match viewer.is_engineer() {
        true => Ok(()),
        false => Err(denied(format!("this statement needs role {ENGINEER}, and no token of a smaller scope"))),
    }
}

fn admin(viewer: &Viewer, why: &str) -> Result<(), QueryError> {
    match viewer.may_administer() {
        true => Ok(()),
        false => Err(denied(format!("{why}; that needs role {ADMIN}, and no token of a smaller scope"))),
    }
}

fn sets_landing(alter: &AlterOptions) -> bool {
    alter.changes.iter().any(|(option, value)| option.starts_with("landing") && value.is_some())
}

fn reads_files(create: &Create) -> bool {
    matches!(&create.definition, Definition::Table(table) if table.ingest.landing.is_some())
}

pub(super) fn denied(message: String) -> QueryError {
    QueryError::Denied { message }
}
