//! Proves that definitions work: every query that a change touches is planned against the proposed catalog, without files.
//!
//! Also those that only read what changes: a view whose column disappears would fail later, at its readers.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{ExprSchemable, LogicalPlan};
use datafusion::optimizer::analyzer::Analyzer;

use super::proposal::Proposal;
use crate::base::{quoted, suggestion};
use crate::catalog::{
    CatalogError, CatalogSnapshot, Definition, EndpointDefinition, MaterializedViewDefinition, Object, Rewrite,
    TableDefinition,
};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::functions::{depends_on_caller, settled_numbers};
use crate::query::planner::{Planner, parse};
use crate::query::storable::storable;
use crate::query::tables::{Relations, references};
use crate::query::views::{decide, stored_columns};
use crate::rollup::{Decision, PartitionDesign, Strategy};
use crate::storage::{Partitioning, Transform};

/// What materialized views will store, by name.
pub(super) type StoredRows = BTreeMap<String, StoredAs>;

/// Columns of a view's table, and how it is partitioned.
pub(super) struct StoredAs {
    pub(super) columns: SchemaRef,
    pub(super) partition_by: Vec<Partitioning>,
}

/// Plans everything touched; runs on the CPU runtime.
///
/// # Errors
/// The first definition that does not work. For an object that was not itself changed, the message says whose reader it is.
pub(super) async fn check(engine: &Arc<Inner>, proposal: &Proposal) -> Result<StoredRows, QueryError> {
    let (engine, after) = (engine.clone(), proposal.after.clone());
    let (touched, endpoints) = (proposal.touched.clone(), proposal.endpoints.clone());
    let shared = engine.clone();
    let checking = async move {
        let mut stored = StoredRows::new();
        let affected = affected(&after, touched.iter().map(String::as_str))?;
        for object in after.relations.values().filter(|object| affected.contains(&object.name)) {
            let is_changed = touched.contains(&object.name);
            if !is_changed {
                check_kept_alike(&engine, &after, object)?;
            }
            let rows = check_object(&engine, &after, object).map_err(|error| reader(error, object, is_changed))?;
            stored.extend(rows.map(|rows| (object.name.clone(), rows)));
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

/// What is to be stored, for a materialized view.
fn check_object(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    object: &Object,
) -> Result<Option<StoredAs>, QueryError> {
    match &object.definition {
        Definition::Table(table) => check_table(engine, catalog, table).map(|()| None),
        Definition::View(view) => plan_view(engine, catalog, (&object.name, &view.query)).map(|_| None),
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
    plan(engine, catalog, sql, &[], None)
}

/// The settled plan of a view's query, as deep inside one another as its readers will have it.
fn plan_view(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    (name, sql): (&str, &str),
) -> Result<LogicalPlan, QueryError> {
    plan(engine, catalog, sql, &[], Some(name))
}

fn plan(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    sql: &str,
    parameters: &[FieldRef],
    of_view: Option<&str>,
) -> Result<LogicalPlan, QueryError> {
    let statement = parse(sql)?;
    let relations = Relations::described(engine, catalog, references(&statement)?)?;
    let state = engine.shared.state_at(engine.clock.now());
    let types = parameters.iter().cloned().map(Some).collect();
    let planner = Planner::new(&state, &relations);
    let planner = match of_view {
        Some(name) => planner.inside(name)?,
        None => planner,
    };
    let plan = planner.query(&statement, types)?;
    // Types that do not go together are found by the analyzer.
    Ok(Analyzer::clone(state.analyzer()).execute_and_check(plan, state.config_options(), |_, _| {})?)
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
        let tried = settled_numbers(expr.clone(), &schema)
            .and_then(|expr| state.create_physical_expr(expr, &schema))
            .and_then(|expr| expr.evaluate(&nulls));
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
) -> Result<StoredAs, QueryError> {
    let plan = plan_view(engine, catalog, (&object.name, &view.query))?;
    if depends_on_caller(&plan)? {
        let message = "a materialized view holds the same for everybody: its query cannot ask for current_user() or \
                       current_attribute('…'); use a view, or a policy";
        return Err(of_view(QueryError::Invalid { message: message.to_owned() }, &object.name));
    }
    let columns = storable(plan.schema().as_arrow())?;
    let decision = decide(engine, catalog, view).map_err(|error| of_view(error, &object.name))?;
    check_verify(view, &decision).map_err(|error| of_view(error, &object.name))?;
    let named = view.partition_by.iter().map(|part| ("partition_by", &part.column));
    for (option, name) in named.chain(view.sort_by.iter().map(|name| ("sort_by", name))) {
        if columns.column_with_name(name).is_none() {
            let hint = suggestion(name, columns.fields().iter().map(|field| field.name().as_str()));
            let message = format!("{option} of '{}': the query has no column '{name}'{hint}", object.name);
            return Err(QueryError::Invalid { message });
        }
    }
    let columns = stored_columns(engine, catalog, (&decision, &plan))?;
    let partition_by = match (view.partition_by.as_slice(), &decision.strategy) {
        ([], Strategy::Partition(design)) => by_time(design, &columns),
        (given, _) => given.to_vec(),
    };
    Ok(StoredAs { columns, partition_by })
}

/// By days of the time that rows are told apart by, or by months where a day has one grain at most.
fn by_time(design: &PartitionDesign, columns: &Schema) -> Vec<Partitioning> {
    let transform = if design.is_within_days() { Transform::Day } else { Transform::Month };
    let by = Partitioning { column: design.key.clone(), transform };
    // A hidden column needs its name for itself.
    let hidden = by.partition_column();
    match columns.fields().iter().any(|field| field.name().eq_ignore_ascii_case(&hidden)) {
        true => Vec::new(),
        false => vec![by],
    }
}

/// A view that is not replaced itself keeps its stored rows, and so the kind of rows it stores: parts, or its answer.
fn check_kept_alike(engine: &Arc<Inner>, after: &Arc<CatalogSnapshot>, object: &Object) -> Result<(), QueryError> {
    let Definition::MaterializedView(view) = &object.definition else { return Ok(()) };
    let before = engine.catalog.snapshot();
    // What does not work now, or will not, is found elsewhere.
    let (Ok(before), Ok(after)) = (decide(engine, &before, view), decide(engine, after, view)) else { return Ok(()) };
    match std::mem::discriminant(&before.strategy) == std::mem::discriminant(&after.strategy) {
        true => Ok(()),
        false => {
            let message = format!(
                "materialized view '{}' reads it and would be kept otherwise ({}); drop that view first, and make it again",
                object.name, after.reason
            );
            Err(QueryError::Catalog(CatalogError::CannotChange { message }))
        }
    }
}

/// Option `verify` is about queries that are answered from the view.
fn check_verify(view: &MaterializedViewDefinition, decision: &Decision) -> Result<(), QueryError> {
    let why_none = match (view.verify, view.rewrite, &decision.strategy) {
        (None, ..) | (Some(_), Rewrite::On, Strategy::Incremental(_)) => return Ok(()),
        (Some(_), _, Strategy::Partition(_)) => {
            format!("its rows are an answer, not parts that others are merged from ({})", decision.reason)
        }
        (Some(_), _, Strategy::Full(_)) => format!("its rows are those of its last refresh ({})", decision.reason),
        (Some(_), Rewrite::Off, Strategy::Incremental(_)) => "rewrite='off'".to_owned(),
    };
    let message = format!(
        "verify checks queries that are answered from the view, and none is: {why_none}; leave verify out, or use VERIFY \
         MATERIALIZED VIEW"
    );
    Err(QueryError::Invalid { message })
}

fn of_view(error: QueryError, view: &str) -> QueryError {
    match error {
        QueryError::Invalid { message } => {
            QueryError::Invalid { message: format!("materialized view '{view}': {message}") }
        }
        other => other,
    }
}

/// The query is planned as it runs with a filter on every declared column.
fn check_endpoint(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    endpoint: &EndpointDefinition,
) -> Result<(), QueryError> {
    let given = |name: &String| format!("{} IS NOT NULL", quoted(name));
    let predicate = match endpoint.filters.is_empty() {
        true => "TRUE".to_owned(),
        false => endpoint.filters.iter().map(given).collect::<Vec<_>>().join(" AND "),
    };
    let sql = endpoint.query_with_filters(&predicate)?;
    let parameters: Vec<FieldRef> = endpoint
        .parameters
        .iter()
        .map(|parameter| Arc::new(Field::new(&parameter.name, parameter.data_type.clone(), true)))
        .collect();
    plan(engine, catalog, &sql, &parameters, None)?;
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
