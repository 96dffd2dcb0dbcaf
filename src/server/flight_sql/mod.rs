//! Flight SQL: the protocol of ADBC, JDBC and ODBC clients, implemented on `FlightSqlService` directly.
//!
//! ```text
//! connection ─► edge (GetSchema …) ─► service ─┬─► statements (+ endpoints) ─► query::Engine ─► outgoing ─► direct ─► client
//!   session ◄──────────┘                       ├─► prepared (+ parameters, batch_insert)
//!                                              ├─► bulk, put ────► ingest::Ingestor
//!                                              ├─► metadata/
//!                                              └─► actions (cancel, session options)
//! ```
//!
//! What clients can rely on
//! - **Queries** are planned by `GetFlightInfo` and run by `DoGet`; the schema of both is the same (the ticket carries it).
//!   `GetSchema` plans and runs nothing. Large results without an order have several endpoints when asked for (`endpoints`).
//! - **Statements that change something** take effect in the call that names them, exactly once per call: in `GetFlightInfo`
//!   (ADBC `execute`) or in `DoPut` (ADBC `execute_update`, JDBC). `DoGet` of such a ticket only hands out the stored result,
//!   as often as asked. So an `execute` that is never fetched still took effect, and a fetch repeated changes nothing.
//! - **A dropped call cancels** its statement and frees its memory; `CancelFlightInfo` does the same from elsewhere.
//! - **Results stream**: a few messages per stream are in memory, never a result. Their batches are compressed when asked for.
//! - A method that is not implemented answers `UNIMPLEMENTED` with a sentence (`edge`, `service`).
//!
//! | Flight SQL | answered by |
//! |---|---|
//! | CommandStatementQuery, CommandStatementUpdate, GetSchema | `statements` |
//! | CreatePreparedStatement, ClosePreparedStatement, CommandPreparedStatementQuery/-Update | `prepared` |
//! | CommandStatementIngest (append, create, create_append, replace) | `bulk` |
//! | DoPut to a path `[table]` | `put` |
//! | CommandGetCatalogs, -DbSchemas, -Tables, -TableTypes, -SqlInfo, -XdbcTypeInfo, keys (empty sets) | `metadata` |
//! | Handshake, SetSessionOptions, GetSessionOptions, CloseSession | `session`, `actions` |
//! | PollFlightInfo | `polls` |
//! | CancelFlightInfo, CancelQuery | `actions` |
//! | transactions, savepoints, Substrait, ListFlights, DoExchange | `UNIMPLEMENTED` |
//!
//! Who calls is proved in front of every method (`guard`); `Handshake` gives a session token for a name and a password. With
//! authentication off it accepts every name.

mod actions;
mod batch_insert;
mod bulk;
mod columns;
mod connection;
mod direct;
mod edge;
mod encode;
mod endpoints;
mod error;
mod guard;
mod handshake;
mod kept;
mod metadata;
mod outgoing;
mod parameters;
mod polls;
mod prepared;
mod put;
mod running;
mod service;
mod session;
mod session_options;
mod statements;
mod ticket;
mod upload;

use super::tls::{Acceptor, Speaks};
use super::{FlightConfig, ServerConfig, Tls};
use crate::base::{Clock, Tasks};
use crate::catalog::Catalog;
use crate::ingest::Ingestor;
use crate::query::Engine;
use crate::server::error::too_large_call;
use crate::server::gate::Gate;
use arrow_flight::flight_service_server::FlightServiceServer;
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower::util::MapResponseLayer;

/// The one catalog all objects live in.
const CATALOG: &str = "adlake";
/// The schema of tables and views users define.
const PUBLIC: &str = "public";

/// Flow-control windows for what clients send (bulk ingest); what we send is bounded by the client's windows.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// What Flight SQL needs from the rest of the process.
#[derive(Clone)]
pub struct FlightParts {
    pub engine: Engine,
    pub gate: Gate,
    pub ingestor: Ingestor,
    pub catalog: Arc<Catalog>,
    pub server: ServerConfig,
    pub config: FlightConfig,
    pub clock: Clock,
    pub tasks: Tasks,
    /// `None` = plain text.
    pub tls: Option<Arc<Tls>>,
}

/// Serves Flight, and `others` beside it, until `tasks` stops: refuses new calls, finishes accepted ones, returns.
///
/// # Errors
/// When the gRPC transport cannot run on `listener`.
pub async fn serve(parts: FlightParts, others: Routes, listener: TcpListener) -> std::io::Result<()> {
    let stop = parts.tasks.stop_signal();
    let max_message = parts.config.max_message_size.as_usize();
    let limits = connection::Limits {
        connections_max: parts.config.max_connections,
        handshake_timeout: parts.config.handshake_timeout.duration(),
    };
    let (interval, timeout) = (parts.config.ping_interval.duration(), parts.config.ping_timeout.duration());
    let entrance = connection::Entrance { listener, acceptor: Acceptor::new(parts.tls.clone(), Speaks::Grpc) };
    let (gate, tasks) = (parts.gate.clone(), parts.tasks.clone());
    let service = service::Service::new(parts)?;
    let guard = guard::GuardLayer::new(gate, service.sessions().clone());
    let incoming = connection::accept(entrance, service.sessions().clone(), limits, &tasks);
    let server = FlightServiceServer::new(edge::Edge::new(service.clone()))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(max_message);
    let server = direct::Direct::new(server, service, max_message);
    tonic::transport::Server::builder()
        .layer(MapResponseLayer::new(too_large_call))
        .layer(guard)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // A client that vanished without closing is noticed by these, and its queries end.
        .http2_keepalive_interval(Some(interval))
        .http2_keepalive_timeout(Some(timeout))
        .add_routes(others.add_service(server))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
        .map_err(std::io::Error::other)
}
