//! Proves that definitions work: every query that a change touches is planned against the proposed catalog, without files.
//!
//! Also those that only read what changes: a view whose column disappears would fail later, at its readers.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{ExprSchemable, LogicalPlan};
use datafusion::optimizer::analyzer::Analyzer;

use super::proposal::Proposal;
use crate::base::suggestion;
use crate::catalog::{
    CatalogError, CatalogSnapshot, Definition, EndpointDefinition, MaterializedViewDefinition, Object, TableDefinition,
};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::planner::{Planner, parse};
use crate::query::tables::{Relations, references, storable};

/// Columns that materialized views will store, by name.
pub(super) type StoredColumns = BTreeMap<String, SchemaRef>;

/// Plans everything touched; runs on the CPU runtime.
///
/// # Errors
/// The first definition that does not work. For an object that was not itself changed, the message says whose reader it is.
pub(super) async fn check(engine: &Arc<Inner>, proposal: &Proposal) -> Result<StoredColumns, QueryError> {
    let (engine, after) = (engine.clone(), proposal.after.clone());
    let (touched, endpoints) = (proposal.touched.clone(), proposal.endpoints.clone());
    let shared = engine.clone();
    let checking = async move {
        let mut stored = StoredColumns::new();
        let affected = affected(&after, touched.iter().map(String::as_str))?;
        for object in after.relations.values().filter(|object| affected.contains(&object.name)) {
            let is_changed = touched.contains(&object.name);
            let columns = check_object(&engine, &after, object).map_err(|error| reader(error, object, is_changed))?;
            stored.extend(columns.map(|columns| (object.name.clone(), columns)));
        }
        for object in after.endpoints.values() {
            let is_changed = endpoints.contains(&object.name);
            if is_changed || object.reads.iter().any(|read| affected.contains(read)) {
                check_object(&engine, &after, object).map_err(|error| reader(error, object, is_changed))?;
            }
        }
        Ok(stored)
    };
    shared.shared.cpu.spawn(checking).await?
}

/// The touched relations and all that read them, directly or through others.
fn affected<'n>(
    after: &CatalogSnapshot,
    touched: impl Iterator<Item = &'n str>,
) -> Result<std::collections::BTreeSet<String>, CatalogError> {
    let mut names = std::collections::BTreeSet::new();
    for name in touched.filter(|name| after.relations.contains_key(*name)) {
        names.extend(
            after
                .with_readers(name)?
                .iter()
                .filter(|object| object.kind.is_relation())
                .map(|object| object.name.clone()),
        );
    }
    Ok(names)
}

fn reader(error: QueryError, object: &Object, is_changed: bool) -> QueryError {
    if is_changed {
        return error;
    }
    let message = format!("{} '{}' reads it and would no longer work: {error}", object.kind, object.name);
    QueryError::Catalog(CatalogError::CannotChange { message })
}

/// Columns to store, for a materialized view.
fn check_object(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    object: &Object,
) -> Result<Option<SchemaRef>, QueryError> {
    match &object.definition {
        Definition::Table(table) => check_table(engine, catalog, table).map(|()| None),
        Definition::View(view) => plan(engine, catalog, &view.query, &[]).map(|_| None),
        Definition::MaterializedView(view) => check_materialized(engine, catalog, object, view).map(Some),
        Definition::Endpoint(endpoint) => check_endpoint(engine, catalog, endpoint).map(|()| None),
    }
    .map_err(|error| in_statement(error, object))
}

/// A stored query's position is one in the query; the user wrote the whole statement.
fn in_statement(error: QueryError, object: &Object) -> QueryError {
    let query = match &object.definition {
        Definition::View(view) => &view.query,
        Definition::MaterializedView(view) => &view.query,
        Definition::Endpoint(endpoint) => &endpoint.query,
        Definition::Table(_) => return error,
    };
    let QueryError::Catalog(CatalogError::BadDefinition { line, column, message }) = error else { return error };
    let Some(offset) = object.sql.find(query.as_str()) else {
        return QueryError::Invalid { message };
    };
    let before = &object.sql[..offset];
    let lines = u64::try_from(before.matches('\n').count()).unwrap_or(0);
    let last = before.rsplit('\n').next().unwrap_or("").chars().count();
    let column = if line == 1 { column + u64::try_from(last).unwrap_or(0) } else { column };
    CatalogError::BadDefinition { line: line + lines, column, message }.into()
}

/// The settled plan of a stored query; no files are opened.
///
/// # Errors
/// What is wrong with the query.
pub(in crate::query) fn plan_described(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    sql: &str,
) -> Result<LogicalPlan, QueryError> {
    plan(engine, catalog, sql, &[]).map(|(plan, _)| plan)
}

