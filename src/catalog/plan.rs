//! The difference between wanted objects and present ones, in an order that can be applied.
//!
//! Order of changes: tables, then views and materialized views after what they read, then endpoints; drops at last, readers
//! before what they read.
//!
//! Invariant: no plan drops a table or rewrites its rows. A table that is missing from the project is kept and named; a
//! change that its files could not follow is an error that says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::lineage::{self, Reads};
use super::statement::normalised;
use super::{
    CatalogError, CatalogSnapshot, Create, DefinedBy, Definition, MaterializedViewDefinition, Object, ObjectKind,
    TableDefinition, TableKind,
};
use crate::base::suggestion;

/// One step.
#[derive(Clone, Debug)]
pub enum Change {
    Create(Box<Create>),
    /// A view, materialized view or endpoint with another definition. Never a table.
    Replace {
        before: Arc<Object>,
        after: Box<Create>,
    },
    /// Rows stay. A table gains columns at its end (perhaps none), and takes new checks, lateness and clock_skew for rows to
    /// come, and a new retention; a materialized view takes options that its rows do not depend on.
    Widen {
        before: Arc<Object>,
        after: Box<Create>,
    },
    /// Not in the project any more. Never a table.
    Drop {
        kind: ObjectKind,
        object: Arc<Object>,
    },
}

/// What has to be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub unchanged: usize,
    /// Objects in the catalog that the project does not have and that stay: every table, and what a statement created.
    /// Each as kind and name: `table 'clicks'`.
    pub kept: Vec<String>,
}

/// `create view 'x'`, one line.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(create) => write!(f, "create {} '{}'", create.kind(), create.name),
            Self::Replace { after, .. } => write!(f, "replace {} '{}'", after.kind(), after.name),
            Self::Widen { before, after } => {
                write!(f, "change {} '{}'", after.kind(), after.name)?;
                let added: Vec<String> =
                    added_columns(before, after).iter().map(|field| field.name().clone()).collect();
                let mut said: Vec<String> = changed_options(before, after);
                if !added.is_empty() {
                    said.insert(0, format!("add column {}", added.join(", ")));
                }
                if said.is_empty() { Ok(()) } else { write!(f, ": {}", said.join("; ")) }
            }
            Self::Drop { kind, object } => write!(f, "drop {kind} '{}'", object.name),
        }
    }
}

impl Change {
    /// Columns a [`Change::Widen`] adds, in order; empty for other changes.
    pub fn added_columns(&self) -> Vec<arrow::datatypes::FieldRef> {
        match self {
            Self::Widen { before, after } => added_columns(before, after),
            Self::Create(_) | Self::Replace { .. } | Self::Drop { .. } => Vec::new(),
        }
    }
}

/// Compares; pure. Errors name what cannot be changed in place (a table's column type), cycles and names that nothing defines.
pub fn plan(current: &CatalogSnapshot, wanted: Vec<Create>) -> Result<Plan, CatalogError> {
    check_unique(&wanted)?;
    let dropped = dropped(current, &wanted);
    check_reads(current, &wanted, &dropped)?;
    let mut order = order(current, &wanted)?;
    let mut plan = Plan { kept: kept(current, &wanted, &dropped), ..Plan::default() };
    let mut wanted: Vec<Create> = wanted;
    wanted.sort_by_cached_key(|create| {
        let place = order.remove(&create.name).unwrap_or(usize::MAX);
        let group = match create.kind() {
            ObjectKind::Table => 0,
            ObjectKind::View | ObjectKind::MaterializedView => 1,
            ObjectKind::Endpoint => 2,
        };
        (group, if group == 2 { usize::MAX } else { place }, create.name.clone())
    });
    for create in wanted {
        match difference(current, create)? {
            Some(change) => plan.changes.push(change),
            None => plan.unchanged += 1,
        }
    }
    plan.changes.extend(drops(current, dropped)?);
    Ok(plan)
}

fn check_unique(wanted: &[Create]) -> Result<(), CatalogError> {
    let mut seen = BTreeSet::new();
    for create in wanted {
        if !seen.insert((create.kind().is_relation(), &create.name)) {
            return Err(CatalogError::Project { message: format!("'{}' is defined twice", create.name) });
        }
    }
    Ok(())
}

/// Objects of a project that the project has no more. Tables never.
fn dropped(current: &CatalogSnapshot, wanted: &[Create]) -> Vec<Arc<Object>> {
    let is_dropped = |object: &&Arc<Object>| {
        object.kind != ObjectKind::Table && object.defined_by == DefinedBy::Project && !is_wanted(object, wanted)
    };
    current.all().filter(is_dropped).cloned().collect()
}

