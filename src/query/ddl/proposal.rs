//! The catalog as it will be: pure, so that the same decision is made again when somebody else's edit came first.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::Timestamp;
use crate::catalog::{CatalogError, CatalogSnapshot, Change, Edit, Object, ObjectKind, Plan};

/// What a plan touches, and the catalog after it.
pub(super) struct Proposal {
    pub(super) after: Arc<CatalogSnapshot>,
    /// Names of relations whose columns may differ afterwards.
    pub(super) touched: BTreeSet<String>,
    /// Endpoints created or replaced.
    pub(super) endpoints: BTreeSet<String>,
}

/// # Errors
/// `Conflict` when the plan was made against another catalog; what [`CatalogSnapshot::check`] finds.
pub(super) fn propose(current: &CatalogSnapshot, plan: &Plan, now: Timestamp) -> Result<Proposal, CatalogError> {
    let mut after = current.clone();
    let (mut touched, mut endpoints) = (BTreeSet::new(), BTreeSet::new());
    for change in &plan.changes {
        is_current(current, change)?;
        let (kind, name) = subject(change);
        if kind.is_relation() {
            touched.insert(name.to_owned());
        } else {
            endpoints.insert(name.to_owned());
        }
        let namespace = if kind.is_relation() { &mut after.relations } else { &mut after.endpoints };
        match object_after(change, None, now) {
            Some(object) => namespace.insert(name.to_owned(), Arc::new(object)),
            None => namespace.remove(name),
        };
    }
    after.check()?;
    Ok(Proposal { after: Arc::new(after), touched, endpoints })
}

/// The edits of a plan; `path_of` gives the folders made for it.
pub(super) fn edits<'p, F>(
    current: &CatalogSnapshot,
    plan: &'p Plan,
    path_of: F,
    now: Timestamp,
) -> Result<Vec<Edit>, CatalogError>
where
    F: Fn(&str) -> Option<&'p str>,
{
    plan.changes
        .iter()
        .map(|change| {
            is_current(current, change)?;
            let (kind, name) = subject(change);
            let made = if kind.is_relation() { path_of(name).map(str::to_owned) } else { None };
            Ok(match object_after(change, made, now) {
                Some(object) => Edit::Put(object),
                None => Edit::Remove(kind, name.to_owned()),
            })
        })
        .collect()
}

pub(super) fn subject(change: &Change) -> (ObjectKind, &str) {
    match change {
        Change::Create(after) | Change::Replace { after, .. } | Change::Widen { after, .. } => {
            (after.kind(), &after.name)
        }
        Change::Drop { kind, object } => (*kind, &object.name),
    }
}

/// The object a change leaves; `made` is a new folder for its rows.
fn object_after(change: &Change, made: Option<String>, now: Timestamp) -> Option<Object> {
    match change {
        Change::Create(after) => Some(Object::new((**after).clone(), made, now)),
        Change::Replace { before, after } => Some(before.redefined((**after).clone(), made, now)),
        Change::Widen { before, after } => Some(before.redefined((**after).clone(), before.table_path.clone(), now)),
        Change::Drop { .. } => None,
    }
}

/// Whether what a change was decided on is still so.
fn is_current(current: &CatalogSnapshot, change: &Change) -> Result<(), CatalogError> {
    let (kind, name) = subject(change);
    let present = current.namespace(kind).get(name);
    let same = match change {
        Change::Create(after) => match present {
            None => true,
            Some(object) => {
                return Err(CatalogError::Exists { kind: object.kind.to_string(), name: after.name.clone() });
            }
        },
        Change::Replace { before, .. } | Change::Widen { before, .. } | Change::Drop { object: before, .. } => present
            .is_some_and(|object| {
                object.kind == before.kind
                    && object.sql == before.sql
                    && object.table_path == before.table_path
                    && object.changed_at == before.changed_at
            }),
    };
    if same { Ok(()) } else { Err(CatalogError::Conflict) }
}
