//! What a statement ticket holds. It is self-contained, and the server keeps nothing between `GetFlightInfo` and `DoGet`, unless it
//! is that of one endpoint of several (`endpoints`).

use super::error::{internal, invalid};
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightInfo;
use arrow_flight::sql::{Any, ProstMessageExt, TicketStatementQuery};
use bytes::Bytes;
use prost::Message;
use tonic::Status;

/// Version 1 of a statement ticket. The wire form is protobuf, so fields can be added.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StatementTicket {
    /// Names this run, for cancelling it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The query to run; empty when `result` holds what a statement already did.
    #[prost(string, tag = "2")]
    pub sql: String,
    /// Arrow IPC stream: the schema promised by `GetFlightInfo`, or the stored result.
    #[prost(bytes = "bytes", tag = "3")]
    pub result: Bytes,
    /// Arrow IPC stream of bound parameters, one row per run; empty = none.
    #[prost(bytes = "bytes", tag = "4")]
    pub parameters: Bytes,
    /// The endpoint, from 0, of a result that is known by `id`; then nothing else is said.
    #[prost(uint32, optional, tag = "5")]
    pub endpoint: Option<u32>,
}

/// Writes batches as an Arrow IPC stream.
pub(super) fn to_ipc(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Bytes, Status> {
    let write = || {
        let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
        for batch in batches {
            writer.write(batch)?;
        }
        writer.into_inner()
    };
    write().map(Bytes::from).map_err(|error| internal(format!("cannot encode Arrow data: {error}")))
}

/// Reads an Arrow IPC stream written by [`to_ipc`].
pub(super) fn from_ipc(bytes: &Bytes) -> Result<(SchemaRef, Vec<RecordBatch>), Status> {
    let read = || {
        let reader = StreamReader::try_new(bytes.as_ref(), None)?;
        let schema = reader.schema();
        Ok((schema, reader.collect::<Result<Vec<_>, _>>()?))
    };
    let damaged = |error: &dyn std::fmt::Display| invalid(format!("this ticket is damaged: {error}"));
    // Arrow's reader panics on some damaged metadata; nothing of it is used afterwards.
    match std::panic::catch_unwind(read) {
        Ok(result) => result.map_err(|error: arrow::error::ArrowError| damaged(&error)),
        Err(_panic) => Err(damaged(&"its metadata cannot be read")),
    }
}

impl StatementTicket {
    /// The bytes of the Flight ticket.
    pub fn encode(&self) -> Bytes {
        let ticket = TicketStatementQuery { statement_handle: self.encode_to_vec().into() };
        ticket.as_any().encode_to_vec().into()
    }

    /// The ticket inside a `TicketStatementQuery`.
    pub fn decode(ticket: &TicketStatementQuery) -> Result<Self, Status> {
        <Self as Message>::decode(ticket.statement_handle.clone())
            .map_err(|_| invalid("this ticket was not made by adlake; call GetFlightInfo first"))
    }

    /// The run a `FlightInfo` of ours belongs to, if it is one of a statement.
    pub fn id_of(info: &FlightInfo) -> Option<String> {
        let ticket = info.endpoint.first()?.ticket.as_ref()?;
        let any = Any::decode(ticket.ticket.clone()).ok()?;
        let statement: TicketStatementQuery = any.unpack().ok()??;
        Self::decode(&statement).ok().map(|ticket| ticket.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_flight::{FlightEndpoint, Ticket};

    #[test]
    fn a_flight_info_names_its_run() {
        let ticket = StatementTicket { id: "run-1".to_owned(), sql: "SELECT 1".to_owned(), ..Default::default() };
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket.encode()));
        let info = FlightInfo::new().with_endpoint(endpoint);
        assert_eq!(StatementTicket::id_of(&info), Some("run-1".to_owned()));
        assert_eq!(StatementTicket::id_of(&FlightInfo::new()), None);
    }
}