fn kept(current: &CatalogSnapshot, wanted: &[Create], dropped: &[Arc<Object>]) -> Vec<String> {
    let is_dropped = |object: &Arc<Object>| dropped.iter().any(|other| Arc::ptr_eq(other, object));
    let kept = current.all().filter(|object| !is_wanted(object, wanted) && !is_dropped(object));
    kept.map(|object| format!("{} '{}'", object.kind, object.name)).collect()
}

fn is_wanted(object: &Object, wanted: &[Create]) -> bool {
    let fits = |create: &Create| create.name == object.name && create.kind().is_relation() == object.kind.is_relation();
    wanted.iter().any(fits)
}

/// Every name that is read will be there.
fn check_reads(current: &CatalogSnapshot, wanted: &[Create], dropped: &[Arc<Object>]) -> Result<(), CatalogError> {
    let gone: BTreeSet<&str> =
        dropped.iter().filter(|object| object.kind.is_relation()).map(|object| object.name.as_str()).collect();
    let mut there: BTreeSet<&str> =
        current.relations.keys().map(String::as_str).filter(|name| !gone.contains(name)).collect();
    there.extend(wanted.iter().filter(|create| create.kind().is_relation()).map(|create| create.name.as_str()));
    for create in wanted {
        if let Some(read) = create.reads.iter().find(|read| !there.contains(read.as_str())) {
            let near = suggestion(read, there.iter().copied());
            let reader = format!("{} '{}'", create.kind(), create.name);
            return Err(CatalogError::Project {
                message: format!("{reader} reads '{read}', which nothing defines{near}"),
            });
        }
    }
    for object in current.all().filter(|object| !is_wanted(object, wanted)) {
        let is_dropped = dropped.iter().any(|other| Arc::ptr_eq(other, object));
        if let Some(read) = object.reads.iter().find(|read| gone.contains(read.as_str())).filter(|_| !is_dropped) {
            return Err(CatalogError::InUse { name: read.clone(), readers: vec![object.name.clone()] });
        }
    }
    Ok(())
}

/// The place of each relation that will be there, after what it reads.
fn order(current: &CatalogSnapshot, wanted: &[Create]) -> Result<BTreeMap<String, usize>, CatalogError> {
    let mut reads: Reads = current.reads();
    for create in wanted.iter().filter(|create| create.kind().is_relation()) {
        reads.insert(&create.name, &create.reads);
    }
    let order = lineage::dependency_order(&reads)?;
    Ok(order.into_iter().enumerate().map(|(place, name)| (name.to_owned(), place)).collect())
}

fn drops(current: &CatalogSnapshot, dropped: Vec<Arc<Object>>) -> Result<Vec<Change>, CatalogError> {
    let reads = current.reads();
    let order = lineage::dependency_order(&reads)?;
    let place = |object: &Arc<Object>| match object.kind.is_relation() {
        true => order.iter().position(|name| *name == object.name).unwrap_or(0),
        false => usize::MAX,
    };
    let mut dropped = dropped;
    dropped.sort_by_key(|object| std::cmp::Reverse(place(object)));
    Ok(dropped.into_iter().map(|object| Change::Drop { kind: object.kind, object }).collect())
}

fn difference(current: &CatalogSnapshot, create: Create) -> Result<Option<Change>, CatalogError> {
    let Some(before) = current.namespace(create.kind()).get(&create.name) else {
        return Ok(Some(Change::Create(Box::new(create))));
    };
    let before = before.clone();
    let after = Box::new(create);
    if before.kind != after.kind() {
        return Err(CatalogError::CannotChange {
            message: format!(
                "'{0}' is a {1} and cannot become a {2}; DROP it first",
                after.name,
                before.kind,
                after.kind()
            ),
        });
    }
    match (&before.definition, &after.definition) {
        (Definition::Table(old), Definition::Table(new)) => {
            check_table(&after.name, old, new)?;
            Ok((old != new).then_some(Change::Widen { before, after }))
        }
        (Definition::Endpoint(old), Definition::Endpoint(new)) if old.description != new.description => {
            Ok(Some(Change::Replace { before, after }))
        }
        _ if normalised(&before.sql)? == normalised(&after.sql)? && before.defined_by == after.defined_by => Ok(None),
        (Definition::MaterializedView(old), Definition::MaterializedView(new)) if keeps_rows(old, new)? => {
            Ok(Some(Change::Widen { before, after }))
        }
        _ => Ok(Some(Change::Replace { before, after })),
    }
}

