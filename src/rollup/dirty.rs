//! Stored rows that hold only outside some times of their source: what went there, or came late, is read from base rows.
//!
//! ```text
//! stored rows outside ∪ new base rows outside ∪ all base rows inside
//! ```
//! Inside and outside are told apart by a key that is a cut of the source's time: of whole grains, a group has all its rows on
//! one side.

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::Expr;

use super::design::Design;
use super::partials::column;
use super::time::{DOMAIN, Reach, TimeKey};
use super::times::Times;

/// Times of a source for which the stored rows of a design are not used.
#[derive(Clone, Debug, PartialEq)]
pub struct Dirty {
    /// The column of the source, and the stored key cut from it.
    column: String,
    key: String,
    data_type: DataType,
    times: Times,
}

impl Dirty {
    /// By the first time key of `design` for whose column the touched times are known; None: they are for none. `source` is the
    /// schema of the source's rows.
    pub fn of(design: &Design, source: &Schema, touched: &dyn Fn(&str) -> Option<Times>) -> Option<Self> {
        design.time_keys.iter().find_map(|key| Self::by(key, design, source, &touched(&key.column)?))
    }

    /// What is dirty already, and `times` of the time key that the view shows too. None: these are not to be told apart together.
    pub fn with(dirty: Option<Self>, design: &Design, source: &Schema, times: &Times) -> Option<Self> {
        let shown = design.shown_time_key()?;
        let mut keys = design.time_keys.iter();
        let key = keys.find(|key| design.keys.get(key.index).is_some_and(|name| name == shown))?;
        let asked = Self::by(key, design, source, times)?;
        match dirty {
            None => Some(asked),
            Some(dirty) if dirty.key != asked.key => None,
            Some(mut dirty) => {
                dirty.times.add_all(&asked.times);
                dirty.times = whole(key, &dirty.times)?;
                Some(dirty)
            }
        }
    }

    fn by(key: &TimeKey, design: &Design, source: &Schema, times: &Times) -> Option<Self> {
        if *source.field_with_name(&key.column).ok()?.data_type() != key.data_type {
            return None;
        }
        Some(Self {
            column: key.column.clone(),
            key: design.keys[key.index].clone(),
            data_type: key.data_type.clone(),
            times: whole(key, times)?,
        })
    }

    /// Whole grains of the key.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// The column of the source.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The stored key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Base rows that answer instead of stored ones.
    pub fn inside(&self) -> Expr {
        self.times.inside(&column(&self.column), &self.data_type)
    }

    /// The other base rows.
    pub fn outside(&self) -> Expr {
        self.times.outside(&column(&self.column), &self.data_type)
    }

    /// Stored rows that do not hold any more.
    pub fn stored_inside(&self) -> Expr {
        self.times.inside(&column(&self.key), &self.data_type)
    }

    /// Stored rows that hold.
    pub fn stored_outside(&self) -> Expr {
        self.times.outside(&column(&self.key), &self.data_type)
    }
}

/// The whole grains that have a time of `times`; None: not to be told from other times by this key.
fn whole(key: &TimeKey, times: &Times) -> Option<Times> {
    let whole = times.whole(key.grain)?;
    match key.reach {
        Reach::AllTimes => Some(whole),
        // Outside, and without a time, the key is NULL.
        Reach::Domain => (!whole.has_missing() && whole.is_within(DOMAIN)).then_some(whole),
    }
}
