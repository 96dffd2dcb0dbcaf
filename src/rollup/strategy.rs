//! The strategy a materialized view is kept by, and why: a pure decision over its plan.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

use super::asked::star;
use super::chance::{Certainty, certainties};
use super::design::{Design, StoredLayout};
use super::lineage::Relations;
use super::normalize::{aggregates, question, several_tables, unfit_parts};
use super::obstacle::Obstacle;
use super::partition::PartitionDesign;
use super::question::{Question, Unfit};
use super::row_windows::RowWindows;
use super::star::Star;

/// Of a quantile of a KLL sketch, say: stored parts give another one than the query, and nothing could tell whether it is right.
const DERIVED: &str = "a column is made of a KLL sketch, which is by chance; \
                       show the sketch, and take the quantile where the view is read";

/// How a view's rows are kept true.
#[derive(Clone, Debug)]
pub enum Strategy {
    /// Partial aggregates are stored; only new rows of the source are read. Dimensions, if any, are joined when the view is read.
    Incremental(Arc<Design>),
    /// Finished rows are stored; those of a time are made anew when what they depend on has changed.
    Partition(Arc<PartitionDesign>),
    /// The rows of the last refresh are stored; each refresh runs the whole query. What it changes is told by these windows of
    /// time, or why it is not.
    Full(Result<RowWindows, Obstacle>),
}

impl Strategy {
    /// The strategy in words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Incremental(design) if design.dimensions.is_some() => "incremental with dimensions",
            Self::Incremental(_) => "incremental",
            Self::Partition(_) => "partition",
            Self::Full(_) => "full",
        }
    }
}

/// A strategy with the reason users see.
#[derive(Clone, Debug)]
pub struct Decision {
    pub strategy: Strategy,
    pub reason: String,
    /// How far each column of the view is the same in every run; empty: not known, as of rows of one moment.
    pub certainties: Vec<Certainty>,
}

/// Why a view cannot be made as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {instead}")]
pub struct Refusal {
    pub reason: String,
    pub instead: String,
}

/// What the view's options ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Auto,
    /// `strategy='full'` with a refresh that happens by itself.
    Full,
    /// `strategy='full'` with `refresh='manual'`: the rows of one moment, whatever the query.
    FullManual,
}

/// What a name in a view's query stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// Rows are added.
    Events,
    /// Every load replaces the rows.
    Snapshot,
    /// A table of no special kind: rows are mostly added.
    Plain,
    /// A materialized view whose stored rows are its answer.
    FullView,
}

/// Decides by the plan, the options, and what its sources are.
///
/// # Errors
/// The query has another answer at every run and is not asked for once by hand; rows cannot be stored as `layout` says.
pub fn decide(
    plan: &LogicalPlan,
    wanted: Wanted,
    relations: &Relations,
    layout: &StoredLayout,
) -> Result<Decision, Refusal> {
    match wanted {
        // Rows of one moment may be by chance.
        Wanted::FullManual => {
            let certainties = certainties(plan).unwrap_or_default();
            return Ok(full((plan, relations), "strategy='full' was asked for".to_owned(), certainties));
        }
        Wanted::Auto | Wanted::Full => {}
    }
    let refused = |unfit: Unfit| {
        let instead = "leave it to the query that reads the view, or use refresh='manual', strategy='full'".to_owned();
        Refusal { reason: unfit.to_string(), instead }
    };
    if let Some(unfit) = unrepeatable(plan) {
        return Err(refused(unfit));
    }
    let certainties = certainties(plan).map_err(refused)?;
    let full = |reason: String| Ok(full((plan, relations), reason, certainties.clone()));
    match wanted {
        Wanted::Full | Wanted::FullManual => full("strategy='full' was asked for".to_owned()),
        Wanted::Auto => match stored_question(plan) {
            Err(unfit) => match stored_aggregate(plan).ok().and_then(|aggregate| star(aggregate, relations.kind)) {
                Some(Ok(_)) if certainties.contains(&Certainty::Derived) => full(DERIVED.to_owned()),
                Some(Ok(star)) => {
                    let (strategy, reason) = with_dimensions(&star, plan, layout)?;
                    Ok(Decision { strategy, reason, certainties })
                }
                Some(Err(unfit)) => Ok(by_partition(plan, relations, &unfit.to_string(), certainties)),
                None => Ok(by_partition(plan, relations, &unfit.to_string(), certainties)),
            },
            Ok(_) if certainties.contains(&Certainty::Derived) => full(DERIVED.to_owned()),
            Ok(question) => match (relations.kind)(&question.source) {
                Some(RelationKind::Events | RelationKind::Plain) => {
                    let (strategy, reason) = incremental(question, plan, layout)?;
                    Ok(Decision { strategy, reason, certainties })
                }
                Some(RelationKind::Snapshot) => full(format!("every load replaces the rows of '{}'", question.source)),
                Some(RelationKind::FullView) => full(format!("refreshes of '{}' replace its rows", question.source)),
                None => full(Unfit::NotATable(question.source).to_string()),
            },
        },
    }
}

