//! Ranges of time that filters ask for, and how far the keys of stored rows can tell them apart.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::partials::column;
use super::time::{DOMAIN, Reach, TimeKey, fold, is_time, moment, truncated};

/// Times from a moment on, and before another; microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    from: Option<i64>,
    to: Option<i64>,
    reach: Reach,
}

/// Ranges of time columns that filters ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(Vec<(String, Range)>);

/// A range as stored rows can answer it.
pub(super) struct Covered {
    /// Over base rows.
    pub(super) column: String,
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    /// Over stored rows: the key they are chosen by.
    pub(super) key: usize,
    /// Whether rows of the range are left out.
    pub(super) is_cut: bool,
}

impl Ranges {
    /// Takes one conjunct in; None: it is no comparison of a time column of `schema`, or of a `date_trunc` of one, with a constant.
    pub(super) fn narrow(&mut self, conjunct: &Expr, schema: &DFSchema) -> Option<()> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = conjunct else { return None };
        let (time, grain) = match left.as_ref() {
            Expr::Column(time) => (time.name.clone(), None),
            cut => truncated(cut, schema).map(|cut| (cut.column, Some(cut.grain)))?,
        };
        if right.any_column_refs() {
            return None;
        }
        let data_type = schema.field_with_unqualified_name(&time).ok()?.data_type();
        let compared = BinaryExpr { left: Box::new(column(&time)), op: *op, right: right.clone() };
        let folded = fold(&Expr::BinaryExpr(compared), schema)?;
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = folded else { return None };
        let (Expr::Column(same), Expr::Literal(value, _)) = (left.as_ref(), right.as_ref()) else { return None };
        let ScalarValue::TimestampMicrosecond(Some(moment), _) = value else { return None };
        if same.name != time || !is_time(data_type) || value.data_type() != *data_type {
            return None;
        }
        let bound = match op {
            Operator::GtEq | Operator::Lt => *moment,
            Operator::Gt | Operator::LtEq => moment.checked_add(1)?,
            _ => return None,
        };
        // A cut is at or after a moment exactly when the time is at or after the next boundary.
        let bound = grain.map_or(Some(bound), |grain| grain.ceil(bound))?;
        let range = self.range(&time);
        match op {
            Operator::GtEq | Operator::Gt => range.from = range.from.max(Some(bound)),
            _ => range.to = Some(range.to.map_or(bound, |to| to.min(bound))),
        }
        Some(())
    }

    /// What one conjunct asks for; None: it is no range.
    pub(super) fn of(conjunct: &Expr, schema: &DFSchema) -> Option<Self> {
        let mut ranges = Self::default();
        ranges.narrow(conjunct, schema)?;
        Some(ranges)
    }

    /// Takes in all that another asks for.
    pub(super) fn join(&mut self, other: &Self) {
        for (time, asked) in &other.0 {
            let range = self.range(time);
            range.from = range.from.max(asked.from);
            range.to = match (range.to, asked.to) {
                (Some(to), Some(asked)) => Some(to.min(asked)),
                (to, asked) => to.or(asked),
            };
        }
    }

    /// Whether a filter keeps out rows without this time.
    pub(super) fn has(&self, time: &str) -> bool {
        self.0.iter().any(|(name, _)| name == time)
    }

    /// Lets stored rows answer only for times that `date_bin` knows.
    pub(super) fn keep_to_domain(&mut self, time: &str) {
        self.range(time).reach = Reach::Domain;
    }

    fn range(&mut self, time: &str) -> &mut Range {
        let place = self.0.iter().position(|(name, _)| name == time).unwrap_or_else(|| {
            self.0.push((time.to_owned(), Range::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    /// How stored rows answer each range; None: not at all.
    pub(super) fn covered(&self, keys: &[TimeKey]) -> Option<Vec<Covered>> {
        self.0.iter().map(|(time, range)| range.covered(time, keys)).collect()
    }
}

impl Range {
    /// By the key that leaves out nothing, or else the first that covers anything.
    fn covered(self, time: &str, keys: &[TimeKey]) -> Option<Covered> {
        let candidates = keys.iter().filter(|key| key.column == time).filter_map(|key| self.covered_by(key));
        candidates.min_by_key(|covered| covered.is_cut)
    }

    fn covered_by(self, key: &TimeKey) -> Option<Covered> {
        let (from, to) = match (key.reach, self.reach) {
            (Reach::AllTimes, Reach::AllTimes) => (self.from, self.to),
            (Reach::Domain, _) | (_, Reach::Domain) => {
                (self.from.max(Some(DOMAIN.0)), Some(self.to.map_or(DOMAIN.1, |to| to.min(DOMAIN.1))))
            }
        };
        let from = match from {
            Some(from) => Some(key.grain.ceil(from)?),
            None => None,
        };
        let to = match to {
            Some(to) => Some(key.grain.floor(to)?),
            None => None,
        };
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return None;
        }
        let is_cut = from != self.from || to != self.to;
        Some(Covered { column: key.column.clone(), from, to, key: key.index, is_cut })
    }
}

impl Covered {
    /// Those bounds on an expression of the time's type; None: there are none.
    pub(super) fn within(&self, time: &Expr, data_type: &DataType) -> Option<Expr> {
        let from = self.from.map(|from| time.clone().gt_eq(moment(from, data_type)));
        let to = self.to.map(|to| time.clone().lt(moment(to, data_type)));
        match (from, to) {
            (Some(from), Some(to)) => Some(from.and(to)),
            (from, to) => from.or(to),
        }
    }

    /// The times that [`Self::within`] leaves out, over base rows.
    pub(super) fn without(&self, data_type: &DataType) -> Option<Expr> {
        let time = column(&self.column);
        let before = self.from.map(|from| time.clone().lt(moment(from, data_type)));
        let after = self.to.map(|to| time.clone().gt_eq(moment(to, data_type)));
        match (before, after) {
            (Some(before), Some(after)) => Some(before.or(after)),
            (before, after) => before.or(after),
        }
    }
}
