//! `information_schema`: the part of the SQL standard's catalog views that clients read.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, numbers, texts};
use super::{INFORMATION_SCHEMA, SYSTEM, TABLES};
use crate::catalog::{Definition, ObjectKind};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::params::sql_name;
use crate::query::runtime::{CATALOG, PUBLIC};

const TEXT: DataType = DataType::Utf8;
const NUMBER: DataType = DataType::Int64;

pub(super) fn schemata_schema() -> SchemaRef {
    super::rows::schema(&[("catalog_name", TEXT), ("schema_name", TEXT), ("schema_owner", TEXT)])
}

pub(super) fn schemata() -> Result<RecordBatch, QueryError> {
    let all = [INFORMATION_SCHEMA, PUBLIC, SYSTEM];
    let columns = vec![texts(all.map(|_| Some(CATALOG))), texts(all.map(Some)), texts(all.map(|_| Some(CATALOG)))];
    batch(schemata_schema(), columns)
}

pub(super) fn tables_schema() -> SchemaRef {
    super::rows::schema(&[("table_catalog", TEXT), ("table_schema", TEXT), ("table_name", TEXT), ("table_type", TEXT)])
}

pub(super) fn tables(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let catalog = engine.catalog.snapshot();
    let own = catalog.relations.values().map(|object| {
        let table_type = match object.kind {
            ObjectKind::Table => "BASE TABLE",
            ObjectKind::View | ObjectKind::Endpoint => "VIEW",
            ObjectKind::MaterializedView => "MATERIALIZED VIEW",
        };
        (PUBLIC, object.name.as_str(), table_type)
    });
    let system = TABLES.iter().map(|(schema, name, _)| (*schema, *name, "SYSTEM VIEW"));
    let all: Vec<_> = own.chain(system).collect();
    batch(
        tables_schema(),
        vec![
            texts(all.iter().map(|_| Some(CATALOG))),
            texts(all.iter().map(|(schema, ..)| Some(schema))),
            texts(all.iter().map(|(_, name, _)| Some(name))),
            texts(all.iter().map(|(_, _, table_type)| Some(table_type))),
        ],
    )
}

pub(super) fn views_schema() -> SchemaRef {
    super::rows::schema(&[
        ("table_catalog", TEXT),
        ("table_schema", TEXT),
        ("table_name", TEXT),
        ("view_definition", TEXT),
    ])
}

pub(super) fn views(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let catalog = engine.catalog.snapshot();
    let all: Vec<(&str, &str)> = catalog
        .relations
        .values()
        .filter_map(|object| match &object.definition {
            Definition::View(view) => Some((object.name.as_str(), view.query.as_str())),
            Definition::MaterializedView(view) => Some((object.name.as_str(), view.query.as_str())),
            Definition::Table(_) | Definition::Endpoint(_) => None,
        })
        .collect();
    batch(
        views_schema(),
        vec![
            texts(all.iter().map(|_| Some(CATALOG))),
            texts(all.iter().map(|_| Some(PUBLIC))),
            texts(all.iter().map(|(name, _)| Some(name))),
            texts(all.iter().map(|(_, query)| Some(query))),
        ],
    )
}

pub(super) fn columns_schema() -> SchemaRef {
    super::rows::schema(&[
        ("table_catalog", TEXT),
        ("table_schema", TEXT),
        ("table_name", TEXT),
        ("column_name", TEXT),
        ("ordinal_position", NUMBER),
        ("column_default", TEXT),
        ("is_nullable", TEXT),
        ("data_type", TEXT),
        ("numeric_precision", NUMBER),
        ("numeric_scale", NUMBER),
        ("datetime_precision", NUMBER),
    ])
}

/// Digits and scale of numbers; `None` for what has none.
fn digits(data_type: &DataType) -> (Option<u64>, Option<u64>) {
    match data_type {
        DataType::Int8 => (Some(8), Some(0)),
        DataType::Int16 => (Some(16), Some(0)),
        DataType::Int32 => (Some(32), Some(0)),
        DataType::Int64 => (Some(64), Some(0)),
        DataType::Float32 => (Some(24), None),
        DataType::Float64 => (Some(53), None),
        DataType::Decimal128(precision, scale) => (Some(u64::from(*precision)), u64::try_from(*scale).ok()),
        _ => (None, None),
    }
}

pub(super) fn columns(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let own = engine.columns.all(engine);
    let system: Vec<(&str, &str, Arc<Schema>)> =
        TABLES.iter().map(|(schema, name, kind)| (*schema, *name, kind.schema())).collect();
    let relations = own
        .iter()
        .map(|(object, columns)| (PUBLIC, object.name.as_str(), columns))
        .chain(system.iter().map(|(schema, name, columns)| (*schema, *name, columns)));
    let all: Vec<_> = relations
        .flat_map(|(schema, table, columns)| {
            columns.fields().iter().enumerate().map(move |(index, field)| (schema, table, index, field))
        })
        .collect();
    let types = || all.iter().map(|(_, _, _, field)| field.data_type());
    let moment = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..)).then_some(6);
    let yes_no = |nullable: bool| if nullable { "YES" } else { "NO" };
    batch(
        columns_schema(),
        vec![
            texts(all.iter().map(|_| Some(CATALOG))),
            texts(all.iter().map(|(schema, ..)| Some(schema))),
            texts(all.iter().map(|(_, table, ..)| Some(table))),
            texts(all.iter().map(|(_, _, _, field)| Some(field.name()))),
            numbers(all.iter().map(|(_, _, index, _)| u64::try_from(index + 1).ok())),
            texts(all.iter().map(|_| None::<&str>)),
            texts(all.iter().map(|(_, _, _, field)| Some(yes_no(field.is_nullable())))),
            texts(types().map(|data_type| Some(sql_name(data_type)))),
            numbers(types().map(|data_type| digits(data_type).0)),
            numbers(types().map(|data_type| digits(data_type).1)),
            numbers(types().map(moment)),
        ],
    )
}
