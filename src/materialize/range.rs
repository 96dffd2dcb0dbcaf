//! The bounds of `BETWEEN a AND b`: expressions as the user wrote them, worked out once.

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::{MaterializeError, RefreshParts};
use crate::query::QueryError;
use crate::rollup::Times;

/// The times at or after the first bound and before the second.
///
/// # Errors
/// A bound that is no moment, bounds in the wrong order.
pub(super) async fn times_between(
    parts: &RefreshParts,
    (from, to): (&str, &str),
    cancel: &CancellationToken,
) -> Result<Times, MaterializeError> {
    let moment = |bound: &str| format!("CAST(({bound}) AS TIMESTAMP WITH TIME ZONE)");
    let sql = format!("SELECT {} AS bound_from, {} AS bound_to", moment(from), moment(to));
    let asked = parts.engine.open_query(&sql, cancel.clone()).await?;
    let batches: Vec<_> = asked.stream.try_collect().await.map_err(QueryError::from)?;
    let bound = |column: usize| {
        let values = batches.first()?.column(column).as_primitive_opt::<TimestampMicrosecondType>()?;
        (!values.is_empty() && values.is_valid(0)).then(|| values.value(0))
    };
    match (bound(0), bound(1)) {
        (Some(from), Some(to)) if from < to => Ok(Times::between(from, to)),
        (Some(_), Some(_)) => Err(MaterializeError::NoTimes { from: from.to_owned(), to: to.to_owned() }),
        (known, _) => Err(MaterializeError::NoMoment { bound: if known.is_none() { from } else { to }.to_owned() }),
    }
}
