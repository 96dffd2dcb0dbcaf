//! SQL to logical plan, over relations that were pinned beforehand ([`Relations`]): planning does no I/O.
//!
//! Views are planned here, inside the statement that reads them, so a statement sees one version of everything below.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, DataFusionError, Result as DataFusionResult, TableReference, plan_datafusion_err};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Statement as SqlStatement};

use super::fault::{external, from_parser};
use super::functions::{SqlTypes, refuse_numbers_as_times, settled_numbers};
use super::growth::{OpenViews, check_with};
use super::literals::settle_literals;
use super::storable::storable;
use super::tables::{Relation, Relations};
use super::views::{as_stored, closed, open_view, reading_partitioned};
use super::{QueryError, fault, protect};

/// Plans one statement.
pub(super) struct Planner<'a> {
    state: &'a SessionState,
    relations: &'a Relations,
    spans: bool,
    /// Views being planned, outermost first.
    open_views: RefCell<OpenViews>,
}

/// Types known for `$1` … and `$name`.
pub(super) type ParameterTypes = Vec<Option<FieldRef>>;

impl<'a> Planner<'a> {
    pub(super) fn new(state: &'a SessionState, relations: &'a Relations) -> Self {
        Self { state, relations, spans: false, open_views: RefCell::default() }
    }

    pub(super) fn state(&self) -> &SessionState {
        self.state
    }

    /// For the query of the view called `name`: what it reads stands inside it.
    ///
    /// # Errors
    /// As for reading a view.
    pub(super) fn inside(self, name: &str) -> Result<Self, QueryError> {
        self.open_views.borrow_mut().enter(name)?;
        Ok(self)
    }

    /// The unoptimised plan of a query; `types` are those of `$1`, `$2`, … as far as known.
    ///
    /// # Errors
    /// What the user got wrong, with its place in the text.
    pub(super) fn query(&self, statement: &Statement, types: ParameterTypes) -> Result<LogicalPlan, QueryError> {
        let plan = self.query_over_open_views(statement, types)?;
        Ok(closed(plan, self.relations)?)
    }

    /// As [`Self::query`], with the views it reads left open: `views::rewritten` decides where their rows come from.
    ///
    /// # Errors
    /// As there.
    pub(super) fn query_over_open_views(
        &self,
        statement: &Statement,
        types: ParameterTypes,
    ) -> Result<LogicalPlan, QueryError> {
        let planned = self.plan(statement, types.clone());
        if planned.is_ok() || self.spans {
            return planned.map_err(QueryError::from);
        }
        // Positions cost time in every expression, so they are collected only when there is an error to place.
        let again = Planner { spans: true, open_views: RefCell::new(self.open_views.borrow().again()), ..*self };
        again.plan(statement, types).map_err(QueryError::from)
    }

    fn plan(&self, statement: &Statement, types: ParameterTypes) -> DataFusionResult<LogicalPlan> {
        let before = self.open_views.borrow().nodes();
        if let Some(statement) = planned(statement) {
            check_with(statement).map_err(external)?;
        }
        let plan = match self.with_literals_settled(statement, &types) {
            Statement::Statement(statement) => {
                let mut context = PlannerContext::new().with_prepare_param_data_types(types);
                self.sql_to_rel().sql_statement_to_plan_with_context(*statement, &mut context)
            }
            other => self.sql_to_rel().statement_to_plan(other),
        }?;
        // Before anything walks through all of it.
        self.open_views.borrow().grow(before, &plan)?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        refuse_numbers_as_times(&plan)?;
        Ok(plan)
    }

    /// An expression over the columns of `schema`.
    pub(super) fn expression(&self, sql: &str, schema: &DFSchema) -> Result<Expr, QueryError> {
        let parsed = DFParserBuilder::new(sql).build().and_then(|mut parser| parser.parse_into_expr());
        let mut parsed = parsed.map_err(QueryError::from)?.expr;
        settle_literals(&mut parsed, &|value: &SqlExpr| self.type_of_value(value, &[]));
        let planned = self.sql_to_rel().sql_to_expr(parsed, schema, &mut PlannerContext::new());
        planned.map_err(QueryError::from)
    }

    fn with_literals_settled(&self, statement: &Statement, types: &[Option<FieldRef>]) -> Statement {
        let mut statement = statement.clone();
        if let Some(written) = planned_mut(&mut statement) {
            settle_literals(written, &|value: &SqlExpr| self.type_of_value(value, types));
        }
        statement
    }

    /// The type of an expression over no columns.
    fn type_of_value(&self, value: &SqlExpr, types: &[Option<FieldRef>]) -> Option<DataType> {
        let nothing = DFSchema::empty();
        let mut context = PlannerContext::new().with_prepare_param_data_types(types.to_vec());
        let planned = self.sql_to_rel().sql_to_expr(value.clone(), &nothing, &mut context).ok()?;
        planned.get_type(&nothing).ok()
    }

