//! `INSERT INTO t (a, b) VALUES (?, ?)` with many bound rows: one append and one commit, not one per row.
//!
//! JDBC `executeBatch` and ADBC `executemany` send such statements with thousands of rows. Only a tuple made of parameters
//! alone is recognised; anything else runs once per row through the engine.

use super::error::{internal, invalid, status};
use super::parameters::{Loss, lossless_cast};
use super::service::Service;
use crate::base::{Classify, Kind, suggestion};
use crate::catalog::{Catalog, Definition, Object, Statement, parse_statement};
use crate::ingest::{AppendReport, IngestError};
use crate::query::Session;
use crate::server::audit::Noted;
use crate::server::gate::Caller;
use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Where bound rows go: for each column of the table, the bound column it takes, if any.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BatchInsert {
    pub table: String,
    pub columns: SchemaRef,
    /// Index into the bound columns, per table column.
    pub sources: Vec<Option<usize>>,
}

/// Recognises an insert of parameters alone.
pub(super) fn recognise(sql: &str, catalog: &Catalog) -> Result<Option<BatchInsert>, Status> {
    let Ok(Statement::Insert { table, columns, source }) = parse_statement(sql) else { return Ok(None) };
    let Some(order) = parameter_tuple(&source) else { return Ok(None) };
    let Ok(schema) = table_columns(catalog, &table) else { return Ok(None) };
    let named: Vec<String> = match columns.is_empty() {
        true => schema.fields().iter().map(|field| field.name().clone()).collect(),
        false => columns,
    };
    if named.len() != order.len() {
        let message = format!("{} columns of '{table}' are named, {} values are given", named.len(), order.len());
        return Err(invalid(message));
    }
    place(table, schema, &named, &order).map(Some)
}

/// Finds the source of every column of the table; refuses names the table does not have.
pub(super) fn place(
    table: String,
    columns: SchemaRef,
    named: &[String],
    order: &[usize],
) -> Result<BatchInsert, Status> {
    let known = || columns.fields().iter().map(|field| field.name().as_str());
    for (position, name) in named.iter().enumerate() {
        if columns.index_of(name).is_err() {
            let message = format!("table '{table}' has no column '{name}'{}", suggestion(name, known()));
            return Err(status(Kind::InvalidArgument, message));
        }
        if named[..position].contains(name) {
            return Err(invalid(format!("column '{name}' is named twice")));
        }
    }
    let source = |name: &str| named.iter().position(|named| named == name).and_then(|at| order.get(at).copied());
    let sources = columns.fields().iter().map(|field| source(field.name())).collect();
    Ok(BatchInsert { table, columns, sources })
}

/// The columns of a table users may insert into.
pub(super) fn table_columns(catalog: &Catalog, table: &str) -> Result<SchemaRef, Status> {
    let snapshot = catalog.snapshot();
    columns_of(snapshot.relation(table).map_err(|error| super::error::classified(&error))?)
}

/// The columns of an object that is a table.
pub(super) fn columns_of(object: &Object) -> Result<SchemaRef, Status> {
    match &object.definition {
        Definition::Table(definition) => Ok(definition.columns.clone()),
        Definition::View(_) | Definition::MaterializedView(_) | Definition::Endpoint(_) => {
            let message = format!("'{}' is a {}, rows go into tables", object.name, object.kind);
            Err(status(Kind::FailedPrecondition, message))
        }
    }
}

/// The parameters of `VALUES (?, ?)` or `VALUES ($2, $1)`, in the order they stand, 0-based.
fn parameter_tuple(source: &str) -> Option<Vec<usize>> {
    let text = source.trim().trim_end_matches(';').trim_end();
    let (word, rest) = (text.get(..6)?, text.get(6..)?);
    if !word.eq_ignore_ascii_case("values") {
        return None;
    }
    let inside = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
    let number = |(position, item): (usize, &str)| match item.trim() {
        "?" => Some(position),
        item => item.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1),
    };
    let order = inside.split(',').enumerate().map(number).collect::<Option<Vec<_>>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    sorted.iter().enumerate().all(|(position, index)| position == *index).then_some(order)
}

impl BatchInsert {
    /// Bound rows as rows of the table: missing columns are null, no value changes by its cast.
    fn rows(&self, bound: &RecordBatch, first_row: usize) -> Result<RecordBatch, Status> {
        let wanted = self.sources.iter().flatten().count();
        if bound.num_columns() != wanted {
            return Err(invalid(format!("{wanted} columns are expected, {} came", bound.num_columns())));
        }
        let mut columns = Vec::with_capacity(self.sources.len());
        for (field, source) in self.columns.fields().iter().zip(&self.sources) {
            let Some(source) = source else {
                columns.push(new_null_array(field.data_type(), bound.num_rows()));
                continue;
            };
            let cast = lossless_cast(bound.column(*source), field.data_type()).map_err(|loss| {
                let reason = match loss {
                    Loss::Changed => format!("a value does not fit {} unchanged", field.data_type()),
                    Loss::Impossible(reason) => reason,
                };
                let last_row = first_row + bound.num_rows();
                invalid(format!("column '{}', rows {} to {last_row}: {reason}", field.name(), first_row + 1))
            })?;
            columns.push(cast);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(bound.num_rows()));
        let schema = nullable(&self.columns);
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| invalid(error.to_string()))
    }
}

/// Whether a null is allowed is ingest's to say, with the row and the reason.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
}

