//! SQL type names to Arrow types where ours differ: timestamps are microseconds, `TIMESTAMP WITH TIME ZONE` is UTC.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo};

/// The zone of every stored and computed timestamp.
pub(super) const UTC: &str = "UTC";

/// Plans `TIMESTAMP [(p)] [WITH TIME ZONE]` and `DATETIME`; leaves other types to DataFusion.
#[derive(Debug)]
pub(in crate::query) struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let zone = match sql_type {
            SqlType::Timestamp(precision, zone) if precision.is_none_or(|digits| digits <= 6) => zone,
            SqlType::Datetime(precision) if precision.is_none_or(|digits| digits <= 6) => &TimezoneInfo::None,
            _ => return Ok(None),
        };
        let zone = match zone {
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => None,
            TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => Some(UTC.into()),
        };
        Ok(Some(Arc::new(Field::new("", DataType::Timestamp(TimeUnit::Microsecond, zone), true))))
    }
}
