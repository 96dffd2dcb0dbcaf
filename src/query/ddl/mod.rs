//! CREATE, DROP, ALTER and `adlake apply`: definitions are proved to work before anything is changed, and a plan is made
//! as a whole or not at all.
//!
//! ```text
//! newest catalog + changes ─► proposed catalog ─► every touched query planned (check)
//!        ─► new Delta tables made, read by nobody yet (apply) ─► one catalog edit ─► files of replaced tables deleted
//! ```
//! When the edit fails, what was made is deleted again. When the process dies in between, a folder is left that nobody
//! reads, and its name is not used again.

mod alter;
mod apply;
mod check;
mod proposal;
mod swap;

use std::sync::Arc;

use super::QueryError;
use super::engine::Inner;
use crate::catalog::{CatalogError, Change, Create, DropObject, ObjectKind, Plan};

pub(super) use alter::{add_column, set_options};
pub(super) use apply::apply;
pub(super) use check::plan_described;
pub(super) use swap::{delete_beside, make_beside, replace_table};

/// CREATE of any kind; the answer is a sentence.
pub(super) async fn create(engine: &Arc<Inner>, create: Create) -> Result<String, QueryError> {
    let current = engine.catalog.refresh().await?;
    let (kind, name) = (create.kind(), create.name.clone());
    let (if_not_exists, or_replace) = (create.if_not_exists, create.or_replace);
    let change = match current.namespace(kind).get(&name) {
        None => Change::Create(Box::new(create)),
        Some(before) if if_not_exists => return Ok(format!("{} {name} exists already; nothing changed", before.kind)),
        Some(before) if !or_replace => {
            return Err(CatalogError::Exists { kind: before.kind.to_string(), name }.into());
        }
        Some(before) if before.kind != kind => {
            let message = format!("'{name}' is a {} and cannot become a {kind}; DROP it first", before.kind);
            return Err(CatalogError::CannotChange { message }.into());
        }
        Some(_) if kind == ObjectKind::Table => {
            let message = format!("replacing table '{name}' would delete its rows; say so: DROP TABLE {name}");
            return Err(CatalogError::CannotChange { message }.into());
        }
        Some(before) => Change::Replace { before: before.clone(), after: Box::new(create) },
    };
    let word = if matches!(change, Change::Create(_)) { "created" } else { "replaced" };
    apply(engine, Plan { changes: vec![change], ..Plan::default() }).await?;
    Ok(match kind {
        ObjectKind::MaterializedView => format!("{kind} {name} {word}; REFRESH MATERIALIZED VIEW {name} fills it"),
        ObjectKind::Table | ObjectKind::View | ObjectKind::Endpoint => format!("{kind} {name} {word}"),
    })
}

/// DROP of any kind; with CASCADE also of everything that reads it.
pub(super) async fn drop_object(engine: &Arc<Inner>, drop: DropObject) -> Result<String, QueryError> {
    let DropObject { kind, name, if_exists, cascade } = drop;
    let current = engine.catalog.refresh().await?;
    let object = match current.object(kind, &name) {
        Ok(object) => object.clone(),
        Err(_) if if_exists && !current.namespace(kind).contains_key(&name) => {
            return Ok(format!("there is no {kind} {name}; nothing changed"));
        }
        Err(error) => return Err(error.into()),
    };
    let dropped = match kind.is_relation() {
        true => current.with_readers(&name)?,
        false => vec![object],
    };
    if dropped.len() > 1 && !cascade {
        let readers = current.readers_of(&name).iter().map(|reader| reader.name.clone()).collect();
        return Err(CatalogError::InUse { name, readers }.into());
    }
    let others = dropped.len() - 1;
    let changes = dropped.into_iter().map(|object| Change::Drop { kind: object.kind, object }).collect();
    apply(engine, Plan { changes, ..Plan::default() }).await?;
    Ok(match others {
        0 => format!("{kind} {name} dropped"),
        _ => format!("{kind} {name} dropped, and {others} that read it"),
    })
}
