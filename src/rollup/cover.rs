//! Which part of a question the stored rows of a design answer (Goldstein & Larson 2001, section 3).
//!
//! Rules, each of which has a test of its negation:
//! - *Filters.* Every filter of the design is one of the question's. The others are expressed over keys, or are a range of the
//!   column that a time key is cut from; where its ends lie inside a grain, those edges come from base rows.
//! - *Keys.* Each is an expression of stored keys, or a coarser cut of time ([`super::time`]).
//! - *Calls.* Each part is a stored one, a stored one narrowed by a filter over keys, a count of what is never NULL, or a
//!   minimum or maximum of an expression of keys. None of them is by chance.

use std::cell::OnceCell;

use arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, when};

use super::design::Design;
use super::express::Express;
use super::normalize::conjuncts;
use super::partials::column;
use super::parts::{Part, PartKind, StoredPart, parts_of_all};
use super::question::{Function, Question};
use super::ranges::Ranges;

/// How stored rows answer a question: expressions over stored columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Cover {
    /// Which stored rows take part.
    pub predicate: Option<Expr>,
    /// One for each key of the question.
    pub keys: Vec<Expr>,
    /// One for each part of the question's calls, none twice, in the order of first use.
    pub parts: Vec<Expr>,
    /// Where the stored rows end inside the question's range of time; None: they answer for all of it.
    pub edges: Option<Edges>,
}

/// Predicates over base rows. Of the rows a question asks for, each passes exactly one.
#[derive(Clone, Debug, PartialEq)]
pub struct Edges {
    pub inside: Expr,
    pub outside: Expr,
}

impl Cover {
    /// The design's own question, asked of all its stored rows.
    pub fn of_design(design: &Design) -> Self {
        let answers =
            design.question.fields.iter().skip(design.question.keys.len()).map(|(_, field)| field.data_type());
        let parts = parts_of_all(&design.question.calls, answers);
        let parts = parts.iter().filter_map(|(part, _)| design.parts.iter().find(|stored| stored.part == *part));
        Self {
            predicate: None,
            keys: (0..design.keys.len()).map(|index| design.stored_key(index)).collect(),
            parts: parts.map(|stored| column(&stored.column)).collect(),
            edges: None,
        }
    }
}

/// How the stored rows of `design` answer `question`; None: not at all. `source` is the schema of the source's rows: a column that
/// is not nullable there holds no NULL.
pub fn cover(question: &Question, design: &Design, source: &Schema) -> Option<Cover> {
    Asking::of(question, source)?.cover(design)
}

/// A question that is asked of several designs: what does not depend on the design is worked out once.
pub struct Asking<'a> {
    question: &'a Question,
    schema: DFSchema,
    /// For each filter the range of time that it is; None: it is none.
    ranges: Vec<OnceCell<Option<Ranges>>>,
}

impl<'a> Asking<'a> {
    /// `source` is as for [`cover`].
    pub fn of(question: &'a Question, source: &Schema) -> Option<Self> {
        let schema = DFSchema::try_from(source.clone()).ok()?;
        Some(Self { question, schema, ranges: question.filters.iter().map(|_| OnceCell::new()).collect() })
    }

    /// As [`cover`].
    pub fn cover(&self, design: &Design) -> Option<Cover> {
        let Self { question, schema, .. } = self;
        let stored = &design.question;
        if !question.calls.iter().all(|call| call.function.is_certain()) {
            return None;
        }
        if question.source != stored.source || !stored.filters.iter().all(|filter| question.filters.contains(filter)) {
            return None;
        }
        let mut express = Express::new(design, schema);
        let keys = question.keys.iter().map(|key| express.express(key)).collect::<Option<Vec<_>>>()?;
        let answers = question.fields.iter().skip(question.keys.len()).map(|(_, field)| field.data_type());
        let mut parts = Vec::new();
        for (part, _) in parts_of_all(&question.calls, answers) {
            parts.push(stored_part(&part, design, &mut express, schema)?);
        }
        // Last, because most designs that do not answer lack a key or a part.
        let mut predicates = Vec::new();
        let mut ranges = Ranges::default();
        let filters = question.filters.iter().zip(&self.ranges);
        for (filter, range) in filters.filter(|(filter, _)| !stored.filters.contains(filter)) {
            match express.express(filter) {
                Some(expressed) => predicates.push(expressed),
                None => ranges.join(range.get_or_init(|| Ranges::of(filter, schema)).as_ref()?),
            }
        }
        let edges = cut_ranges(ranges, design, &express, schema, &mut predicates)?;
        Some(Cover { predicate: conjunction(predicates), keys, parts, edges })
    }
}

