//! Bound parameters: Arrow rows from the client, values for the engine.
//!
//! A value is brought to the type the statement expects only when nothing is lost (`2.0` → `BIGINT` 2). A value that would
//! change (`1.5` for a `BIGINT` comparison) goes to the engine as it came, whose own type rules then apply.

use super::error::{invalid, status};
use super::ticket::{from_ipc, to_ipc};
use crate::base::Kind;
use crate::query::Params;
use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use futures::{Stream, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::Status;

/// Rows of parameters; a statement runs once per row.
pub(super) struct Rows(Option<RecordBatch>);

impl Rows {
    /// One run without parameters.
    pub fn none() -> Self {
        Self(None)
    }

    /// Rows whose columns are named as the parameters are.
    pub fn bound(batch: RecordBatch) -> Self {
        Self(Some(batch))
    }

    /// Those that a ticket holds, if any.
    pub fn of_ticket(bytes: &Bytes) -> Result<Self, Status> {
        if bytes.is_empty() {
            return Ok(Self::none());
        }
        let (schema, batches) = from_ipc(bytes)?;
        let batch = concat_batches(&schema, &batches).map_err(|error| invalid(error.to_string()))?;
        Ok(Self(Some(batch)))
    }

    pub fn to_ipc(&self) -> Result<Bytes, Status> {
        match &self.0 {
            Some(batch) => to_ipc(&batch.schema(), std::slice::from_ref(batch)),
            None => Ok(Bytes::new()),
        }
    }

    /// Whether they are of the types that the statement tells of its parameters, and tells of all.
    pub fn are_as_told(&self, parameters: &Schema) -> bool {
        let Some(batch) = &self.0 else { return parameters.fields().is_empty() };
        let schema = batch.schema();
        let mut types = schema.fields().iter().zip(parameters.fields());
        types.all(|(bound, told)| bound.data_type() == told.data_type() && *told.data_type() != DataType::Null)
    }

    /// How often the statement runs.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(1, RecordBatch::num_rows)
    }

    /// The values of run `row`.
    pub fn params(&self, row: usize) -> Result<Params, Status> {
        let Some(batch) = &self.0 else { return Ok(Params::None) };
        let value = |column: &ArrayRef| {
            ScalarValue::try_from_array(column, row)
                .map_err(|error| invalid(format!("cannot read a parameter: {error}")))
        };
        if batch.num_columns() == 0 {
            return Ok(Params::None);
        }
        if is_positional(&batch.schema()) {
            return Ok(Params::Positional(batch.columns().iter().map(value).collect::<Result<_, _>>()?));
        }
        let mut named = BTreeMap::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            named.insert(bare_name(field.name()).to_owned(), value(column)?);
        }
        Ok(Params::Named(named))
    }
}

fn bare_name(name: &str) -> &str {
    name.strip_prefix('$').unwrap_or(name)
}

/// `$1, $2 …` (also `?`), as opposed to `$from`.
fn is_positional(schema: &Schema) -> bool {
    schema.fields().iter().all(|field| bare_name(field.name()).chars().all(|c| c.is_ascii_digit() || c == '?'))
}

/// The parameter schema shown to clients. A parameter whose type could not be inferred is offered as text: JDBC refuses to
/// bind to "null". Times are offered in milliseconds: the JDBC driver (18.3) writes milliseconds into whatever unit is asked
/// for, a thousand times too early; clients that bind types of their own keep their microseconds.
pub(super) fn shown_schema(parameters: &Schema) -> Schema {
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Null => Field::new(field.name(), DataType::Utf8, true),
        DataType::Timestamp(_, zone) => {
            Field::new(field.name(), DataType::Timestamp(TimeUnit::Millisecond, zone.clone()), true)
        }
        other => Field::new(field.name(), crate::server::encode::wire_type(other), true),
    };
    Schema::new(parameters.fields().iter().map(field).collect::<Vec<_>>())
}

