//! What was asked: statements as questions, with how often and for how long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue, plan_err};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Aggregate, Between, BinaryExpr, Expr, LogicalPlan, Operator};

use crate::catalog::{CatalogSnapshot, Definition, Statement, TableKind, parse_statement};
use crate::query::authorise::denied;
use crate::query::engine::Inner;
use crate::query::inference::settle;
use crate::query::placeholders::number_placeholders;
use crate::query::planner::{Planner, parse};
use crate::query::running::{Run, State};
use crate::query::tables::{Relations, references};
use crate::query::viewer::Viewer;
use crate::query::views::with_moment;
use crate::query::{QueryError, params};
use crate::rollup::{self, Question, Values};

/// 2001-01-01 and 2031-01-01, half a minute past midnight: what is asked for with parameters is cut at any moment.
const FROM: i64 = 978_307_230_500_000;
const TO: i64 = 1_924_992_030_500_000;

/// A question and the statements that asked it.
pub(super) struct Asked {
    /// The first of them.
    pub text: String,
    pub question: Question,
    pub values: Values,
    pub runs: u64,
    /// Of all runs; a statement with several aggregates gives each an equal share.
    pub elapsed: Duration,
}

/// Statements as questions.
#[derive(Default)]
pub(super) struct Workload {
    /// No two are the same.
    pub asked: Vec<Asked>,
    /// Reasons why aggregates of tables are no questions, and how many statements have each.
    pub unfit: BTreeMap<String, u64>,
    /// Statements looked at.
    pub statements: u64,
    /// Statements whose text is longer than what is kept of it.
    pub cut: u64,
}

/// What is asked for whom.
type Place<'a> = (&'a Arc<CatalogSnapshot>, &'a Viewer);

/// What has run in this process lately and is still listed in the viewer's `system.queries`.
pub(super) fn lately(engine: &Arc<Inner>, place: Place<'_>) -> Workload {
    let mut workload = Workload::default();
    let mut texts: BTreeMap<String, (u64, Duration)> = BTreeMap::new();
    for run in engine.registry.list().iter().filter(|run| run.state() == State::Done && place.1.may_see_run(run)) {
        if run.is_cut {
            workload.cut += 1;
            continue;
        }
        workload.statements += 1;
        let (runs, elapsed) = texts.entry(run.sql.clone()).or_default();
        *runs += 1;
        *elapsed += run.elapsed();
    }
    for (text, ran) in texts {
        // Statements that cannot be planned any more, as after DROP TABLE, ask nothing.
        let _ = workload.take(engine, place, &text, ran);
    }
    workload
}

/// One query that need not have run.
///
/// # Errors
/// A text that is no query, or cannot be planned.
pub(super) fn of_query(engine: &Arc<Inner>, place: Place<'_>, text: &str) -> Result<Workload, QueryError> {
    let mut workload = Workload::default();
    let is_it = |run: &Arc<Run>| run.state() == State::Done && run.sql == text && place.1.may_see_run(run);
    let runs = engine.registry.list().into_iter().filter(is_it);
    let ran = runs.fold((0, Duration::ZERO), |(runs, elapsed), run| (runs + 1, elapsed + run.elapsed()));
    workload.take(engine, place, text, (ran.0.max(1), ran.1))?;
    workload.statements = 1;
    Ok(workload)
}

impl Workload {
    fn take(
        &mut self,
        engine: &Arc<Inner>,
        (catalog, viewer): Place<'_>,
        text: &str,
        (runs, elapsed): (u64, Duration),
    ) -> Result<(), QueryError> {
        let (plan, values) = planned(engine, (catalog, viewer), text)?;
        let aggregates = rollup::aggregates(&plan);
        let share = elapsed / u32::try_from(aggregates.len().max(1)).unwrap_or(u32::MAX);
        for aggregate in aggregates {
            match of_aggregate(catalog, aggregate) {
                Ok(question) => self.add(Asked { text: text.to_owned(), question, values, runs, elapsed: share }),
                Err(reason) => *self.unfit.entry(reason).or_default() += runs,
            }
        }
        Ok(())
    }

    fn add(&mut self, asked: Asked) {
        let same = |known: &&mut Asked| known.values == asked.values && known.question.asks_as(&asked.question);
        match self.asked.iter_mut().find(same) {
            Some(known) => {
                known.runs += asked.runs;
                known.elapsed += asked.elapsed;
            }
            None => self.asked.push(asked),
        }
    }
}

