//! The range of a parameter's values: its CHECK, typed.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use utoipa::Number;

use crate::catalog::ParameterRange;
use crate::server::http::value;

/// Inclusive bounds; `None` = any value.
#[derive(Debug)]
pub struct Range {
    least: Option<ScalarValue>,
    most: Option<ScalarValue>,
}

impl Range {
    /// # Errors
    /// A bound that `data_type` cannot hold.
    pub fn new(written: &ParameterRange, data_type: &DataType) -> Result<Self, String> {
        let bound = |text: &Option<String>| {
            let parse = |text: &String| {
                value::parse(text, data_type).map_err(|accepted| format!("bound {text} of a CHECK is not {accepted}"))
            };
            text.as_ref().map(parse).transpose()
        };
        Ok(Self { least: bound(&written.least)?, most: bound(&written.most)? })
    }

    /// Whether a value of the parameter's type is inside.
    pub fn holds(&self, value: &ScalarValue) -> bool {
        let above = self.least.as_ref().is_none_or(|least| value.partial_cmp(least).is_some_and(Ordering::is_ge));
        let below = self.most.as_ref().is_none_or(|most| value.partial_cmp(most).is_some_and(Ordering::is_le));
        above && below
    }

    /// `from 1 to 1000`, `at least 1`, `at most 9`; `None` when any value is taken.
    pub fn text(&self) -> Option<String> {
        match (&self.least, &self.most) {
            (Some(least), Some(most)) => Some(format!("from {least} to {most}")),
            (Some(least), None) => Some(format!("at least {least}")),
            (None, Some(most)) => Some(format!("at most {most}")),
            (None, None) => None,
        }
    }

    /// The bounds as OpenAPI writes them.
    pub fn numbers(&self) -> (Option<Number>, Option<Number>) {
        let number = |bound: &ScalarValue| {
            let text = bound.to_string();
            text.parse().map(Number::Int).or_else(|_| text.parse().map(Number::Float)).ok()
        };
        (self.least.as_ref().and_then(number), self.most.as_ref().and_then(number))
    }
}
