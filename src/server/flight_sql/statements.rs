//! Statements: planned by `GetFlightInfo`, run by `DoGet`; what changes something runs in the call that names it.
//!
//! Why `GetFlightInfo` runs DDL and INSERT: ADBC's `execute` calls `GetFlightInfo` and starts `DoGet` in the background, where
//! the next `execute` on the cursor cancels it; other clients never fetch what has no rows. Running there is the one place
//! where an `execute` takes effect before it returns, reports its error, and happens once. The ticket then holds the result.

use super::columns::result_schema;
use super::encode;
use super::error::{cancelled, classified, internal, invalid};
use super::outgoing::{Outgoing, Parts};
use super::parameters::Rows;
use super::service::Service;
use super::ticket::{StatementTicket, from_ipc, to_ipc};
use crate::query::{
    Answer, IPC_COMPRESSION, IpcCompression, Outcome, Params, Prepared, Request, ResultEndpoints, Session,
    StatementKind,
};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// Largest list of what a statement did (COPY: one row per file); it travels in the ticket.
const STORED_BYTES_MAX: usize = 1 << 20;
/// Largest set of parameters bound to a query; it travels in the ticket.
pub(super) const BOUND_BYTES_MAX: usize = 1 << 20;

/// A query to be run by `DoGet`.
pub(super) struct Planned<'a> {
    pub sql: &'a str,
    pub schema: &'a SchemaRef,
    /// Arrow IPC stream, as in a ticket.
    pub parameters: Bytes,
    /// Whether several endpoints may give out its rows.
    pub is_divisible: bool,
}

/// What a statement that changes something did.
pub(super) struct Finished {
    /// Rows affected; `None` where that means nothing (DDL).
    pub rows: Option<u64>,
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    /// As in the first message of a query's rows.
    pub app_metadata: Bytes,
}

impl Service {
    /// `GetFlightInfo` of a statement's text.
    pub(super) async fn plan_statement(
        &self,
        sql: &str,
        session: &Arc<Session>,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let prepared = self.plan(sql, &Params::None, session).await?;
        match prepared.kind {
            StatementKind::Query => {
                let (schema, is_divisible) = (result_schema(&prepared.schema), prepared.is_divisible);
                let planned = Planned { sql, schema: &schema, parameters: Bytes::new(), is_divisible };
                self.query_info(planned, session, descriptor)
            }
            StatementKind::Update | StatementKind::Command => {
                let finished = self.run_to_end(sql, Params::None, session).await?;
                finished_info(&finished, descriptor)
            }
        }
    }

    /// The `FlightInfo` of a query: one endpoint, or as many as the session wants of a result that can be divided.
    pub(super) fn query_info(
        &self,
        planned: Planned<'_>,
        session: &Arc<Session>,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let Planned { sql, schema, parameters, is_divisible } = planned;
        let (id, result) = (uuid::Uuid::new_v4().to_string(), to_ipc(schema, &[])?);
        let ticket = StatementTicket { id, sql: sql.to_owned(), result, parameters, endpoint: None };
        let wanted = match is_divisible {
            true => ResultEndpoints::of(session),
            false => ResultEndpoints::default(),
        };
        info(schema, &self.endpoints().divide(ticket, wanted, session, self.running()), descriptor)
    }

    /// What can be known of a statement before it runs.
    pub(super) async fn plan(&self, sql: &str, params: &Params, session: &Arc<Session>) -> Result<Prepared, Status> {
        self.engine().plan(sql, params, session).await.map_err(|error| classified(&error))
    }

    /// `GetSchema` of a statement: plans, never runs.
    pub(super) async fn statement_schema(&self, sql: &str, session: &Arc<Session>) -> Result<SchemaRef, Status> {
        let prepared = self.plan(sql, &Params::None, session).await?;
        Ok(match prepared.kind {
            StatementKind::Query => result_schema(&prepared.schema),
            StatementKind::Update | StatementKind::Command => Arc::new(Schema::empty()),
        })
    }