fn full((plan, relations): (&LogicalPlan, &Relations), reason: String, certainties: Vec<Certainty>) -> Decision {
    Decision { strategy: Strategy::Full(RowWindows::of(plan, relations)), reason, certainties }
}

/// For a query that cannot be kept incrementally, which `why` says.
fn by_partition(plan: &LogicalPlan, relations: &Relations, why: &str, certainties: Vec<Certainty>) -> Decision {
    match PartitionDesign::of(plan, relations) {
        Ok(design) => {
            let key = &design.key;
            let reason = format!("{why}; rows of one '{key}' come from rows of known times");
            Decision { strategy: Strategy::Partition(Arc::new(design)), reason, certainties }
        }
        // Said already.
        Err(obstacle) if obstacle.to_string() == why => full((plan, relations), why.to_owned(), certainties),
        Err(obstacle) => {
            let why = format!("{why}; its rows cannot be told apart by time either: {obstacle}");
            full((plan, relations), why, certainties)
        }
    }
}

fn incremental(question: Question, plan: &LogicalPlan, layout: &StoredLayout) -> Result<(Strategy, String), Refusal> {
    let below = match stored_aggregate(plan).is_ok_and(|aggregate| aggregates(&aggregate.input).is_empty()) {
        true => "",
        false => ", through the groups of an aggregate below",
    };
    let reason = format!("an aggregate of '{}' that merges from parts{below}", question.source);
    let design = Design::of(question, plan, layout)?;
    Ok((Strategy::Incremental(Arc::new(design)), reason))
}

fn with_dimensions(star: &Star, plan: &LogicalPlan, layout: &StoredLayout) -> Result<(Strategy, String), Refusal> {
    let joined = match star.dimension_tables() {
        none if none.is_empty() => "constants".to_owned(),
        some => some.iter().map(|table| format!("'{table}'")).collect::<Vec<_>>().join(", "),
    };
    let reason =
        format!("an aggregate of '{}' that merges from parts, joined with {joined} when it is read", star.fact.source);
    let design = Design::of_star(star, plan, layout)?;
    Ok((Strategy::Incremental(Arc::new(design)), reason))
}

/// The question of the one aggregate of a view's plan.
fn stored_question(plan: &LogicalPlan) -> Result<Question, Unfit> {
    question(stored_aggregate(plan)?)
}

/// The aggregate below nothing but what is computed again at every reading, row by row.
///
/// # Errors
/// There is none, or something else is above it.
pub(super) fn stored_aggregate(plan: &LogicalPlan) -> Result<&Aggregate, Unfit> {
    let mut node = plan;
    loop {
        if node.expressions().iter().any(|expr| unfit_parts(expr).contains(&Unfit::Subquery)) {
            return Err(Unfit::Subquery);
        }
        node = match node {
            LogicalPlan::Aggregate(aggregate) => return Ok(aggregate),
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => return Err(Unfit::Limit),
            LogicalPlan::Join(_) | LogicalPlan::Union(_) => return Err(several_tables(node)),
            _ if aggregates(node).is_empty() => return Err(Unfit::NoAggregate),
            _ => return Err(Unfit::Above),
        };
    }
}

/// What makes two runs of the plan over the same rows differ.
pub(super) fn unrepeatable(plan: &LogicalPlan) -> Option<Unfit> {
    let mut found = None;
    let walk = plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Limit(_)) {
            found = Some(Unfit::Limit);
        }
        node.apply_expressions(|expr: &Expr| {
            found = found
                .take()
                .or_else(|| unfit_parts(expr).into_iter().find(|unfit| matches!(unfit, Unfit::Volatile(_))));
            Ok(TreeNodeRecursion::Continue)
        })
    });
    match walk {
        Ok(_) => found,
        Err(error) => Some(Unfit::Volatile(error.to_string())),
    }
}
