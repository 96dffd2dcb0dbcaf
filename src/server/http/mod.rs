//! HTTP: `/v1/sql`, `/v1/tables/{table}/rows`, endpoints, health, metrics, OpenAPI.
use super::{HttpConfig, ServerConfig};
use crate::base::{Clock, Tasks};
use crate::catalog::Catalog;
use crate::ingest::Ingestor;
use crate::query::Engine;
use std::sync::Arc;
use tokio::net::TcpListener;
#[derive(Clone)]
pub struct HttpParts {
    pub engine: Engine,
    pub ingestor: Ingestor,
    pub catalog: Arc<Catalog>,
    pub server: ServerConfig,
    pub config: HttpConfig,
    pub clock: Clock,
    pub tasks: Tasks,
    /** `/readyz` asks this */
    pub ready: Arc<dyn Fn() -> futures::future::BoxFuture<'static, Result<(), String>> + Send + Sync>,
}
/// Serves until `tasks` stops: refuses new requests, answers accepted ones, returns.
pub async fn serve(_parts: HttpParts, _listener: TcpListener) -> std::io::Result<()> {
    todo!()
}
