//! A fact table and what its rows are joined with: the part of a star query below its aggregate.
//!
//! Whatever is on the other side of a join is a *dimension*: a table, a view, a join of several; it is kept as it is planned and
//! never looked into. In expressions the columns of the fact have no qualifier; those of dimension 2 are called `dimension_2.…`,
//! whatever the query calls them.
//!
//! Only joins are taken in which a row of the fact has a fate of its own: it is dropped, kept, or repeated, by what *it* is joined
//! with. So the fact is the preserved side of an outer join and the tested side of a semi or anti join. Filters above a join may
//! then stand above all joins, and those over the fact alone below all.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, Result as DataFusionResult, TableReference};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Projection};
use std::sync::Arc;

use super::normalize::{Rows, conjuncts, public_name};
use super::question::Unfit;

/// One join of what is before it with a dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    dimension: LogicalPlan,
    pub(super) kind: Kind,
    /// Conjuncts.
    pub(super) on: Vec<Expr>,
}

/// What becomes of a row of the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Once for each match.
    Inner,
    /// Once for each match, and once where there is none.
    Outer,
    /// Kept where there is a match.
    Semi,
    /// Kept where there is none.
    Anti,
}

impl Kind {
    /// The kind of a join whose left (or else right) side holds the fact.
    fn of(join_type: JoinType, fact_is_left: bool) -> Option<Self> {
        match (join_type, fact_is_left) {
            (JoinType::Inner, _) => Some(Self::Inner),
            (JoinType::Left, true) | (JoinType::Right, false) => Some(Self::Outer),
            (JoinType::LeftSemi, true) | (JoinType::RightSemi, false) => Some(Self::Semi),
            (JoinType::LeftAnti, true) | (JoinType::RightAnti, false) => Some(Self::Anti),
            _ => None,
        }
    }

    fn join_type(self) -> JoinType {
        match self {
            Self::Inner => JoinType::Inner,
            Self::Outer => JoinType::Left,
            Self::Semi => JoinType::LeftSemi,
            Self::Anti => JoinType::LeftAnti,
        }
    }
}

/// The joins of a plan, innermost first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Joins {
    pub(super) steps: Vec<Step>,
}

impl Joins {
    /// The rows that `plan` makes of table `fact`, and adds the joins to these.
    ///
    /// # Errors
    /// A join that is not of the kind described above; what keeps a plan from being a question.
    pub(super) fn rows<'a>(&mut self, plan: &'a LogicalPlan, fact: &str) -> Result<Rows<'a>, Unfit> {
        Rows::over(plan, &mut |join| self.join(join, fact))
    }

    fn join<'a>(&mut self, join: &'a Join, fact: &str) -> Result<Rows<'a>, Unfit> {
        let is_in = |side: &LogicalPlan| tables(side).any(|table| table == fact);
        let (fact_is_left, before, dimension) = match (is_in(&join.left), is_in(&join.right)) {
            (true, false) => (true, &join.left, &join.right),
            (false, true) => (false, &join.right, &join.left),
            (true, true) => return Err(Unfit::SelfJoin(fact.to_owned())),
            (false, false) => return Err(Unfit::NotATable(fact.to_owned())),
        };
        let Some(kind) = Kind::of(join.join_type, fact_is_left) else {
            return Err(Unfit::OuterJoin { fact: fact.to_owned(), join: join.join_type.to_string() });
        };
        if join.null_equality != NullEquality::NullEqualsNothing || join.null_aware {
            return Err(Unfit::Nested("rows matched as INTERSECT, EXCEPT or NOT IN match them"));
        }
        if dimension.contains_outer_reference() {
            return Err(Unfit::Subquery);
        }
        if tables_anywhere(dimension).contains(fact) {
            return Err(Unfit::SelfJoin(fact.to_owned()));
        }
        let rows = self.rows(before, fact)?;
        // What an aggregate below answers is no column of the fact, and looks like one of a dimension.
        if rows.groups.is_some() {
            return Err(Unfit::Nested("another aggregate"));
        }
        let added = columns_of(dimension, self.steps.len());
        let both: Vec<Expr> = match fact_is_left {
            true => rows.columns.iter().chain(&added).cloned().collect(),
            false => added.iter().chain(&rows.columns).cloned().collect(),
        };
        let on = conditions(join, &rows, &both)?;
        // What only the fact decides is decided before the join, unless a row is kept all the same.
        let (of_fact, on) = match kind {
            Kind::Inner | Kind::Semi => on.into_iter().partition(is_of_fact),
            Kind::Outer | Kind::Anti => (Vec::new(), on),
        };
        self.steps.push(Step { dimension: dimension.as_ref().clone(), kind, on });
        let columns = match kind {
            Kind::Inner | Kind::Outer => both,
            Kind::Semi | Kind::Anti => rows.columns.clone(),
        };
        let mut rows = Rows { columns, schema: &join.schema, ..rows };
        rows.keep(of_fact);
        Ok(rows)
    }

    /// Whether a row of the fact may be in no row of the join.
    pub(super) fn may_drop(&self) -> bool {
        self.steps.iter().any(|step| step.kind != Kind::Outer)
    }

    /// `rows` joined with all dimensions. Conditions are over these columns.
    pub(super) fn joined(&self, rows: LogicalPlanBuilder) -> DataFusionResult<LogicalPlanBuilder> {
        self.steps.iter().enumerate().try_fold(rows, |rows, (index, step)| {
            let own = step.dimension.schema().iter().map(Expr::from);
            let named = own.zip(names(step.dimension.schema())).map(|(column, name)| column.alias(name)).collect();
            let dimension = Projection::try_new(named, Arc::new(step.dimension.clone()))?;
            let dimension = LogicalPlanBuilder::from(LogicalPlan::Projection(dimension)).alias(qualifier(index))?;
            rows.join_on(dimension.build()?, step.kind.join_type(), step.on.clone())
        })
    }

    /// The names of the tables that dimensions are made of, also of those in subqueries.
    pub(super) fn tables(&self) -> BTreeSet<String> {
        self.steps.iter().flat_map(|step| tables_anywhere(&step.dimension)).collect()
    }
}