/// What an aggregate asks of a table to which rows are added; of a join, that is the table of events, if there is one.
fn of_aggregate(catalog: &CatalogSnapshot, aggregate: &Aggregate) -> Result<Question, String> {
    let is_event_table =
        |question: &Question| match catalog.relations.get(&question.source).map(|found| &found.definition) {
            Some(Definition::Table(table)) => matches!(table.kind, TableKind::Event { .. }),
            _ => false,
        };
    let all = rollup::Asked::all(aggregate);
    let mut found: Vec<_> = all.iter().map(|asked| of_table(catalog, asked.question().clone())).collect();
    found.sort_by_key(|found| match found {
        Ok(question) => u8::from(!is_event_table(question)),
        Err(_) => 2,
    });
    match (found.into_iter().next(), rollup::question(aggregate)) {
        (Some(found), _) => found,
        (None, Err(unfit)) => Err(unfit.to_string()),
        (None, Ok(question)) => of_table(catalog, question),
    }
}

/// Only tables to which rows are added have views that are kept by what is new.
fn of_table(catalog: &CatalogSnapshot, question: Question) -> Result<Question, String> {
    let name = &question.source;
    match catalog.relations.get(name).map(|object| &object.definition) {
        Some(Definition::Table(table)) => match table.kind {
            TableKind::Event { .. } | TableKind::Plain => Ok(question),
            TableKind::Snapshot { .. } => Err(format!("every load replaces the rows of '{name}'")),
        },
        Some(Definition::MaterializedView(_)) => Err(format!("it reads the materialized view '{name}'")),
        Some(Definition::View(_) | Definition::Endpoint(_)) | None => Err(format!("'{name}' is not a table")),
    }
}

/// The plan of a query over the described relations, before the analyzer; statements that ask nothing have an empty one.
///
/// # Errors
/// A text that is no query; `Denied` where the viewer does not see all of what it reads: advice tells how many rows there are.
fn planned(engine: &Arc<Inner>, (catalog, viewer): Place<'_>, text: &str) -> Result<(LogicalPlan, Values), QueryError> {
    let Statement::Query(text) = parse_statement(&number_placeholders(text)?)? else {
        return Err(QueryError::Invalid {
            message: "advice is given for a query, such as SELECT … FROM …".to_owned()
        });
    };
    let statement = parse(&text)?;
    let names = references(&statement)?;
    if let Some(name) =
        names.iter().find(|name| Relations::is_public(name) && !viewer.sees_whole(catalog, name.table()))
    {
        return Err(denied(format!("policies or masks hold for you on what '{}' is made from", name.table())));
    }
    let relations = Relations::described(engine, catalog, names)?;
    let state = engine.shared.state_at(engine.clock.now());
    let plan = Planner::new(&state, &relations).query(&statement, Vec::new())?;
    if matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)) {
        return Err(QueryError::Invalid {
            message: "leave EXPLAIN out: advice is given for the query itself".to_owned(),
        });
    }
    let plan = with_moment(plan, &state)?;
    match params::has_placeholder(&plan)? {
        false => Ok((plan, Values::Given)),
        true => Ok((with_stand_ins(settle(plan)?)?, Values::StandIns)),
    }
}

/// Some value in the place of each parameter, such that ranges of time are not empty.
fn with_stand_ins(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let placed = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| expr.transform_down(bounds)?.transform_data(|expr| expr.transform_down(others)))
    })?;
    Ok(placed.data)
}

fn bounds(expr: Expr) -> DataFusionResult<Transformed<Expr>> {
    let bound = |side: Box<Expr>, micros| match *side {
        Expr::Placeholder(placeholder) => stand_in(&placeholder, micros).map(Box::new),
        other => Ok(Box::new(other)),
    };
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (of_left, of_right) = match op {
                Operator::Lt | Operator::LtEq => (FROM, TO),
                _ => (TO, FROM),
            };
            Transformed::yes(Expr::BinaryExpr(BinaryExpr {
                left: bound(left, of_left)?,
                op,
                right: bound(right, of_right)?,
            }))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            Transformed::yes(Expr::Between(Between { expr, negated, low: bound(low, FROM)?, high: bound(high, TO)? }))
        }
        other => Transformed::no(other),
    })
}

fn others(expr: Expr) -> DataFusionResult<Transformed<Expr>> {
    match &expr {
        Expr::Placeholder(placeholder) => Ok(Transformed::yes(stand_in(placeholder, FROM)?)),
        _ => Ok(Transformed::no(expr)),
    }
}

fn stand_in(placeholder: &Placeholder, micros: i64) -> DataFusionResult<Expr> {
    let value = match placeholder.field.as_ref().map(|field| field.data_type()) {
        Some(DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(micros), zone.clone())
        }
        Some(DataType::Timestamp(..)) => {
            return plan_err!("parameter {} is a time of another unit than tables have", placeholder.id);
        }
        Some(other) => ScalarValue::new_default(other)?,
        None => ScalarValue::Utf8(Some(String::new())),
    };
    Ok(Expr::Literal(value, None))
}