    /// `DoGet` of a statement's ticket.
    pub(super) async fn fetch(
        &self,
        ticket: StatementTicket,
        session: &Arc<Session>,
        compression: IpcCompression,
    ) -> Result<Parts, Status> {
        if let Some(endpoint) = ticket.endpoint {
            return self.fetch_endpoint((&ticket.id, endpoint), session, compression).await;
        }
        let (schema, stored) = from_ipc(&ticket.result)?;
        if ticket.sql.is_empty() {
            return encode::parts(schema, &stored).map(Parts::ready);
        }
        let rows = Rows::of_ticket(&ticket.parameters)?;
        let run = self.running().start(&ticket.id).ok_or_else(cancelled)?;
        let mut answers = Vec::with_capacity(rows.len());
        let first = self.query(&ticket.sql, rows.params(0)?, session, &run.cancel).await?;
        let app_metadata = described(&first);
        answers.push(rows_of(first)?);
        let rest = self.rest_of(ticket.sql, rows, session.clone(), run.cancel.clone());
        let stream = futures::stream::iter(answers.into_iter().map(Ok)).chain(rest).try_flatten();
        let rows: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), stream));
        Ok(Parts::stream(Outgoing { schema, app_metadata, rows, compression, run }, self.tasks()))
    }

    /// The query once more for every further row of parameters, one after the other, as the client reads.
    fn rest_of(
        &self,
        sql: String,
        rows: Rows,
        session: Arc<Session>,
        cancel: CancellationToken,
    ) -> impl futures::Stream<Item = datafusion::error::Result<SendableRecordBatchStream>> + Send + use<> {
        let service = self.clone();
        let rows = Arc::new(rows);
        futures::stream::iter(1..rows.len()).then(move |index| {
            let (service, rows, sql) = (service.clone(), rows.clone(), sql.clone());
            let (session, cancel) = (session.clone(), cancel.clone());
            async move {
                let run = async {
                    let answer = service.query(&sql, rows.params(index)?, &session, &cancel).await?;
                    rows_of(answer)
                };
                run.await.map_err(|status: Status| datafusion::error::DataFusionError::External(status.into()))
            }
        })
    }

    pub(super) async fn query(
        &self,
        sql: &str,
        params: Params,
        session: &Arc<Session>,
        cancel: &CancellationToken,
    ) -> Result<Answer, Status> {
        let request = Request { params, cancel: cancel.clone(), ..Request::new(sql, session) };
        self.engine().execute(request).await.map_err(|error| classified(&error))
    }

    /// Runs a statement that changes something. When the client leaves, the statement is told to stop but not torn down
    /// in the middle of a commit.
    pub(super) async fn run_to_end(
        &self,
        sql: &str,
        params: Params,
        session: &Arc<Session>,
    ) -> Result<Finished, Status> {
        let cancel = CancellationToken::new();
        let left = cancel.clone().drop_guard();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (service, session, sql) = (self.clone(), session.clone(), sql.to_owned());
        self.tasks().spawn("flight statement", async move {
            let run = async {
                let answer = service.query(&sql, params, &session, &cancel).await?;
                finish(answer)
            };
            drop(sender.send(run.await));
        });
        let finished = receiver.await.map_err(|_| internal("the statement died; its effect is unknown"))?;
        left.disarm();
        finished
    }

    /// The row count of an update (`DoPut`); refuses queries.
    pub(super) async fn update(&self, sql: &str, session: &Arc<Session>) -> Result<i64, Status> {
        let prepared = self.plan(sql, &Params::None, session).await?;
        if prepared.kind == StatementKind::Query {
            return Err(invalid("this statement returns rows; run it as a query, not as an update"));
        }
        Ok(record_count(self.run_to_end(sql, Params::None, session).await?.rows))
    }
}

/// How the call wants its batches compressed: by its header `adlake.ipc_compression`, else as its session has set.
///
/// # Errors
/// `INVALID_ARGUMENT`: a header of another word.
pub(super) fn compression_of(metadata: &MetadataMap, session: &Session) -> Result<IpcCompression, Status> {
    let Some(given) = metadata.get(IPC_COMPRESSION) else { return Ok(IpcCompression::of(session)) };
    let text = given.to_str().map_err(|_| invalid(format!("{IPC_COMPRESSION} is not plain text")))?;
    IpcCompression::read(text).map_err(|error| classified(&error))
}

