//! Times cut to a grain: which cut can be made from which, and which times a cut rounds to.
//!
//! A cut is a floor function, and `coarse(fine(t)) = coarse(t)` when every boundary of the coarse grain is one of the fine grain.
//! Only columns of microseconds in UTC (or without a zone) are looked at. `date_bin` counts nanoseconds and gives NULL outside
//! [`DOMAIN`] and some way beyond, so what is derived from it or by it holds inside that only.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema, TimeUnit};
use chrono::{Datelike, NaiveDate};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::partials::column;

/// The zone of every stored time.
pub(super) const UTC: &str = "UTC";
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// 1970-01-05, a Monday.
const MONDAY: i64 = 4 * DAY;
/// 1900-01-01 to 2200-01-01, in microseconds.
pub(super) const DOMAIN: (i64, i64) = (-2_208_988_800 * SECOND, 7_258_118_400 * SECOND);
/// Origins of `date_bin` looked at: 1950-01-01 to 2050-01-01, so that no difference to [`DOMAIN`] overflows.
const ORIGINS: (i64, i64) = (-631_152_000 * SECOND, 2_524_608_000 * SECOND);

/// As the engine's: times without a zone are UTC.
static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| {
    let mut options = ConfigOptions::new();
    options.execution.time_zone = Some(UTC.to_owned());
    Arc::new(options)
});

/// Boundaries of time, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// `offset + n · width` microseconds since 1970; weeks are such.
    Even { width: i64, offset: i64 },
    /// The first of every `count`-th month since 1970-01.
    Months { count: i64 },
}

impl Grain {
    pub(super) const HOUR: Self = Self::Even { width: HOUR, offset: 0 };
    pub(super) const DAY: Self = Self::Even { width: DAY, offset: 0 };

    /// Whether every boundary of `coarser` is one of this.
    pub fn divides(self, coarser: Self) -> bool {
        match (self, coarser) {
            (Self::Even { width, offset }, Self::Even { width: wide, offset: start }) => {
                wide % width == 0 && (start - offset) % width == 0
            }
            (Self::Even { width, offset }, Self::Months { .. }) => DAY % width == 0 && offset % width == 0,
            (Self::Months { count }, Self::Months { count: many }) => many % count == 0,
            (Self::Months { .. }, Self::Even { .. }) => false,
        }
    }

    /// No grain is longer.
    pub(super) fn width_max(self) -> i64 {
        match self {
            Self::Even { width, .. } => width,
            Self::Months { count } => count.saturating_mul(31 * DAY),
        }
    }

    /// The boundary at or before a time; None outside the calendar.
    pub(super) fn floor(self, time: i64) -> Option<i64> {
        match self {
            Self::Even { width, offset } => time.checked_sub(time.checked_sub(offset)?.rem_euclid(width)),
            Self::Months { count } => {
                let month = month_of(time)?;
                start_of_month(month - month.rem_euclid(count))
            }
        }
    }

    /// The boundary at or after a time.
    pub(super) fn ceil(self, time: i64) -> Option<i64> {
        match (self.floor(time)?, self) {
            (floor, _) if floor == time => Some(time),
            (floor, Self::Even { width, .. }) => floor.checked_add(width),
            (floor, Self::Months { count }) => start_of_month(month_of(floor)? + count),
        }
    }
}

/// Months since 1970-01.
fn month_of(time: i64) -> Option<i64> {
    let days = i32::try_from(time.div_euclid(DAY)).ok()?;
    let date = NaiveDate::from_epoch_days(days)?;
    Some((i64::from(date.year()) - 1970) * 12 + i64::from(date.month0()))
}

fn start_of_month(month: i64) -> Option<i64> {
    let year = i32::try_from(1970 + month.div_euclid(12)).ok()?;
    let date = NaiveDate::from_ymd_opt(year, u32::try_from(month.rem_euclid(12)).ok()? + 1, 1)?;
    i64::from(date.to_epoch_days()).checked_mul(DAY)
}

/// An expression of a time column that depends only on which grain the time lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) column: String,
    pub(super) grain: Grain,
    /// Whether it holds inside [`DOMAIN`] only.
    pub(super) reach: Reach,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    #[default]
    AllTimes,
    Domain,
}