    fn sql_to_rel(&self) -> SqlToRel<'_, Self> {
        let options = &self.state.config_options().sql_parser;
        let options = ParserOptions::new()
            .with_parse_float_as_decimal(options.parse_float_as_decimal)
            .with_enable_ident_normalization(options.enable_ident_normalization)
            .with_support_varchar_with_length(options.support_varchar_with_length)
            .with_map_string_types_to_utf8view(options.map_string_types_to_utf8view)
            .with_collect_spans(self.spans)
            .with_default_null_ordering(options.default_null_ordering.as_str().into());
        SqlToRel::new_with_options(self, options)
    }

    /// The rows of a relation, nobody's rights considered.
    fn source(&self, name: &TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        match self.relations.find(name).map_err(fault::external)? {
            Relation::Table(source) => Ok(source.clone()),
            Relation::View { name, statement } => {
                let plan = self.view(name, statement)?;
                let (by_parts, by_times) = (self.relations.pinned_view(name), self.relations.pinned_partitioned(name));
                let plan = match (by_parts, by_times) {
                    (Some(_), _) => open_view(name, plan)?,
                    (None, Some(view)) => reading_partitioned(view, self.relations.catalog(), plan)?,
                    (None, None) if self.relations.is_recomputed(name) => as_stored(plan)?,
                    (None, None) => plan,
                };
                Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
            }
            Relation::Planned { name, statement } => {
                let plan = self.view(name, statement)?;
                let columns = storable(plan.schema().as_arrow()).map_err(external)?;
                Ok(provider_as_source(Arc::new(EmptyTable::new(columns))))
            }
        }
    }

    fn view(&self, name: &str, statement: &Statement) -> DataFusionResult<LogicalPlan> {
        self.open_views.borrow_mut().enter(name).map_err(external)?;
        let inner = Planner { spans: false, open_views: self.open_views.clone(), ..*self };
        let planned = inner.plan(statement, Vec::new());
        self.open_views.borrow_mut().leave();
        planned.map_err(|error| match self.relations.viewer().is_engineer() {
            true => in_view(name, error),
            false => discreet(name, error),
        })
    }
}

/// What is planned of a statement: of EXPLAIN, what it explains.
fn planned(statement: &Statement) -> Option<&SqlStatement> {
    match statement {
        Statement::Statement(statement) => Some(statement),
        Statement::Explain(explain) => planned(&explain.statement),
        Statement::CopyTo(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => None,
    }
}

fn planned_mut(statement: &mut Statement) -> Option<&mut SqlStatement> {
    match statement {
        Statement::Statement(statement) => Some(statement),
        Statement::Explain(explain) => planned_mut(&mut explain.statement),
        Statement::CopyTo(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => None,
    }
}

/// An error in a view's own text says which view; its position would be a place in another text.
fn in_view(name: &str, error: DataFusionError) -> DataFusionError {
    match QueryError::from(error) {
        QueryError::Invalid { message } => {
            external(QueryError::Invalid { message: format!("view '{name}' no longer works: {message}") })
        }
        other => external(other),
    }
}

/// The same for who may not know what a view is made of.
fn discreet(name: &str, error: DataFusionError) -> DataFusionError {
    external(unreadable(name, QueryError::from(error)))
}

/// What is said of a view that does not work to who may not know what it is made of.
pub(super) fn unreadable(view: &str, error: QueryError) -> QueryError {
    match error {
        QueryError::Invalid { .. } | QueryError::NotFound { .. } | QueryError::Catalog(_) => {
            let message = format!("view '{view}' cannot be read at present; tell those who made it");
            QueryError::Invalid { message }
        }
        other => other,
    }
}

/// Parses exactly one statement.
///
/// # Errors
/// Syntax errors with line and column.
pub(super) fn parse(sql: &str) -> Result<Statement, QueryError> {
    let parsed = DFParserBuilder::new(sql).build().and_then(|mut parser| parser.parse_statements());
    let mut statements = parsed.map_err(|error| match error {
        DataFusionError::SQL(error, _) => from_parser(&error.to_string()),
        other => QueryError::from(other),
    })?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (Some(_), false) => {
            Err(QueryError::Invalid { message: "one statement at a time; there is more after ';'".to_owned() })
        }
        (None, _) => Err(QueryError::Invalid { message: "there is no statement".to_owned() }),
    }
}

impl ContextProvider for Planner<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        let in_own_text = self.open_views.borrow().is_empty();
        let reading = self.relations.reading(&name, in_own_text).map_err(external)?;
        let source = self.source(&name)?;
        match self.relations.viewer().caller() {
            Some(access) if Relations::is_public(&name) => {
                protect::protected(self, access, (name.table(), source), &reading)
            }
            _ => Ok(source),
        }
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> DataFusionResult<Arc<dyn TableSource>> {
        let function = self
            .state
            .table_functions()
            .get(name)
            .cloned()
            .ok_or_else(|| plan_datafusion_err!("table function '{name}' not found"))?;
        let context = SimplifyContext::builder()
            .with_config_options(self.state.config_options().clone())
            .with_query_execution_start_time(self.state.execution_props().query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| {
                simplifier.coerce(settled_numbers(arg, &schema)?, &schema).and_then(|arg| simplifier.simplify(arg))
            })
            .collect::<DataFusionResult<Vec<_>>>()?;
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: arrow::datatypes::SchemaRef,
    ) -> DataFusionResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(SqlTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