/// The conjuncts of a join's condition; `columns` are those of both sides, in order.
fn conditions(join: &Join, rows: &Rows, columns: &[Expr]) -> Result<Vec<Expr>, Unfit> {
    let unclear = |_| Unfit::Nested("a join of columns that have one name");
    let schema = join.left.schema().join(join.right.schema()).map_err(unclear)?;
    let both = Rows {
        source: rows.source.clone(),
        filters: Vec::new(),
        columns: columns.to_vec(),
        schema: &schema,
        base: rows.base,
        groups: None,
    };
    let pairs = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
    let mut on = Vec::new();
    for condition in pairs.chain(join.filter.clone()) {
        on.extend(conjuncts(both.express(&condition)?));
    }
    Ok(on)
}

/// Whether an expression is over columns of the fact alone, or over none.
pub(super) fn is_of_fact(expr: &Expr) -> bool {
    expr.column_refs().iter().all(|column| column.relation.is_none())
}

/// Whether an expression is over columns of dimensions alone, and over some.
pub(super) fn is_of_dimensions(expr: &Expr) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.iter().all(|column| column.relation.is_some())
}

fn qualifier(step: usize) -> TableReference {
    TableReference::bare(format!("dimension_{step}"))
}

fn columns_of(dimension: &LogicalPlan, step: usize) -> Vec<Expr> {
    let names = names(dimension.schema()).into_iter();
    names.map(|name| Expr::Column(Column::new(Some(qualifier(step)), name))).collect()
}

/// The names of a dimension's columns, each once.
fn names(schema: &DFSchema) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let mut name = field.name().clone();
        while names.contains(&name) {
            name.push('\'');
        }
        names.push(name);
    }
    names
}

/// The tables that a plan scans, as often as it does, without those in subqueries.
pub(super) fn tables(plan: &LogicalPlan) -> impl Iterator<Item = &str> {
    let mut open = vec![plan];
    std::iter::from_fn(move || {
        let node = open.pop()?;
        open.extend(node.inputs().into_iter().rev());
        Some(node)
    })
    .filter_map(|node| match node {
        LogicalPlan::TableScan(scan) => public_name(&scan.table_name),
        _ => None,
    })
}

/// The tables that a plan scans, subqueries included.
fn tables_anywhere(plan: &LogicalPlan) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found.insert(public_name(&scan.table_name).map_or_else(|| scan.table_name.to_string(), str::to_owned));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if walked.is_err() {
        // No table has this name, so nothing is taken for known.
        found.insert("a plan too deep to read".to_owned());
    }
    found
}
