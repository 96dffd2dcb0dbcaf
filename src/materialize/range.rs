//! The bounds of `BETWEEN a AND b`: expressions as the user wrote them, worked out once.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
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
    let sql = format!("SELECT ({from}) AS bound_from, ({to}) AS bound_to");
    let asked = parts.engine.open_query(&sql, cancel.clone()).await?;
    let batches: Vec<RecordBatch> = asked.stream.try_collect().await.map_err(QueryError::from)?;
    match (moment(&batches, 0), moment(&batches, 1)) {
        (Some(from), Some(to)) if from < to => Ok(Times::between(from, to)),
        (Some(_), Some(_)) => Err(MaterializeError::NoTimes { from: from.to_owned(), to: to.to_owned() }),
        (known, _) => Err(MaterializeError::NoMoment { bound: if known.is_none() { from } else { to }.to_owned() }),
    }
}

/// The moment that a column has in its one row, in UTC unless it says otherwise. A number is none: it could be of any unit.
fn moment(batches: &[RecordBatch], column: usize) -> Option<i64> {
    let value = batches.iter().find(|batch| batch.num_rows() > 0)?.columns().get(column)?;
    let is_moment = match value.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => true,
        other => other.is_string(),
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let value = cast(value, &micros).ok().filter(|_| is_moment)?;
    let value = value.as_primitive_opt::<TimestampMicrosecondType>()?;
    value.is_valid(0).then(|| value.value(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn days_times_and_their_texts_are_moments_and_numbers_are_not() {
        let check = |value: ArrayRef, expected: Option<i64>| {
            let field = Field::new("bound_from", value.data_type().clone(), true);
            let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![value]).unwrap();
            assert_eq!(moment(std::slice::from_ref(&batch), 0), expected, "{batch:?}");
        };
        const DAY: i64 = 86_400_000_000;
        check(Arc::new(Date32Array::from(vec![2])), Some(2 * DAY));
        check(Arc::new(TimestampMicrosecondArray::from(vec![7])), Some(7));
        check(Arc::new(TimestampMicrosecondArray::from(vec![7]).with_timezone("UTC")), Some(7));
        check(Arc::new(StringArray::from(vec!["1970-01-02"])), Some(DAY));
        check(Arc::new(StringArray::from(vec!["1970-01-02T01:00:00+01:00"])), Some(DAY));
        check(Arc::new(StringArray::from(vec!["1"])), None);
        check(Arc::new(StringArray::from(vec![None::<&str>])), None);
        check(Arc::new(Int64Array::from(vec![1])), None);
        assert_eq!(moment(&[], 0), None);
    }
}