/// Whether stored rows can be cheaper than the source: how many rows a table has, and its extremes, are known without reading it.
/// A count of groups' rows is not: the groups are made first.
pub fn is_worthwhile(question: &Question) -> bool {
    let is_known = question.calls.iter().all(|call| {
        matches!(call.function, Function::CountRows | Function::Count | Function::Min | Function::Max)
            && call.filter.is_none()
            && call.total.is_none()
    });
    !(question.filters.is_empty() && question.keys.is_empty() && is_known)
}

/// Adds the ranges of time as predicates over stored keys; the edges that base rows answer.
fn cut_ranges(
    mut ranges: Ranges,
    design: &Design,
    express: &Express,
    schema: &DFSchema,
    predicates: &mut Vec<Expr>,
) -> Option<Option<Edges>> {
    let type_of = |time: &str| schema.field_with_unqualified_name(time).ok();
    for time in &express.bound_to_domain {
        // Rows without a time would be neither inside nor outside.
        if type_of(time)?.is_nullable() && !ranges.has(time) {
            return None;
        }
        ranges.keep_to_domain(time);
    }
    let mut edges = None;
    for covered in ranges.covered(&express.time_keys)? {
        let data_type = type_of(&covered.column)?.data_type();
        let Some(chosen) = covered.within(&column(&design.keys[covered.key]), data_type) else { continue };
        predicates.push(chosen);
        if covered.is_cut {
            let inside = covered.within(&column(&covered.column), data_type)?;
            let outside = covered.without(data_type)?;
            // Two columns with edges would need their corners counted once.
            if edges.replace(Edges { inside, outside }).is_some() {
                return None;
            }
        }
    }
    Some(edges)
}

/// A part over stored columns.
fn stored_part(part: &Part, design: &Design, express: &mut Express, schema: &DFSchema) -> Option<Expr> {
    if let Some(stored) = design.parts.iter().find(|stored| stored.part == *part) {
        return Some(column(&stored.column));
    }
    let filters = part.filter.clone().map(conjuncts).unwrap_or_default();
    let mut alike =
        design.parts.iter().filter(|stored| stored.part.kind == part.kind && stored.part.argument == part.argument);
    if let Some(expr) = alike.find_map(|stored| narrowed(stored, &filters, None, express)) {
        return Some(expr);
    }
    let argument = part.argument.as_ref()?;
    if part.kind == PartKind::Count {
        let is_never_null = match argument {
            Expr::Column(counted) => !schema.field_with_unqualified_name(&counted.name).ok()?.is_nullable(),
            _ => false,
        };
        let is_there = match is_never_null {
            true => None,
            false => Some(express.express(argument)?.is_not_null()),
        };
        let mut rows = design.parts.iter().filter(|stored| stored.part.kind == PartKind::Rows);
        return rows.find_map(|stored| narrowed(stored, &filters, is_there.as_ref(), express));
    }
    // A row of keys stands for at least one row of the group; without keys it may stand for none.
    let is_idempotent = matches!(part.kind, PartKind::Min | PartKind::Max | PartKind::And | PartKind::Or);
    if !is_idempotent || design.keys.is_empty() {
        return None;
    }
    let value = express.express(argument)?;
    let filters = filters.iter().map(|filter| express.express(filter)).collect::<Option<Vec<_>>>()?;
    only_where(conjunction(filters), value)
}

/// A stored part, counted only where the filters it lacks hold (and `and`, which is over stored columns already).
fn narrowed(stored: &StoredPart, filters: &[Expr], and: Option<&Expr>, express: &mut Express) -> Option<Expr> {
    let has = stored.part.filter.clone().map(conjuncts).unwrap_or_default();
    if !has.iter().all(|filter| filters.contains(filter)) {
        return None;
    }
    let lacks = filters.iter().filter(|filter| !has.contains(filter));
    let lacks = lacks.map(|filter| express.express(filter)).collect::<Option<Vec<_>>>()?;
    only_where(conjunction(lacks.into_iter().chain(and.cloned())), column(&stored.column))
}

/// The value, or NULL, which no merging counts, where the predicate is not true.
fn only_where(predicate: Option<Expr>, value: Expr) -> Option<Expr> {
    match predicate {
        Some(predicate) => when(predicate, value).end().ok(),
        None => Some(value),
    }
}