/// A row count on the wire. DDL affects no rows: 0, as JDBC wants of `executeUpdate`.
pub(super) fn record_count(rows: Option<u64>) -> i64 {
    rows.map_or(0, |rows| i64::try_from(rows).unwrap_or(i64::MAX))
}

/// The `FlightInfo` of something already done. `total_records` tells the rows affected (DB-API's `rowcount`).
pub(super) fn finished_info(finished: &Finished, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let result = to_ipc(&finished.schema, &finished.batches)?;
    let id = uuid::Uuid::new_v4().to_string();
    let ticket = StatementTicket { id, result, ..StatementTicket::default() };
    let affected = finished.rows.map_or(-1, |rows| i64::try_from(rows).unwrap_or(i64::MAX));
    let info = info(&finished.schema, &[ticket], descriptor)?.with_total_records(affected);
    Ok(info.with_app_metadata(finished.app_metadata.clone()))
}

/// An endpoint for each ticket.
fn info(schema: &SchemaRef, tickets: &[StatementTicket], descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    // No location: "fetch it through this connection".
    let endpoint = |ticket: &StatementTicket| FlightEndpoint::new().with_ticket(Ticket::new(ticket.encode()));
    let info = FlightInfo::new().with_descriptor(descriptor).with_endpoints(tickets.iter().map(endpoint).collect());
    info.try_with_schema(schema).map_err(|error| internal(format!("cannot encode a schema: {error}")))
}

/// What the first message of a result says beside the schema.
pub(super) fn described(answer: &Answer) -> Bytes {
    let text = serde_json::json!({
        "query_id": answer.query_id.to_string(),
        "data_as_of": answer.data_as_of.to_string(),
    });
    text.to_string().into()
}

pub(super) fn rows_of(answer: Answer) -> Result<SendableRecordBatchStream, Status> {
    match answer.outcome {
        Outcome::Rows(rows) => Ok(rows),
        Outcome::Done { .. } => Err(internal("a query gave no rows")),
    }
}

/// What a statement that changes something has to show: its details (COPY: one row per file), or one row.
fn finish(answer: Answer) -> Result<Finished, Status> {
    let app_metadata = described(&answer);
    let Outcome::Done { rows, message } = answer.outcome else {
        return Err(internal("a statement that changes something gave rows"));
    };
    let finished = match answer.details {
        Some(details) => stored(rows, &details),
        None => summary(rows, message),
    }?;
    Ok(Finished { app_metadata, ..finished })
}

fn stored(rows: Option<u64>, details: &RecordBatch) -> Result<Finished, Status> {
    let schema = result_schema(&details.schema());
    let mut details = encode::to_wire(details, &schema).map_err(|error| internal(error.to_string()))?;
    while details.num_rows() > 1 && encode::bytes_of(&details) > STORED_BYTES_MAX {
        details = details.slice(0, details.num_rows() / 2);
        tracing::warn!(rows = details.num_rows(), "the list of what a statement did was cut");
    }
    Ok(Finished { rows, schema, batches: vec![details], app_metadata: Bytes::new() })
}

/// One row: rows affected (null for DDL) and a sentence.
fn summary(rows: Option<u64>, message: String) -> Result<Finished, Status> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("rows_affected", DataType::Int64, true),
        Field::new("message", DataType::Utf8, true),
    ]));
    let affected = Int64Array::from(vec![rows.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX))]);
    let columns: Vec<ArrayRef> = vec![Arc::new(affected), Arc::new(StringArray::from(vec![message]))];
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(|error| internal(error.to_string()))?;
    Ok(Finished { rows, schema, batches: vec![batch], app_metadata: Bytes::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_a_change_is_in_its_ticket() {
        let finished = summary(Some(3), "inserted 3 rows".to_owned()).unwrap();
        let info = finished_info(&finished, FlightDescriptor::default()).unwrap();
        assert_eq!(info.total_records, 3);
        let id = StatementTicket::id_of(&info);
        assert!(id.is_some_and(|id| !id.is_empty()));
    }
}
