//! gRPC ingest: the service `adlake.v1.Ingest` of `proto/adlake/v1/ingest.proto`, on the port of Flight SQL.
//!
//! ```text
//! request bytes (codec) ─► appends: room, turn ─► decode: rows → columns, off the I/O threads ─► Ingestor::append ─► reply
//! ```
//! One port serves all gRPC services, so a client needs one address: `app` hands [`routes`] to the Flight server.
//!
//! This is the one place of `server` that names columns of the ad business: typed messages have to (`shapes`); they are matched
//! to a table's columns by name like any other rows. Not here: limits and order (`appends`), what rows mean (`ingest`).

// Named by the generated code, and `decode` by tests/fuzz.
pub mod codec;
pub mod decode;
pub mod rows;
pub mod shapes;

mod service;

/// The messages of the proto; lists of typed rows are [`rows::Rows`].
#[allow(clippy::all, clippy::allow_attributes_without_reason, clippy::too_many_lines, reason = "generated")]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages/adlake.v1.rs"));
}

/// The service's trait and server.
#[allow(clippy::all, clippy::allow_attributes_without_reason, clippy::too_many_lines, reason = "generated")]
mod service_trait {
    include!(concat!(env!("OUT_DIR"), "/service/adlake.v1.rs"));
}

use std::sync::Arc;

use tonic::service::Routes;

use super::appends::Appends;
use super::gate::Gate;
use super::{FlightConfig, ServerConfig};
use crate::base::Tasks;
use crate::catalog::Catalog;
use crate::ingest::Ingestor;
use service_trait::ingest_server::IngestServer;

/// What gRPC ingest needs from the rest of the process.
pub struct GrpcParts {
    pub gate: Gate,
    pub catalog: Arc<Catalog>,
    pub ingestor: Ingestor,
    pub server: ServerConfig,
    pub config: FlightConfig,
    pub tasks: Tasks,
}

/// The service, for a gRPC server to serve.
pub fn routes(parts: GrpcParts) -> Routes {
    let GrpcParts { gate, catalog, ingestor, server, config, tasks } = parts;
    let max_message = config.max_message_size.as_usize();
    let appends = Appends::new(ingestor, tasks, &server, "grpc");
    let service = service::Service::new(appends, max_message, (gate, catalog));
    let server =
        IngestServer::new(service).max_decoding_message_size(max_message).max_encoding_message_size(max_message);
    Routes::new(server)
}
