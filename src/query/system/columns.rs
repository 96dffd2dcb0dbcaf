//! `system.columns`: every column of every table and view; and [`Columns`], the columns of relations, kept per catalog version.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;

use super::rows::{batch, flags, numbers, texts};
use super::{INFORMATION_SCHEMA, SYSTEM};
use crate::catalog::{CatalogError, CatalogSnapshot, CatalogVersion, Definition, Object};
use crate::query::QueryError;
use crate::query::ddl::plan_described;
use crate::query::engine::Inner;
use crate::query::params::sql_name;
use crate::query::storable::storable;

/// Columns of relations. A view's are known after planning it, so they are remembered until the catalog changes.
#[derive(Default)]
pub(in crate::query) struct Columns {
    known: Mutex<(CatalogVersion, BTreeMap<String, SchemaRef>)>,
}

impl Columns {
    /// # Errors
    /// `NotFound`; a view that no longer works.
    pub(in crate::query) fn of(&self, engine: &Arc<Inner>, name: &str) -> Result<SchemaRef, QueryError> {
        let catalog = engine.catalog.snapshot();
        let object = catalog.relation(name)?;
        if let Definition::Table(table) = &object.definition {
            return Ok(table.columns.clone());
        }
        {
            let mut known = self.known.lock();
            if known.0 != catalog.version {
                *known = (catalog.version, BTreeMap::new());
            }
            if let Some(columns) = known.1.get(name) {
                return Ok(columns.clone());
            }
        }
        let columns = planned(engine, &catalog, object)?;
        let mut known = self.known.lock();
        if known.0 == catalog.version {
            known.1.insert(name.to_owned(), columns.clone());
        }
        Ok(columns)
    }

    /// # Errors
    /// `NotFound`, for any schema.
    pub(in crate::query) fn check(&self, engine: &Arc<Inner>, schema: &str, name: &str) -> Result<(), QueryError> {
        if schema == SYSTEM || schema == INFORMATION_SCHEMA {
            if super::names(schema).any(|known| known == name) {
                return Ok(());
            }
            let suggestion = crate::base::suggestion(name, super::names(schema));
            let name = format!("{schema}.{name}");
            return Err(CatalogError::NotFound { kind: "system table".to_owned(), name, suggestion }.into());
        }
        self.of(engine, name).map(|_| ())
    }

    /// All relations whose columns can be told, by name; a view that no longer works is left out.
    pub(in crate::query) fn all(&self, engine: &Arc<Inner>) -> Vec<(Arc<Object>, SchemaRef)> {
        let catalog = engine.catalog.snapshot();
        let relations = catalog.relations.values();
        relations.filter_map(|object| Some((object.clone(), self.of(engine, &object.name).ok()?))).collect()
    }
}

fn planned(engine: &Arc<Inner>, catalog: &Arc<CatalogSnapshot>, object: &Object) -> Result<SchemaRef, QueryError> {
    match &object.definition {
        Definition::Table(table) => Ok(table.columns.clone()),
        Definition::View(view) => {
            Ok(crate::query::answer_schema(plan_described(engine, catalog, &view.query)?.schema().as_arrow()))
        }
        Definition::MaterializedView(view) => {
            storable(plan_described(engine, catalog, &view.query)?.schema().as_arrow())
        }
        Definition::Endpoint(_) => Err(QueryError::Internal { message: "an endpoint is no relation".to_owned() }),
    }
}

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("table_name", DataType::Utf8),
        ("kind", DataType::Utf8),
        ("name", DataType::Utf8),
        ("position", DataType::Int64),
        ("data_type", DataType::Utf8),
        ("nullable", DataType::Boolean),
    ])
}

pub(super) fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let all = engine.columns.all(engine);
    let each = || {
        all.iter().flat_map(|(object, columns)| {
            columns.fields().iter().enumerate().map(move |(index, field)| (object, index, field))
        })
    };
    batch(
        schema(),
        vec![
            texts(each().map(|(object, ..)| Some(&object.name))),
            texts(each().map(|(object, ..)| Some(object.kind.to_string()))),
            texts(each().map(|(_, _, field)| Some(field.name()))),
            numbers(each().map(|(_, index, _)| u64::try_from(index + 1).ok())),
            texts(each().map(|(_, _, field)| Some(sql_name(field.data_type())))),
            flags(each().map(|(_, _, field)| Some(field.is_nullable()))),
        ],
    )
}
