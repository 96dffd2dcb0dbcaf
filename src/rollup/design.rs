//! How the partial aggregates of a view are stored: one column per key, one per part.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::logical_expr::{Expr, LogicalPlan, cast};
use xxhash_rust::xxh3::xxh3_64;

use super::identity;
use super::normalize::without_alias;
use super::partials::column;
use super::parts::{Part, StoredPart, parts_of_all};
use super::question::Question;
use super::star::Star;
use super::strategy::{Refusal, stored_aggregate};
use super::time::{TimeKey, UTC};

/// Opens every name that no user may give.
const RESERVED: &str = "__adlake_";
/// Counts up when the meaning of stored columns changes, so that old ones are not taken for new ones.
const FORMAT: u64 = 2;

/// Columns the options name, in their order. (Rollup knows no storage; transforms of partitions stay outside.)
#[derive(Clone, Debug, Default)]
pub struct StoredLayout {
    pub partition_by: Vec<String>,
    pub sort_by: Vec<String>,
}

/// The stored form of a question. Stored columns are the keys, then the parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Of a star, what is asked of the fact alone.
    pub question: Question,
    /// Of a star, the tables that its dimensions are made of: joined when the view is read, not stored.
    pub dimensions: Option<Vec<String>>,
    /// The stored column of each key: the view's own column where it shows the key as it is.
    pub keys: Vec<String>,
    /// With [`Part::rows`], always.
    pub parts: Vec<StoredPart>,
    /// What each call of the question is called: the view's own column where it shows the call as it is. For people.
    pub call_names: Vec<String>,
    /// The keys that are a time cut to a grain.
    pub time_keys: Vec<TimeKey>,
    /// Of the question and all names. Rows stored under another fingerprint are another design's.
    pub fingerprint: u64,
}

impl Design {
    /// The design of the view whose plan holds the aggregate that asks `question`.
    ///
    /// # Errors
    /// Rows cannot be partitioned or sorted by the columns of `layout`.
    pub fn of(question: Question, plan: &LogicalPlan, layout: &StoredLayout) -> Result<Self, Refusal> {
        let call_names = shown_call_names(plan, &question);
        let shown = shown_keys(plan, question.keys.len());
        Self::named(question, shown, call_names, (plan, layout))
    }

    /// The design of the view whose plan holds the aggregate over a join that `star` is of.
    ///
    /// # Errors
    /// As [`Design::of`].
    pub fn of_star(star: &Star, plan: &LogicalPlan, layout: &StoredLayout) -> Result<Self, Refusal> {
        let shown = shown_keys(plan, star.key_count());
        let of_fact = star.shown().into_iter().map(|key| shown.get(key?).cloned().flatten());
        let calls = star.fact.fields.iter().skip(star.fact.keys.len());
        let call_names = calls.map(|(_, field)| field.name().clone()).collect();
        let design = Self::named(star.fact.clone(), of_fact.collect(), call_names, (plan, layout))?;
        Ok(Self { dimensions: Some(star.dimension_tables()), ..design })
    }

    fn named(
        question: Question,
        shown: Vec<Option<String>>,
        call_names: Vec<String>,
        (plan, layout): (&LogicalPlan, &StoredLayout),
    ) -> Result<Self, Refusal> {
        let keys: Vec<String> = shown
            .into_iter()
            .enumerate()
            .map(|(index, name)| name.unwrap_or_else(|| format!("{RESERVED}key_{index}")))
            .collect();
        check(&question, &keys, plan, layout)?;
        let answers = question.fields.iter().skip(question.keys.len()).map(|(_, field)| field.data_type());
        let mut parts = parts_of_all(&question.calls, answers);
        if parts.iter().all(|(part, _)| *part != Part::rows()) {
            parts.push((Part::rows(), DataType::Int64));
        }
        let parts: Vec<StoredPart> = parts
            .into_iter()
            .enumerate()
            .map(|(index, (part, data_type))| {
                let column = format!("{RESERVED}{index}_{}", part.kind.word());
                StoredPart { part, data_type, column }
            })
            .collect();
        let fingerprint = fingerprint(&question, &keys, &parts);
        let time_keys = time_keys(&question);
        Ok(Self { question, dimensions: None, keys, parts, call_names, time_keys, fingerprint })
    }

    /// Names of the stored columns, in order.
    pub fn columns(&self) -> Vec<&str> {
        let parts = self.parts.iter().map(|stored| stored.column.as_str());
        self.keys.iter().map(String::as_str).chain(parts).collect()
    }

    /// The first time key that the view shows.
    pub fn shown_time_key(&self) -> Option<&str> {
        let names = self.time_keys.iter().filter_map(|key| self.keys.get(key.index));
        names.map(String::as_str).find(|name| !name.starts_with(RESERVED))
    }