/// Whether the rows stored by one definition are those of the other.
fn keeps_rows(old: &MaterializedViewDefinition, new: &MaterializedViewDefinition) -> Result<bool, CatalogError> {
    let MaterializedViewDefinition { query, partition_by, sort_by, strategy, .. } = old;
    let same_layout = *partition_by == new.partition_by && *sort_by == new.sort_by && *strategy == new.strategy;
    Ok(same_layout && normalised(query)? == normalised(&new.query)?)
}

/// Refuses what the table's files cannot follow.
fn check_table(table: &str, old: &TableDefinition, new: &TableDefinition) -> Result<(), CatalogError> {
    let cannot = |what: String, instead: &str| {
        Err(CatalogError::CannotChange { message: format!("table '{table}': {what}; {instead}") })
    };
    let remake = "make a new table and INSERT INTO it from this one";
    for (place, field) in old.columns.fields().iter().enumerate() {
        let name = field.name();
        let Some((now, found)) = new.columns.column_with_name(name) else {
            return cannot(format!("column '{name}' cannot be removed"), "keep it, and leave it out in a view");
        };
        if found.data_type() != field.data_type() {
            let (from, to) = (field.data_type(), found.data_type());
            return cannot(format!("column '{name}' cannot change from {from} to {to}"), "add a new column instead");
        }
        if found.is_nullable() != field.is_nullable() {
            return cannot(format!("column '{name}' cannot change between NULL and NOT NULL"), remake);
        }
        if now != place {
            return cannot(format!("column '{name}' cannot change its place"), "put new columns at the end");
        }
    }
    let added = new.columns.fields().iter().skip(old.columns.fields().len());
    if let Some(field) = added.clone().find(|field| !field.is_nullable()) {
        let what = format!("new column '{}' cannot be NOT NULL, as present rows have no value for it", field.name());
        return cannot(what, "leave NOT NULL out");
    }
    if old.partition_by != new.partition_by || old.sort_by != new.sort_by {
        return cannot("partition_by and sort_by cannot change".to_owned(), remake);
    }
    if identity(&old.kind) != identity(&new.kind) {
        return cannot("event_time, event_key, kind and key cannot change".to_owned(), remake);
    }
    Ok(())
}

/// The part of a kind that stored rows depend on.
fn identity(kind: &TableKind) -> TableKind {
    match kind {
        TableKind::Event { event_time, event_key, .. } => TableKind::Event {
            event_time: event_time.clone(),
            event_key: event_key.clone(),
            lateness: None,
            clock_skew: None,
            retention: None,
        },
        TableKind::Plain | TableKind::Snapshot { .. } => kind.clone(),
    }
}

fn added_columns(before: &Object, after: &Create) -> Vec<arrow::datatypes::FieldRef> {
    match (&before.definition, &after.definition) {
        (Definition::Table(old), Definition::Table(new)) => new
            .columns
            .fields()
            .iter()
            .filter(|field| old.columns.field_with_name(field.name()).is_err())
            .cloned()
            .collect(),
        _ => Vec::new(),
    }
}

/// What a definition says about rows to come, as written.
fn written_options(definition: &Definition) -> BTreeMap<&'static str, String> {
    let table = match definition {
        Definition::Table(table) => table,
        Definition::MaterializedView(view) => return view.changeable().into_iter().collect(),
        Definition::View(_) | Definition::Endpoint(_) => return BTreeMap::new(),
    };
    let mut all: BTreeMap<&'static str, String> = table.ingest.written().into_iter().collect();
    if let TableKind::Event { lateness, clock_skew, .. } = &table.kind {
        all.extend(lateness.map(|span| ("lateness", span.to_string())));
        all.extend(clock_skew.map(|span| ("clock_skew", span.to_string())));
    }
    all
}

/// `lateness '7 days' → '3 days'`, one text per option that changes.
fn changed_options(before: &Object, after: &Create) -> Vec<String> {
    let (old, new) = (written_options(&before.definition), written_options(&after.definition));
    let keys: BTreeSet<&&str> = old.keys().chain(new.keys()).collect();
    let quoted = |value: Option<&String>| value.map_or("unset".to_owned(), |text| format!("'{text}'"));
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| format!("{key} {} → {}", quoted(old.get(key)), quoted(new.get(key))))
        .collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