impl Service {
    /// # Errors
    /// The caller may not put rows into the table.
    pub(super) fn check_insert(&self, session: &Session, table: &str) -> Result<(), Status> {
        let checked = self.gate().check_insert(&Caller(session.caller.clone()), table, &self.catalog().snapshot());
        checked.map_err(|fault| {
            self.noted(session, table).ended(Err(fault.kind));
            fault.into_status()
        })
    }

    /// A request of the session's caller to put rows into a table.
    pub(super) fn noted(&self, session: &Session, table: &str) -> Noted {
        let noted = Noted::begin(self.gate(), &Caller(session.caller.clone()), session.address, "flight_sql");
        noted.about(table);
        noted
    }

    /// Appends all rows in one commit; returns how many the table gained. Whether they may be put there has been asked. Rejected
    /// rows refuse nothing: they are in the rejects table with their reason, as with `INSERT`.
    pub(super) async fn append(
        &self,
        insert: &BatchInsert,
        session: &Session,
        batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static,
    ) -> Result<i64, Status> {
        let (ingestor, table, task) = (self.ingestor().clone(), insert.table.clone(), self.engine().task_context());
        let append = move |rows, cancel| async move { ingestor.append_stream(&table, rows, task, cancel).await };
        self.to_end(insert, self.noted(session, &insert.table), batches, append).await
    }

    /// The same into a table that no name leads to yet: whoever may make it may.
    pub(super) async fn fill(
        &self,
        insert: &BatchInsert,
        table: Arc<Object>,
        session: &Session,
        batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static,
    ) -> Result<i64, Status> {
        let (ingestor, task) = (self.ingestor().clone(), self.engine().task_context());
        let fill = move |rows, cancel| async move { ingestor.fill(&table, rows, task, cancel).await };
        self.to_end(insert, self.noted(session, &insert.table), batches, fill).await
    }

    /// Hands the rows, as those of the table, to `append` and waits for its end.
    async fn to_end<F, R>(
        &self,
        insert: &BatchInsert,
        noted: Noted,
        batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static,
        append: F,
    ) -> Result<i64, Status>
    where
        F: FnOnce(SendableRecordBatchStream, CancellationToken) -> R + Send + 'static,
        R: Future<Output = Result<AppendReport, IngestError>> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let left = cancel.clone().drop_guard();
        let target = insert.clone();
        let schema = nullable(&target.columns);
        let mut rows_before = 0;
        let rows = batches.map(move |batch| {
            let converted = batch.and_then(|batch| {
                let first_row = rows_before;
                rows_before += batch.num_rows();
                target.rows(&batch, first_row)
            });
            converted.map_err(|status| DataFusionError::External(Box::new(status)))
        });
        let rows: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(schema, rows));
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // In a task of its own: a client that leaves stops it by the token, not in the middle of a commit.
        self.tasks().spawn("flight append", async move {
            let report = append(rows, cancel).await;
            noted.ended(report.as_ref().map(|report| report.accepted).map_err(Classify::kind));
            drop(sender.send(report.map(|report| accepted(&report)).map_err(|error| ingest_status(&error))));
        });
        let appended = receiver.await.map_err(|_| internal("the append died; its effect is unknown"))?;
        left.disarm();
        appended
    }
}

fn accepted(report: &AppendReport) -> i64 {
    i64::try_from(report.accepted).unwrap_or(i64::MAX)
}

/// An error of the rows themselves comes back through ingest as a cause; it is shown as it was.
fn ingest_status(error: &IngestError) -> Status {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(status) = inner.downcast_ref::<Status>() {
            return status.clone();
        }
        cause = inner.source();
    }
    super::error::classified(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    #[test]
    fn only_tuples_of_parameters_are_recognised() {
        assert_eq!(parameter_tuple("VALUES (?, ?)"), Some(vec![0, 1]));
        assert_eq!(parameter_tuple("values ( $2 , $1 );"), Some(vec![1, 0]));
        for other in ["VALUES (?, 1)", "VALUES (?), (?)", "SELECT ?", "VALUES ($1, $1)", "VALUES (lower(?))", ""] {
            assert_eq!(parameter_tuple(other), None, "{other}");
        }
    }

    fn columns() -> SchemaRef {
        let fields = [("id", DataType::Int64), ("name", DataType::Utf8), ("note", DataType::Utf8)];
        Arc::new(Schema::new(fields.map(|(name, kind)| Field::new(name, kind, false)).to_vec()))
    }

    #[test]
    fn bound_rows_take_the_order_and_types_of_the_table() {
        let named = ["name".to_owned(), "id".to_owned()];
        let insert = place("t".to_owned(), columns(), &named, &[0, 1]).unwrap();
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let bound = RecordBatch::try_from_iter([("0", names), ("1", ids)]).unwrap();
        let rows = insert.rows(&bound, 0).unwrap();
        assert_eq!(rows.column(0).data_type(), &DataType::Int64);
        assert_eq!(rows.column(2).null_count(), 1);
    }

    #[test]
    fn values_that_would_change_and_unknown_columns_are_refused() {
        let insert = place("t".to_owned(), columns(), &["id".to_owned()], &[0]).unwrap();
        let half: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
        let refused = insert.rows(&RecordBatch::try_from_iter([("0", half)]).unwrap(), 10).unwrap_err();
        assert_eq!(refused.message(), "column 'id', rows 11 to 11: a value does not fit Int64 unchanged");
        let unknown = place("t".to_owned(), columns(), &["nam".to_owned()], &[0]).unwrap_err();
        assert_eq!(unknown.message(), "table 't' has no column 'nam'; did you mean 'name'?");
    }
}