    /// A key over stored columns, of the key's type: no zones are stored, and no nanoseconds.
    pub(super) fn stored_key(&self, index: usize) -> Expr {
        let column = column(&self.keys[index]);
        match self.question.fields[index].1.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, None) => column,
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == UTC => column,
            other @ DataType::Timestamp(..) => cast(column, other.clone()),
            _ => column,
        }
    }
}

fn time_keys(question: &Question) -> Vec<TimeKey> {
    let keys = question.keys.iter().zip(&question.fields).enumerate();
    keys.filter_map(|(index, (key, (_, field)))| TimeKey::of(index, key, field.data_type())).collect()
}

/// For each key the column of the view that shows it, if any.
fn shown_keys(plan: &LogicalPlan, count: usize) -> Vec<Option<String>> {
    let mut shown: Vec<Option<String>> = vec![None; count];
    for (position, field) in plan.schema().fields().iter().enumerate() {
        let name = field.name();
        let is_usable = !name.starts_with(RESERVED) && !name.contains(|c: char| " ,;{}()\n\t=".contains(c));
        let is_taken = || shown.iter().flatten().any(|taken| taken.eq_ignore_ascii_case(name));
        if is_usable
            && !is_taken()
            && let Some(key) = origin(plan, position)
            && let Some(place) = shown.get_mut(key)
            && place.is_none()
        {
            *place = Some(name.clone());
        }
    }
    shown
}

/// Whether the aggregate groups by column `position` of the plan.
fn is_key(plan: &LogicalPlan, position: usize) -> bool {
    let Ok(aggregate) = stored_aggregate(plan) else { return false };
    origin(plan, position).is_some_and(|column| column < aggregate.group_expr.len())
}

fn shown_call_names(plan: &LogicalPlan, question: &Question) -> Vec<String> {
    let count = question.keys.len();
    let mut names: Vec<String> = question.fields.iter().skip(count).map(|(_, field)| field.name().clone()).collect();
    for (position, field) in plan.schema().fields().iter().enumerate() {
        let call = origin(plan, position).and_then(|place| place.checked_sub(count));
        if let Some(name) = call.and_then(|call| names.get_mut(call)) {
            name.clone_from(field.name());
        }
    }
    names
}

/// The column of the aggregate that column `position` of the plan passes on as it is.
fn origin(plan: &LogicalPlan, position: usize) -> Option<usize> {
    match plan {
        LogicalPlan::Aggregate(_) => Some(position),
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, position),
        LogicalPlan::Filter(filter) => origin(&filter.input, position),
        LogicalPlan::Projection(projection) => {
            let Expr::Column(column) = without_alias(projection.expr.get(position)?) else { return None };
            origin(&projection.input, projection.input.schema().maybe_index_of_column(column)?)
        }
        _ => None,
    }
}

/// Rows are laid out by keys only: the value of a part changes with every fold.
fn check(question: &Question, keys: &[String], plan: &LogicalPlan, layout: &StoredLayout) -> Result<(), Refusal> {
    let named = layout.partition_by.iter().map(|name| ("partition", name));
    for (verb, name) in named.chain(layout.sort_by.iter().map(|name| ("sort", name))) {
        let Some(index) = keys.iter().position(|key| key == name) else {
            let what = match plan.schema().fields().iter().position(|field| field.name() == name) {
                Some(position) if is_key(plan, position) => {
                    "of a dimension, which is joined when the view is read and not stored"
                }
                Some(_) => "an aggregate",
                None => "no column of it",
            };
            let instead = match keys.iter().filter(|key| !key.starts_with(RESERVED)).cloned().collect::<Vec<_>>() {
                shown if shown.is_empty() => format!("leave {verb}_by out"),
                shown => format!("{verb} by one of {}", shown.join(", ")),
            };
            return Err(Refusal { reason: format!("'{name}' is {what}"), instead });
        };
        if verb == "partition" && is_text(question.fields[index].1.data_type()) {
            let reason = format!("the text '{name}' may be empty, which no partition can be called");
            return Err(Refusal {
                reason,
                instead: "partition by a time or a number, and sort by this column".to_owned(),
            });
        }
    }
    Ok(())
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn fingerprint(question: &Question, keys: &[String], parts: &[StoredPart]) -> u64 {
    let mut text = format!("{FORMAT}\n{}\n{:?}\n", question.source, keys);
    let optional = |expr: &Option<Expr>| expr.as_ref().map(identity::of_expr).unwrap_or_default();
    for expr in question.filters.iter().chain(&question.keys) {
        text.push_str(&format!("{}\n", identity::of_expr(expr)));
    }
    for StoredPart { part, data_type, column } in parts {
        let (argument, filter) = (optional(&part.argument), optional(&part.filter));
        text.push_str(&format!("{column} {data_type} {:?} {argument} FILTER {filter}\n", part.kind));
    }
    xxh3_64(text.as_bytes())
}