/// Gives the rows a client sent the names, and where nothing is lost the types, of the statement's parameters.
pub(super) fn bind(parameters: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, Status> {
    let wanted = parameters.fields().len();
    let given = batch.num_columns();
    if wanted != given {
        return Err(invalid(format!("this statement has {wanted} parameters, {given} were bound")));
    }
    let mut fields = Vec::with_capacity(wanted);
    let mut columns = Vec::with_capacity(wanted);
    for (field, column) in parameters.fields().iter().zip(batch.columns()) {
        let column = match lossless_cast(column, field.data_type()) {
            Ok(cast) => cast,
            Err(Loss::Changed) => column.clone(),
            Err(Loss::Impossible(reason)) => {
                return Err(invalid(format!("parameter {}: {reason}", field.name())));
            }
        };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    if columns.is_empty() {
        return Ok(batch.clone());
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| invalid(error.to_string()))
}

/// Why a value cannot be brought to a type.
#[derive(Debug, PartialEq)]
pub(super) enum Loss {
    /// It would become another value.
    Changed,
    Impossible(String),
}

/// Casts when every value stays the same value. Text is parsed; floats may change width.
pub(super) fn lossless_cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Loss> {
    let from = column.data_type();
    if from == to || *to == DataType::Null {
        return Ok(column.clone());
    }
    if *from == DataType::Null {
        return Ok(new_null_array(to, column.len()));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let cast = match cast_with_options(column, to, &strict) {
        Ok(cast) => cast,
        Err(error) => return Err(Loss::Impossible(error.to_string())),
    };
    let text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if text(from) || text(to) || (from.is_floating() && to.is_floating()) {
        return Ok(cast);
    }
    match cast_with_options(&cast, from, &strict) {
        Ok(back) if back.to_data() == column.to_data() => Ok(cast),
        _ => Err(Loss::Changed),
    }
}

/// All rows bound to a query, which must stay small: they travel in the ticket.
pub(super) async fn collect_bound(
    mut batches: impl Stream<Item = Result<RecordBatch, Status>> + Unpin,
    parameters: &SchemaRef,
    bytes_max: usize,
) -> Result<Option<RecordBatch>, Status> {
    let mut bound: Vec<RecordBatch> = Vec::new();
    let mut bytes = 0;
    while let Some(batch) = batches.next().await {
        let batch = bind(parameters, &batch?)?;
        bytes += super::encode::bytes_of(&batch);
        if bytes > bytes_max {
            let message =
                format!("more than {bytes_max} bytes of parameters bound to one query; bind fewer rows at once");
            return Err(status(Kind::ResourceExhausted, message));
        }
        bound.push(batch);
    }
    let Some(first) = bound.first() else { return Ok(None) };
    let all = concat_batches(&first.schema(), &bound);
    all.map(Some).map_err(|error| invalid(format!("bound rows differ in type: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};

    fn column(values: impl Array + 'static) -> ArrayRef {
        Arc::new(values)
    }

    #[test]
    fn values_change_type_only_when_nothing_is_lost() {
        let whole = column(Float64Array::from(vec![2.0]));
        assert_eq!(&lossless_cast(&whole, &DataType::Int64).unwrap(), &column(Int64Array::from(vec![2])));
        let half = column(Float64Array::from(vec![1.5]));
        assert_eq!(lossless_cast(&half, &DataType::Int64).unwrap_err(), Loss::Changed);
        let large = column(Int64Array::from(vec![i64::MAX]));
        assert!(matches!(lossless_cast(&large, &DataType::Int32).unwrap_err(), Loss::Impossible(_)));
        let text = column(StringArray::from(vec!["x"]));
        assert!(matches!(lossless_cast(&text, &DataType::Int32).unwrap_err(), Loss::Impossible(_)));
    }

    #[test]
    fn rows_become_positional_or_named_values() {
        let bound = |name: &str| {
            let parameters = Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, true)]));
            let batch = RecordBatch::try_from_iter([("0", column(Int32Array::from(vec![7, 8])))]).unwrap();
            Rows::bound(bind(&parameters, &batch).unwrap())
        };
        assert_eq!(bound("$1").len(), 2);
        let Params::Positional(values) = bound("$1").params(1).unwrap() else { panic!("not positional") };
        assert_eq!(values, vec![ScalarValue::Int64(Some(8))]);
        let Params::Named(values) = bound("$from").params(0).unwrap() else { panic!("not named") };
        assert_eq!(values.get("from"), Some(&ScalarValue::Int64(Some(7))));
    }

    #[test]
    fn a_wrong_number_of_parameters_is_said() {
        let parameters = Arc::new(Schema::new(vec![Field::new("$1", DataType::Int64, true)]));
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let refused = bind(&parameters, &batch).unwrap_err();
        assert_eq!(refused.message(), "this statement has 1 parameters, 0 were bound");
    }
}
