//! The methods of `FlightSqlService`: each decodes, calls the module that does the work, and encodes.

use super::FlightParts;
use super::encode::{self, DataStream};
use super::endpoints::Endpoints;
use super::error::{internal, invalid, unimplemented};
use super::metadata::{self, Table};
use super::polls::Polls;
use super::prepared::PreparedStatements;
use super::running::Running;
use super::session::Sessions;
use super::statements::compression_of;
use super::ticket::StatementTicket;
use super::upload;
use crate::base::Tasks;
use crate::catalog::Catalog;
use crate::ingest::Ingestor;
use crate::query::{Engine, Session};
use crate::server::appends::Appends;
use crate::server::gate::Gate;
use arrow::datatypes::SchemaRef;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::metadata::{SqlInfoData, XdbcTypeInfoData};
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::*;
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage,
    SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use futures::Stream;
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

type Info = Result<Response<FlightInfo>, Status>;
type Data = Result<Response<DataStream>, Status>;
pub(super) type HandshakeStream = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;

/// The Flight SQL service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Service(Arc<Shared>);

struct Shared {
    parts: FlightParts,
    sessions: Arc<Sessions>,
    prepared: PreparedStatements,
    polls: Polls,
    endpoints: Endpoints,
    running: Arc<Running>,
    appends: Appends,
    sql_info: SqlInfoData,
    type_info: XdbcTypeInfoData,
}

impl Service {
    pub fn new(parts: FlightParts) -> std::io::Result<Self> {
        let idle = parts.config.session_idle;
        let clock = parts.clock.clone();
        Ok(Self(Arc::new(Shared {
            sessions: Arc::new(Sessions::new(idle, clock.clone()).behind(&parts.gate)),
            prepared: PreparedStatements::new(parts.config.max_prepared, idle, clock.clone()),
            polls: Polls::new(idle, clock.clone()),
            endpoints: Endpoints::new(idle, clock),
            running: Arc::default(),
            appends: Appends::new(parts.ingestor.clone(), parts.tasks.clone(), &parts.server, "flight"),
            sql_info: metadata::sql_info(idle.duration()).map_err(std::io::Error::other)?,
            type_info: metadata::type_info().map_err(std::io::Error::other)?,
            parts,
        })))
    }

    pub fn engine(&self) -> &Engine {
        &self.0.parts.engine
    }

    pub fn gate(&self) -> &Gate {
        &self.0.parts.gate
    }

    pub fn ingestor(&self) -> &Ingestor {
        &self.0.parts.ingestor
    }

    pub fn catalog(&self) -> &Catalog {
        &self.0.parts.catalog
    }

    pub fn tasks(&self) -> &Tasks {
        &self.0.parts.tasks
    }

    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.0.sessions
    }

    pub fn prepared(&self) -> &PreparedStatements {
        &self.0.prepared
    }

    pub fn polls(&self) -> &Polls {
        &self.0.polls
    }

    pub fn endpoints(&self) -> &Endpoints {
        &self.0.endpoints
    }

    pub fn running(&self) -> &Arc<Running> {
        &self.0.running
    }

    pub fn appends(&self) -> &Appends {
        &self.0.appends
    }

    fn message_bytes_max(&self) -> usize {
        self.0.parts.config.max_message_size.as_usize()
    }

    fn session<T>(&self, request: &Request<T>) -> Result<Arc<Session>, Status> {
        self.0.sessions.of(request)
    }

    fn type_info(&self, command: CommandGetXdbcTypeInfo) -> Result<Table, Status> {
        let batch = command.into_builder(&self.0.type_info).build();
        let batch = batch.map_err(|error| internal(error.to_string()))?;
        Ok(Table { schema: batch.schema(), batch: Some(batch) })
    }
}

/// The `FlightInfo` of a metadata command: the command itself is the ticket.
fn command_info<C: ProstMessageExt>(command: &C, schema: &SchemaRef, request: Request<FlightDescriptor>) -> Info {
    let ticket = Ticket::new(command.as_any().encode_to_vec());
    let info = FlightInfo::new()
        .with_descriptor(request.into_inner())
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .try_with_schema(schema)
        .map_err(|error| internal(format!("cannot encode a schema: {error}")))?;
    Ok(Response::new(info))
}