fn plan(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    sql: &str,
    parameters: &[FieldRef],
) -> Result<(LogicalPlan, SessionState), QueryError> {
    let statement = parse(sql)?;
    let relations = Relations::described(engine, catalog, references(&statement)?)?;
    let state = engine.shared.state_at(engine.clock.now());
    let types = parameters.iter().cloned().map(Some).collect();
    let plan = Planner::new(&state, &relations).query(&statement, types)?;
    // Types that do not go together are found by the analyzer.
    let settled = Analyzer::clone(state.analyzer()).execute_and_check(plan, state.config_options(), |_, _| {})?;
    Ok((settled, state))
}

/// CHECK expressions are booleans over the columns.
fn check_table(engine: &Arc<Inner>, catalog: &Arc<CatalogSnapshot>, table: &TableDefinition) -> Result<(), QueryError> {
    if let Some(landing) = table.ingest.landing.as_ref().filter(|landing| engine.lake.holds(&landing.from)) {
        let message =
            format!("landing '{}' is inside the lake, whose files are not to be loaded; use another", landing.from);
        return Err(QueryError::Invalid { message });
    }
    if table.checks.is_empty() {
        return Ok(());
    }
    let schema = DFSchema::try_from(table.columns.as_ref().clone())?;
    let relations = Relations::described(engine, catalog, Vec::new())?;
    let state = engine.shared.state_at(engine.clock.now());
    let nulls = null_row(&table.columns)?;
    for (name, text) in &table.checks {
        let invalid = |reason: String| QueryError::Invalid { message: format!("check '{name}': {reason}") };
        let expr = Planner::new(&state, &relations).expression(text, &schema);
        let expr = expr.map_err(|error| invalid(error.to_string()))?;
        // Values that do not fit their column (`price > 'x'`) are found by trying.
        let tried = state.create_physical_expr(expr.clone(), &schema).and_then(|expr| expr.evaluate(&nulls));
        tried.map_err(|error| invalid(QueryError::from(error).to_string()))?;
        let data_type = expr.get_type(&schema)?;
        if !matches!(data_type, DataType::Boolean | DataType::Null) {
            return Err(invalid(format!("it gives {}, not true or false", crate::query::params::sql_name(&data_type))));
        }
    }
    Ok(())
}

/// One row without any value.
fn null_row(columns: &Schema) -> Result<RecordBatch, QueryError> {
    let fields: Vec<Field> = columns.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let values = fields.iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values)
        .map_err(|error| QueryError::Internal { message: error.to_string() })
}

fn check_materialized(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    object: &Object,
    view: &MaterializedViewDefinition,
) -> Result<SchemaRef, QueryError> {
    let (plan, _) = plan(engine, catalog, &view.query, &[])?;
    let columns = storable(plan.schema().as_arrow())?;
    let named = view.partition_by.iter().map(|part| ("partition_by", &part.column));
    for (option, name) in named.chain(view.sort_by.iter().map(|name| ("sort_by", name))) {
        if columns.column_with_name(name).is_none() {
            let hint = suggestion(name, columns.fields().iter().map(|field| field.name().as_str()));
            let message = format!("{option} of '{}': the query has no column '{name}'{hint}", object.name);
            return Err(QueryError::Invalid { message });
        }
    }
    Ok(columns)
}

/// The query is planned as it runs with a filter on every declared column.
fn check_endpoint(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    endpoint: &EndpointDefinition,
) -> Result<(), QueryError> {
    let quoted = |name: &String| format!("\"{}\" IS NOT NULL", name.replace('"', "\"\""));
    let predicate = match endpoint.filters.is_empty() {
        true => "TRUE".to_owned(),
        false => endpoint.filters.iter().map(quoted).collect::<Vec<_>>().join(" AND "),
    };
    let sql = endpoint.query_with_filters(&predicate)?;
    let parameters: Vec<FieldRef> = endpoint
        .parameters
        .iter()
        .map(|parameter| Arc::new(Field::new(&parameter.name, parameter.data_type.clone(), true)))
        .collect();
    plan(engine, catalog, &sql, &parameters)?;
    let relations = Relations::described(engine, catalog, Vec::new())?;
    let state = engine.shared.state_at(engine.clock.now());
    let nothing = DFSchema::try_from(Schema::empty())?;
    for parameter in &endpoint.parameters {
        let Some(default) = &parameter.default else { continue };
        let invalid = |reason: String| QueryError::Invalid {
            message: format!("default of parameter '{}': {reason}", parameter.name),
        };
        let expr = Planner::new(&state, &relations).expression(default, &nothing);
        let expr = expr.map_err(|error| invalid(error.to_string()))?;
        let cast =
            expr.cast_to(&parameter.data_type, &nothing).and_then(|expr| state.create_physical_expr(expr, &nothing));
        cast.map_err(|error| invalid(QueryError::from(error).to_string()))?;
    }
    Ok(())
}
