//! Sorting rows in memory by the byte form of their order columns (arrow's row format), of which a few bytes are compared first.
//!
//! Rows that are written together often begin alike (the day, the first letters of a key): the bytes they have in common are passed over, the
//! sixteen behind them decide nearly always, and sorting moves small numbers instead of following pointers.
//! Source: "key normalisation" in Graefe, "Implementing Sorting in Database Systems" (2006).

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_expr::LexOrdering;

use super::WritePlan;

/// Rows of a batch that is handed on.
const BATCH_ROWS: usize = 8192;
/// Bytes of a row that are compared as one number.
const HEAD_BYTES: usize = 16;

/// Memory that sorting a batch takes: its rows, the same rows joined and in order, and their byte form.
pub(super) fn memory_of(batch: &RecordBatch) -> usize {
    let rows: usize =
        batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum();
    rows.saturating_mul(4)
}

pub(super) fn converter(order: &LexOrdering, plan: &WritePlan) -> Result<RowConverter> {
    let fields =
        order.iter().map(|key| Ok(SortField::new_with_options(key.expr.data_type(&plan.working_schema)?, key.options)));
    Ok(RowConverter::new(fields.collect::<Result<Vec<_>>>()?)?)
}

/// The order columns of a batch.
pub(super) fn columns(order: &LexOrdering, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    order.iter().map(|key| key.expr.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// All rows in order, in batches of moderate size. Rows that compare equal stay in the order they came in.
pub(super) fn sorted(
    plan: &WritePlan,
    batches: &[RecordBatch],
    order: &LexOrdering,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
    let joined = concat_batches(&plan.working_schema, batches)?;
    let count = u32::try_from(joined.num_rows())
        .map_err(|_| DataFusionError::ResourcesExhausted("a slice has more than 4 billion rows".to_owned()))?;
    let rows = converter(order, plan)?.convert_columns(&columns(order, &joined)?)?;
    let places = Arc::new(UInt32Array::from(sorted_places(&rows, count)));
    let starts = (0..joined.num_rows()).step_by(BATCH_ROWS);
    Ok(starts.map(move |start| {
        let chosen = places.slice(start, BATCH_ROWS.min(places.len() - start));
        Ok(take_record_batch(&joined, &chosen)?)
    }))
}

/// The places of the rows in their order.
fn sorted_places(rows: &Rows, count: u32) -> Vec<u32> {
    let bytes = |place: u32| rows.row(place as usize).data();
    let common = (1..count).fold(bytes_of_first(rows), |common, place| {
        let alike = common.iter().zip(bytes(place)).take_while(|(left, right)| left == right).count();
        &common[..alike]
    });
    let skipped = common.len();
    let head = |place: u32| {
        let mut head = [0; HEAD_BYTES];
        let rest = bytes(place).get(skipped..).unwrap_or_default();
        let length = rest.len().min(HEAD_BYTES);
        head[..length].copy_from_slice(&rest[..length]);
        u128::from_be_bytes(head)
    };
    let mut keyed: Vec<(u128, u32)> = (0..count).map(|place| (head(place), place)).collect();
    // Stable, because it finds runs and merges them: rows that were read from a few sorted files come in as many.
    keyed.sort_by(|(left, left_at), (right, right_at)| {
        left.cmp(right).then_with(|| bytes(*left_at).cmp(bytes(*right_at)))
    });
    keyed.into_iter().map(|(_, place)| place).collect()
}

fn bytes_of_first(rows: &Rows) -> &[u8] {
    if rows.num_rows() == 0 { &[] } else { rows.row(0).data() }
}
