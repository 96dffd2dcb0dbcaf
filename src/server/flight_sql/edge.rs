//! The Flight service itself: what `FlightSqlService` does not let one implement (`GetSchema`, `ListFlights`, `PollFlightInfo`),
//! and `ListActions`, which it fills with what is refused here, are answered here; all else is passed on.

use super::actions;
use super::error::{internal, invalid, unimplemented};
use super::polls::{self, LONGEST_WAIT};
use super::service::Service;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, IpcMessage, PollInfo,
    SchemaAsIpc, SchemaResult, Ticket,
};
use prost::Message;
use std::sync::Arc;
use tonic::{Code, Request, Response, Status, Streaming};

/// [`Service`] with the remaining Flight methods.
pub(super) struct Edge(Service);

impl Edge {
    pub fn new(service: Service) -> Self {
        Self(service)
    }

    /// The schema a descriptor's command answers with; nothing is run.
    async fn schema_of(&self, request: Request<FlightDescriptor>) -> Result<Vec<u8>, Status> {
        let session = self.0.sessions().of(&request)?;
        let message = Any::decode(request.get_ref().cmd.clone())
            .map_err(|_| invalid("the descriptor's command is not a protobuf Any"))?;
        let command = Command::try_from(message).map_err(|error| invalid(error.to_string()))?;
        let schema = match command {
            Command::CommandStatementQuery(query) => self.0.statement_schema(&query.query, &session).await?,
            Command::CommandPreparedStatementQuery(query) => {
                let statement = self.0.prepared().get(&query.prepared_statement_handle, &session.caller)?;
                self.0.prepared_schema(&statement, &session).await?
            }
            _ => {
                let info = FlightService::get_flight_info(&self.0, request).await.map_err(blamed)?.into_inner();
                let schema = info.try_decode_schema().map_err(|error| internal(error.to_string()))?;
                Arc::new(schema)
            }
        };
        let options = arrow::ipc::writer::IpcWriteOptions::default();
        let IpcMessage(bytes) = SchemaAsIpc::new(&schema, &options)
            .try_into()
            .map_err(|error: arrow::error::ArrowError| internal(format!("cannot encode a schema: {error}")))?;
        Ok(bytes.to_vec())
    }
}

/// What arrow-flight says of a message that it cannot read, which it takes for a fault of its own.
fn blamed(status: Status) -> Status {
    match status.code() == Code::Internal && status.message().starts_with("ParseError(") {
        true => invalid(format!("the message cannot be read as what it says it is: {}", status.message())),
        false => status,
    }
}

#[tonic::async_trait]
impl FlightService for Edge {
    type HandshakeStream = <Service as FlightService>::HandshakeStream;
    type ListFlightsStream = <Service as FlightService>::ListFlightsStream;
    type DoGetStream = <Service as FlightService>::DoGetStream;
    type DoPutStream = <Service as FlightService>::DoPutStream;
    type DoActionStream = <Service as FlightService>::DoActionStream;
    type ListActionsStream = <Service as FlightService>::ListActionsStream;
    type DoExchangeStream = <Service as FlightService>::DoExchangeStream;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        self.0.handshake(request).await
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(unimplemented("there are no flights to list; ask for tables by CommandGetTables, for rows by SQL"))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        self.0.get_flight_info(request).await.map_err(blamed)
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let caller = self.0.sessions().of(&request)?.caller.clone();
        if let Some(id) = polls::id_of(request.get_ref()) {
            return self.0.polls().ask(id, &caller, LONGEST_WAIT).await.map(Response::new);
        }
        let service = self.0.clone();
        let work = async move {
            FlightService::get_flight_info(&service, request).await.map(Response::into_inner).map_err(blamed)
        };
        self.0.polls().begin(&caller, work, self.0.tasks()).await.map(Response::new)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let schema = self.schema_of(request).await?.into();
        Ok(Response::new(SchemaResult { schema }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        self.0.do_get(request).await.map_err(blamed)
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        self.0.do_put(request).await.map_err(blamed)
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.0.do_exchange(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        self.0.do_action(request).await.map_err(blamed)
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(Box::pin(futures::stream::iter(actions::listed()))))
    }
}
