//! Flight SQL.
use super::{FlightConfig, ServerConfig};
use crate::base::{Clock, Tasks};
use crate::catalog::Catalog;
use crate::ingest::Ingestor;
use crate::query::Engine;
use std::sync::Arc;
use tokio::net::TcpListener;
#[derive(Clone)]
pub struct FlightParts {
    pub engine: Engine,
    pub ingestor: Ingestor,
    pub catalog: Arc<Catalog>,
    pub server: ServerConfig,
    pub config: FlightConfig,
    pub clock: Clock,
    pub tasks: Tasks,
}
/// Serves until `tasks` stops: refuses new calls, finishes accepted ones, returns.
pub async fn serve(_parts: FlightParts, _listener: TcpListener) -> std::io::Result<()> {
    todo!()
}
