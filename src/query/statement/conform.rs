//! Rows of any query as rows of a table: the table's columns in its order and types, missing ones null.
//!
//! A value that does not fit is an error that names the column and the value; nothing is cut or rounded into an integer.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, can_cast_types, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::array_value_to_string;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::query::QueryError;
use crate::query::fault::external;
use crate::query::params::sql_name;

/// Where each column of the target comes from.
pub(super) struct Mapping {
    /// All nullable: whether a null is allowed is decided where rows are accepted.
    target: SchemaRef,
    /// Index of the source column; `None` = null.
    from: Vec<Option<usize>>,
}

impl Mapping {
    /// # Errors
    /// Types that have nothing to do with each other, naming the column.
    pub(super) fn new(source: &Schema, target: &Schema, from: Vec<Option<usize>>) -> Result<Self, QueryError> {
        for (field, place) in target.fields().iter().zip(&from) {
            let Some(place) = place else { continue };
            let own = source.field(*place).data_type();
            if !is_assignable(own, field.data_type()) {
                return Err(mismatch(field, own));
            }
        }
        let fields: Vec<Field> =
            target.fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect();
        Ok(Self { target: Arc::new(Schema::new(fields)), from })
    }

    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let rows = batch.num_rows();
        let columns = self
            .target
            .fields()
            .iter()
            .zip(&self.from)
            .map(|(field, place)| match place {
                Some(place) => convert(batch.column(*place), field),
                None => Ok(new_null_array(field.data_type(), rows)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.target.clone(), columns, &options)
            .map_err(|error| QueryError::Internal { message: error.to_string() })
    }
}

/// The source's rows under the mapping.
pub(super) fn conform(source: SendableRecordBatchStream, mapping: Mapping) -> SendableRecordBatchStream {
    let schema = mapping.target.clone();
    let rows = source.map(move |batch| mapping.apply(&batch?).map_err(external));
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Whether values of one type are meant when another is written. Numbers are no moments: their unit would be a guess.
fn is_assignable(from: &DataType, to: &DataType) -> bool {
    let is_moment =
        |data_type: &DataType| matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    let is_number = |data_type: &DataType| data_type.is_numeric();
    match (from, to) {
        (DataType::Null, _) => true,
        (from, to) if from == to => true,
        (from, to) if is_number(from) && is_moment(to) || is_moment(from) && is_number(to) => false,
        (DataType::Boolean, to) if is_number(to) => false,
        (from, DataType::Boolean) if is_number(from) => false,
        (from, to) => can_cast_types(from, to),
    }
}

fn mismatch(field: &Field, own: &DataType) -> QueryError {
    let (column, wanted, own) = (field.name(), sql_name(field.data_type()), sql_name(own));
    QueryError::Invalid { message: format!("column '{column}' is {wanted}, the value is {own}; convert it with CAST") }
}

fn convert(values: &ArrayRef, field: &Field) -> Result<ArrayRef, QueryError> {
    let wanted = field.data_type();
    if values.data_type() == wanted {
        return Ok(values.clone());
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let cast_values = cast_with_options(values, wanted, &options).map_err(|_| mismatch(field, values.data_type()))?;
    if cast_values.null_count() > values.logical_null_count() {
        let lost = (0..values.len()).find(|row| values.is_valid(*row) && cast_values.is_null(*row));
        return Err(unfit(values, lost, field));
    }
    if wanted.is_integer() && values.data_type().is_numeric() && !values.data_type().is_integer() {
        let back = cast(&cast_values, values.data_type()).map_err(|_| mismatch(field, values.data_type()))?;
        let changed = distinct(&back, values).map_err(|_| mismatch(field, values.data_type()))?;
        if changed.true_count() > 0 {
            return Err(unfit(values, (0..values.len()).find(|row| changed.value(*row)), field));
        }
    }
    Ok(cast_values)
}

fn unfit(values: &ArrayRef, row: Option<usize>, field: &Field) -> QueryError {
    let text = row.and_then(|row| array_value_to_string(values, row).ok()).unwrap_or_default();
    let shown: String = text.chars().take(100).collect();
    QueryError::Invalid {
        message: format!("column '{}': '{shown}' is not a valid {}", field.name(), sql_name(field.data_type())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Decimal128Array, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    fn into_bigint(values: ArrayRef) -> Result<Vec<Option<i64>>, String> {
        let field = Field::new("n", DataType::Int64, true);
        let converted = convert(&values, &field).map_err(|error| error.to_string())?;
        Ok(converted.as_primitive::<Int64Type>().iter().collect())
    }

    #[test]
    fn values_convert_or_name_column_and_value() {
        assert_eq!(into_bigint(Arc::new(StringArray::from(vec![Some("7"), None]))), Ok(vec![Some(7), None]));
        let error = into_bigint(Arc::new(StringArray::from(vec!["7", "x"])));
        assert_eq!(error, Err("column 'n': 'x' is not a valid BIGINT".to_owned()));
    }

    #[test]
    fn fractions_do_not_become_integers() {
        let whole = Decimal128Array::from(vec![200]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(into_bigint(Arc::new(whole)), Ok(vec![Some(2)]));
        let half = Decimal128Array::from(vec![250]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(into_bigint(Arc::new(half)), Err("column 'n': '2.50' is not a valid BIGINT".to_owned()));
        assert!(into_bigint(Arc::new(Float64Array::from(vec![0.5]))).is_err());
        assert!(into_bigint(Arc::new(Float64Array::from(vec![1e30]))).is_err());
    }

    #[test]
    fn numbers_are_no_moments() {
        let source = Schema::new(vec![Field::new("x", DataType::Int64, true)]);
        let instant = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        let target = Schema::new(vec![Field::new("at", instant, true)]);
        let error = Mapping::new(&source, &target, vec![Some(0)]).err().unwrap().to_string();
        assert_eq!(error, "column 'at' is TIMESTAMP WITH TIME ZONE, the value is BIGINT; convert it with CAST");
    }

    #[test]
    fn columns_are_reordered_and_missing_ones_null() {
        let source = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
        let batch = RecordBatch::try_new(source.clone(), vec![Arc::new(Int64Array::from(vec![5]))]).unwrap();
        let target = Schema::new(vec![Field::new("a", DataType::Utf8, false), Field::new("b", DataType::Int64, false)]);
        let mapped = Mapping::new(&source, &target, vec![None, Some(0)]).unwrap().apply(&batch).unwrap();
        assert!(mapped.column(0).is_null(0));
        assert_eq!(mapped.column(1).as_primitive::<Int64Type>().values(), &[5]);
    }
}
