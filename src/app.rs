//! Composition root: config → running parts.
use crate::base::{Clock, Tasks};
use crate::catalog::Catalog;
use crate::config::Loaded;
use crate::ingest::Ingestor;
use crate::query::Engine;
use crate::storage::Lake;
use std::sync::Arc;
/// The parts of one process over one lake; the REPL uses it embedded, `serve` adds the protocols.
#[derive(Clone)]
pub struct App {
    pub loaded: Arc<Loaded>,
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
    pub engine: Engine,
    pub ingestor: Ingestor,
    pub clock: Clock,
    pub tasks: Tasks,
}
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AppError {
    pub kind: crate::base::Kind,
    pub message: String,
}
/// Addresses actually bound (ports may be configured as 0).
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: std::net::SocketAddr,
    pub flight: std::net::SocketAddr,
}
/// A served app: stop it, or wait for it.
pub struct Running {
    pub app: App,
    pub addresses: Addresses,
}
impl App {
    /// Opens the lake and starts the engine.
    pub async fn open(_loaded: Loaded, _clock: Clock) -> Result<App, AppError> {
        todo!()
    }
    /// Applies `lake.sql` if set, binds the ports and serves.
    pub async fn serve(self) -> Result<Running, AppError> {
        todo!()
    }
    /// Plan and apply of a folder of definitions.
    pub async fn apply_project(&self, _dir: &std::path::Path) -> Result<crate::catalog::Plan, AppError> {
        todo!()
    }
    /// Refuse, drain, flush, close.
    pub async fn stop(self) {
        todo!()
    }
}