impl Cut {
    /// Of a function directly over a time column of `schema`.
    pub(super) fn of(expr: &Expr, schema: &DFSchema) -> Option<Self> {
        let (argument, grain, reach) = match expr {
            Expr::ScalarFunction(call) if call.name() == "date_part" && call.args.len() == 2 => {
                (&call.args[1], part(&word(&call.args[0])?.to_ascii_lowercase())?, Reach::AllTimes)
            }
            _ => floor_of(expr, schema)?,
        };
        let Expr::Column(time) = argument else { return None };
        is_time(schema.field_with_unqualified_name(&time.name).ok()?.data_type()).then(|| Self {
            column: time.name.clone(),
            grain,
            reach,
        })
    }
}

/// What an expression is the floor of, and of which grain: a cast to a day, `date_trunc`, `date_bin`.
pub(super) fn floor_of<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<(&'a Expr, Grain, Reach)> {
    match expr {
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Date32 => {
            Some((&cast.expr, Grain::DAY, Reach::AllTimes))
        }
        Expr::ScalarFunction(call) => {
            let argument = call.args.get(1)?;
            match (call.name(), call.args.len()) {
                ("date_trunc", 2) => Some((argument, truncation(word(&call.args[0])?)?, Reach::AllTimes)),
                ("date_bin", 2 | 3) => Some((argument, bin(&fold(expr, schema)?)?, Reach::Domain)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A `date_trunc` of a time column of `schema`: its type is the column's, and it holds for all times.
pub(super) fn truncated(expr: &Expr, schema: &DFSchema) -> Option<Cut> {
    match expr {
        Expr::ScalarFunction(call) if call.name() == "date_trunc" => Cut::of(expr, schema),
        _ => None,
    }
}

/// The cut of a finer `date_trunc` as a cut of the column itself; any other expression as it is.
pub(super) fn cut_once(expr: Expr, schema: &DFSchema) -> Expr {
    let argument = match &expr {
        Expr::Cast(cast) => Some(cast.expr.as_ref()),
        Expr::ScalarFunction(call) => call.args.get(1),
        _ => None,
    };
    let Some(finer) = argument.and_then(|argument| truncated(argument, schema)) else { return expr };
    let mut of_column = expr.clone();
    match &mut of_column {
        Expr::Cast(cast) => *cast.expr = column(&finer.column),
        Expr::ScalarFunction(call) => call.args[1] = column(&finer.column),
        _ => {}
    }
    match Cut::of(&of_column, schema) {
        Some(cut) if cut.reach == Reach::AllTimes && finer.grain.divides(cut.grain) => of_column,
        _ => expr,
    }
}

/// A key of a design that is a time column cut to a grain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeKey {
    /// Which key.
    pub index: usize,
    /// The column of the source.
    pub column: String,
    pub grain: Grain,
    /// The type of the column, and of the stored key.
    pub(super) data_type: DataType,
    pub(super) reach: Reach,
}

impl TimeKey {
    /// `data_type` is the key's: the column's, or nanoseconds for `date_bin`.
    pub(super) fn of(index: usize, key: &Expr, data_type: &DataType) -> Option<Self> {
        let Expr::ScalarFunction(call) = key else { return None };
        let ("date_trunc" | "date_bin", Some(Expr::Column(time))) = (call.name(), call.args.get(1)) else {
            return None;
        };
        let DataType::Timestamp(_, zone) = data_type else { return None };
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        let schema = Schema::new(vec![Field::new(&time.name, data_type.clone(), true)]);
        let Cut { column, grain, reach } = Cut::of(key, &DFSchema::try_from(schema).ok()?)?;
        Some(Self { index, column, grain, data_type, reach })
    }
}

pub(super) fn is_time(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => zone.as_deref().is_none_or(|zone| zone == UTC),
        _ => false,
    }
}

/// Whether a time is a whole number of microseconds though its type counts nanoseconds: `date_bin` and `AT TIME ZONE` give such.
pub(super) fn is_whole_micros(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::Column(time) => {
            schema.field_with_unqualified_name(&time.name).is_ok_and(|field| is_time(field.data_type()))
        }
        Expr::Cast(cast) => {
            matches!(cast.field.data_type(), DataType::Timestamp(..)) && is_whole_micros(&cast.expr, schema)
        }
        Expr::ScalarFunction(call) if call.name() == "date_trunc" => {
            call.args.get(1).is_some_and(|time| is_whole_micros(time, schema))
        }
        other => Cut::of(other, schema).is_some(),
    }
}

fn word(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

fn even(width: i64) -> Grain {
    Grain::Even { width, offset: 0 }
}

/// The grain of `date_trunc`.
fn truncation(word: &str) -> Option<Grain> {
    Some(match word {
        "second" => even(SECOND),
        "minute" => even(MINUTE),
        "hour" => even(HOUR),
        "day" => Grain::DAY,
        "week" => Grain::Even { width: WEEK, offset: MONDAY },
        "month" => Grain::Months { count: 1 },
        "quarter" => Grain::Months { count: 3 },
        "year" => Grain::Months { count: 12 },
        _ => return None,
    })
}

/// The grain that a `date_part` is a function of.
fn part(word: &str) -> Option<Grain> {
    Some(match word {
        "minute" => even(MINUTE),
        "hour" => even(HOUR),
        "day" | "dow" | "isodow" | "doy" | "week" | "isoyear" => Grain::DAY,
        "month" => Grain::Months { count: 1 },
        "quarter" => Grain::Months { count: 3 },
        "year" => Grain::Months { count: 12 },
        _ => return None,
    })
}

/// The grain of a folded `date_bin`: whole microseconds, or months from the default origin.
fn bin(folded: &Expr) -> Option<Grain> {
    let Expr::ScalarFunction(call) = folded else { return None };
    let Some(Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(stride)), _)) = call.args.first() else {
        return None;
    };
    let origin = match call.args.get(2) {
        None => None,
        Some(Expr::Literal(ScalarValue::TimestampNanosecond(Some(origin), _), _)) => Some(*origin),
        Some(_) => return None,
    };
    match (*stride, origin) {
        (IntervalMonthDayNano { months, days: 0, nanoseconds: 0 }, None) if months > 0 => {
            Some(Grain::Months { count: i64::from(months) })
        }
        (IntervalMonthDayNano { months: 0, days, nanoseconds }, origin) => {
            let origin = whole_micros(origin.unwrap_or(0)).filter(|origin| (ORIGINS.0..ORIGINS.1).contains(origin))?;
            let width = whole_micros(nanoseconds)?.checked_add(i64::from(days).checked_mul(DAY)?)?;
            (width > 0).then(|| Grain::Even { width, offset: origin.rem_euclid(width) })
        }
        _ => None,
    }
}

pub(super) fn whole_micros(nanos: i64) -> Option<i64> {
    (nanos % 1_000 == 0).then_some(nanos / 1_000)
}

/// The expression with types settled and constants worked out.
pub(super) fn fold(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let context =
        SimplifyContext::builder().with_schema(Arc::new(schema.clone())).with_config_options(OPTIONS.clone()).build();
    let simplifier = ExprSimplifier::new(context);
    let coerced = simplifier.coerce(expr.clone(), schema).ok()?;
    simplifier.simplify(coerced).ok()
}

/// The first day that is not before a moment.
fn day_of(micros: i64) -> Option<i32> {
    i32::try_from(micros.div_euclid(DAY) + i64::from(micros.rem_euclid(DAY) > 0)).ok()
}

pub(super) fn moment(micros: i64, data_type: &DataType) -> Expr {
    let zone = match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        DataType::Date32 => return lit(ScalarValue::Date32(day_of(micros))),
        _ => None,
    };
    lit(ScalarValue::TimestampMicrosecond(Some(micros), zone))
}

#[cfg(test)]
mod tests {
    use super::{DAY, Grain, HOUR, MONDAY, WEEK, even};

    #[test]
    fn grains_round_down_and_up_on_both_sides_of_1970() {
        let check = |grain: Grain, time, floor, ceil| {
            assert_eq!((grain.floor(time), grain.ceil(time)), (Some(floor), Some(ceil)), "{grain:?} {time}");
        };
        check(even(HOUR), -1, -HOUR, 0);
        check(even(HOUR), 0, 0, 0);
        check(even(HOUR), 1, 0, HOUR);
        check(Grain::Even { width: WEEK, offset: MONDAY }, 0, MONDAY - WEEK, MONDAY);
        check(Grain::Months { count: 1 }, -1, -31 * DAY, 0);
        check(Grain::Months { count: 3 }, 32 * DAY, 0, 90 * DAY);
        check(Grain::Months { count: 12 }, -366 * DAY, -2 * 365 * DAY - DAY, -365 * DAY);
        assert_eq!(Grain::Months { count: 1 }.floor(i64::MAX), None);
        assert_eq!(even(HOUR).floor(i64::MIN), None);
        assert_eq!(even(HOUR).ceil(i64::MAX), None);
    }
}