fn table_data(table: Table) -> Data {
    encode::batches(table.schema, table.batch.as_slice()).map(Response::new)
}

fn empty(schema: SchemaRef) -> Table {
    Table { schema, batch: None }
}

fn schema_bytes(schema: &arrow::datatypes::Schema) -> Result<Bytes, Status> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &options).try_into();
    message.map(|IpcMessage(bytes)| bytes).map_err(|error| internal(format!("cannot encode a schema: {error}")))
}

fn no_transaction(id: Option<&Bytes>) -> Result<(), Status> {
    match id {
        Some(id) if !id.is_empty() => Err(transactions_unsupported()),
        _ => Ok(()),
    }
}

fn transactions_unsupported() -> Status {
    unimplemented("transactions are not supported; every statement is one commit by itself (autocommit)")
}

fn substrait_unsupported() -> Status {
    unimplemented("Substrait plans are not supported; send SQL")
}

/// The two methods of a metadata command whose answer is made without waiting.
macro_rules! metadata_command {
    ($info:ident, $data:ident, $command:ty, |$service:ident, $given:ident| $table:expr) => {
        fn $info<'life0, 'async_trait>(
            &'life0 self,
            $given: $command,
            request: Request<FlightDescriptor>,
        ) -> Pin<Box<dyn Future<Output = Info> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                let $service = self;
                let command = $given.clone();
                let table: Table = $table?;
                command_info(&command, &table.schema, request)
            })
        }

        fn $data<'life0, 'async_trait>(
            &'life0 self,
            $given: $command,
            _request: Request<Ticket>,
        ) -> Pin<Box<dyn Future<Output = Data> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                let $service = self;
                table_data($table?)
            })
        }
    };
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<HandshakeStream>, Status> {
        self.open_session(request).await
    }

    // statements

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        no_transaction(query.transaction_id.as_ref())?;
        let session = self.session(&request)?;
        let info = self.plan_statement(&query.query, &session, request.into_inner()).await?;
        Ok(Response::new(info))
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Data {
        let session = self.session(&request)?;
        let compression = compression_of(request.metadata(), &session)?;
        let data = self.fetch(StatementTicket::decode(&ticket)?, &session, compression).await?;
        Ok(Response::new(data.into_flight_data()))
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        no_transaction(command.transaction_id.as_ref())?;
        let session = self.session(&request)?;
        self.update(&command.query, &session).await
    }

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request)?;
        self.ingest(command, &session, upload::batches_with_schema(request.into_inner(), self.message_bytes_max()))
            .await
    }

    // prepared statements

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        no_transaction(query.transaction_id.as_ref())?;
        let session = self.session(&request)?;
        let handle = self.prepare(query.query, &session).await?;
        let statement = self.prepared().get(&handle, &session.caller)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle,
            dataset_schema: schema_bytes(&statement.dataset_schema())?,
            parameter_schema: schema_bytes(&statement.parameter_schema())?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        self.prepared().close(&query.prepared_statement_handle, &self.session(&request)?.caller);
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let caller = &self.session(&request)?.caller;
        let statement = self.prepared().get(&query.prepared_statement_handle, caller)?;
        self.bind_parameters(&statement, upload::batches(request.into_inner(), self.message_bytes_max())).await?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let session = self.session(&request)?;
        let statement = self.prepared().get(&query.prepared_statement_handle, &session.caller)?;
        let info = self.plan_prepared(&statement, &session, request.into_inner()).await?;
        Ok(Response::new(info))
    }

    async fn do_get_prepared_statement(&self, query: CommandPreparedStatementQuery, request: Request<Ticket>) -> Data {
        let session = self.session(&request)?;
        let statement = self.prepared().get(&query.prepared_statement_handle, &session.caller)?;
        let compression = compression_of(request.metadata(), &session)?;
        let data = self.fetch(self.ticket_of(&statement, &session).await?, &session, compression).await?;
        Ok(Response::new(data.into_flight_data()))
    }

    async fn do_put_prepared_statement_update(
        &self,
        query: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request)?;
        let statement = self.prepared().get(&query.prepared_statement_handle, &session.caller)?;
        self.update_prepared(&statement, &session, upload::batches(request.into_inner(), self.message_bytes_max()))
            .await
    }

    // metadata

    metadata_command!(get_flight_info_catalogs, do_get_catalogs, CommandGetCatalogs, |_service, command| {
        metadata::catalogs(command)
    });

    metadata_command!(get_flight_info_schemas, do_get_schemas, CommandGetDbSchemas, |_service, command| {
        metadata::schemas(command)
    });

    metadata_command!(get_flight_info_table_types, do_get_table_types, CommandGetTableTypes, |_service, command| {
        metadata::table_types(command)
    });

    metadata_command!(get_flight_info_sql_info, do_get_sql_info, CommandGetSqlInfo, |service, command| {
        metadata::sql_info_rows(&service.0.sql_info, command)
    });

    metadata_command!(
        get_flight_info_xdbc_type_info,
        do_get_xdbc_type_info,
        CommandGetXdbcTypeInfo,
        |service, command| { service.type_info(command) }
    );

    metadata_command!(
        get_flight_info_primary_keys,
        do_get_primary_keys,
        CommandGetPrimaryKeys,
        |_service, _command| { Ok::<_, Status>(empty(metadata::primary_keys_schema())) }
    );

    metadata_command!(
        get_flight_info_exported_keys,
        do_get_exported_keys,
        CommandGetExportedKeys,
        |_service, _command| { Ok::<_, Status>(empty(metadata::reference_keys_schema())) }
    );

    metadata_command!(
        get_flight_info_imported_keys,
        do_get_imported_keys,
        CommandGetImportedKeys,
        |_service, _command| { Ok::<_, Status>(empty(metadata::reference_keys_schema())) }
    );

    metadata_command!(
        get_flight_info_cross_reference,
        do_get_cross_reference,
        CommandGetCrossReference,
        |_service, _command| Ok::<_, Status>(empty(metadata::reference_keys_schema()))
    );

    async fn get_flight_info_tables(&self, query: CommandGetTables, request: Request<FlightDescriptor>) -> Info {
        let schema = query.clone().into_builder().schema();
        command_info(&query, &schema, request)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Data {
        let session = self.session(&request)?;
        table_data(self.tables(query, &session).await?)
    }

    // actions

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let info = FlightInfo::decode(query.info).map_err(|_| invalid("CancelQuery without a FlightInfo"))?;
        // The numbers of CancelResult are those of CancelStatus.
        let session = self.session(&request)?;
        let result = self.cancel(&info, &session)?;
        Ok(ActionCancelQueryResult { result: result.into() })
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        self.act(request).await
    }

    // not supported, in words

    async fn get_flight_info_substrait_plan(
        &self,
        _query: CommandStatementSubstraitPlan,
        _request: Request<FlightDescriptor>,
    ) -> Info {
        Err(substrait_unsupported())
    }

    async fn do_put_substrait_plan(
        &self,
        _query: CommandStatementSubstraitPlan,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(substrait_unsupported())
    }

    async fn do_action_create_prepared_substrait_plan(
        &self,
        _query: ActionCreatePreparedSubstraitPlanRequest,
        _request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        Err(substrait_unsupported())
    }

    async fn do_action_begin_transaction(
        &self,
        _query: ActionBeginTransactionRequest,
        _request: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        Err(transactions_unsupported())
    }

    async fn do_action_end_transaction(
        &self,
        _query: ActionEndTransactionRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Err(transactions_unsupported())
    }

    async fn do_action_begin_savepoint(
        &self,
        _query: ActionBeginSavepointRequest,
        _request: Request<Action>,
    ) -> Result<ActionBeginSavepointResult, Status> {
        Err(transactions_unsupported())
    }

    async fn do_action_end_savepoint(
        &self,
        _query: ActionEndSavepointRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Err(transactions_unsupported())
    }

    /// Anything that is no Flight SQL command: a table's path.
    async fn do_put_fallback(
        &self,
        request: Request<PeekableFlightDataStream>,
        _message: Any,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        self.put(request, self.message_bytes_max()).await
    }

    async fn do_put_error_callback(
        &self,
        _request: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(invalid(format!("DoPut must begin with a Flight SQL command or a table's path: {error}")))
    }

    async fn do_exchange_fallback(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Result<Response<<Self as FlightService>::DoExchangeStream>, Status> {
        Err(unimplemented("DoExchange is not supported; use DoPut to send rows and DoGet to read them"))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
