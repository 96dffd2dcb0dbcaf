//! What an aggregate asks of one table: directly, or through a join with dimensions. Everything above deals with both alike.

use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{Aggregate, LogicalPlan};

use super::answer::{Piece, answer};
use super::functions::Functions;
use super::joins::tables;
use super::normalize::question;
use super::question::{Question, Unfit};
use super::star::Star;
use super::strategy::RelationKind;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Alone(Question),
    OfStar(Box<Star>),
}

impl Asked {
    /// What an aggregate asks of table `source`.
    ///
    /// # Errors
    /// Why it asks nothing that parts answer.
    pub fn of(aggregate: &Aggregate, source: &str) -> Result<Self, Unfit> {
        match question(aggregate) {
            Ok(question) if question.source == source => Ok(Self::Alone(question)),
            Ok(question) => Err(Unfit::NotATable(question.source)),
            Err(unfit) if !has_join(&aggregate.input) => Err(unfit),
            Err(_) => Star::of(aggregate, source).map(|star| Self::OfStar(Box::new(star))),
        }
    }

    /// All that an aggregate asks: of its table, or of each table that the others can be dimensions of.
    pub fn all(aggregate: &Aggregate) -> Vec<Self> {
        match question(aggregate) {
            Ok(question) => vec![Self::Alone(question)],
            Err(_) if !has_join(&aggregate.input) => Vec::new(),
            Err(_) => {
                let stars = tables(&aggregate.input).filter_map(|table| Star::of(aggregate, table).ok());
                stars.map(|star| Self::OfStar(Box::new(star))).collect()
            }
        }
    }

    /// What is asked of the table alone.
    pub fn question(&self) -> &Question {
        match self {
            Self::Alone(question) => question,
            Self::OfStar(star) => &star.fact,
        }
    }

    /// The aggregate's answer from pieces that are made for [`Self::question`]; as [`super::answer()`].
    ///
    /// # Errors
    /// There is no piece; a piece lacks a column.
    pub fn answer(&self, pieces: Vec<Piece>, functions: &Functions) -> DataFusionResult<LogicalPlan> {
        match self {
            Self::Alone(question) => answer(question, pieces, functions),
            Self::OfStar(star) => star.answer(pieces, functions),
        }
    }
}

/// The star of an aggregate whose fact is the one table of events, or, when there is none, the first plain table that can be it.
/// None: it joins nothing, or several tables of events.
pub(super) fn star(
    aggregate: &Aggregate,
    relation: &dyn Fn(&str) -> Option<RelationKind>,
) -> Option<Result<Star, Unfit>> {
    if !has_join(&aggregate.input) {
        return None;
    }
    let of_kind = |kind| tables(&aggregate.input).filter(move |table| relation(table) == Some(kind));
    let mut events = of_kind(RelationKind::Events);
    let star = match (events.next(), events.next()) {
        (Some(_), Some(_)) => return None,
        (Some(fact), None) => Star::of(aggregate, fact),
        (None, _) => {
            let mut stars = of_kind(RelationKind::Plain).map(|fact| Star::of(aggregate, fact));
            let first = stars.next()?;
            std::iter::once(first).chain(stars).reduce(|best, next| best.or(next))?
        }
    };
    Some(star.and_then(|star| match unknown(&star, relation) {
        None => Ok(star),
        Some(unfit) => Err(unfit),
    }))
}

/// What dimensions may not be made of: tables that are not in the catalog; and events, which are no state of anything.
fn unknown(star: &Star, relation: &dyn Fn(&str) -> Option<RelationKind>) -> Option<Unfit> {
    star.dimension_tables().into_iter().find_map(|table| match relation(&table) {
        Some(RelationKind::Snapshot | RelationKind::Plain | RelationKind::FullView) => None,
        Some(RelationKind::Events) => Some(Unfit::SeveralTables(vec![star.fact.source.clone(), table])),
        None => Some(Unfit::NotATable(table)),
    })
}

fn has_join(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(_) => true,
        LogicalPlan::Projection(projection) => has_join(&projection.input),
        LogicalPlan::Filter(filter) => has_join(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => has_join(&alias.input),
        _ => false,
    }
}
