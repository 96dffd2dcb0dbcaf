//! `Engine::execute(Request) -> Answer`, used by every protocol.
use super::*;
use crate::base::{Clock, Tasks};
use crate::catalog::Catalog;
use crate::storage::Lake;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub struct EngineParts {
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
    pub config: QueryConfig,
    /** for `system.settings`: key, value, where from */
    pub settings: Vec<(String, String, String)>,
    pub clock: Clock,
    pub tasks: Tasks,
}
/// Cheap to clone.
#[derive(Clone)]
pub struct Engine {}
pub struct Request {
    pub sql: String,
    pub params: Params,
    pub session: Arc<Session>,
    pub cancel: CancellationToken,
    pub progress: Option<Arc<dyn Progress>>,
}
impl Request {
    pub fn new(sql: impl Into<String>, session: &Arc<Session>) -> Self {
        Self {
            sql: sql.into(),
            params: Params::None,
            session: session.clone(),
            cancel: CancellationToken::new(),
            progress: None,
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /** gives rows */
    Query,
    /** INSERT, COPY */
    Update,
    /** CREATE, DROP, SET … */
    Command,
}
/// What can be known of a statement without running it.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub kind: StatementKind,
    /** of the answer */
    pub schema: SchemaRef,
    /** one field per parameter, inferred types */
    pub parameters: SchemaRef,
}
impl Engine {
    pub async fn start(_parts: EngineParts) -> Result<Engine, QueryError> {
        todo!()
    }
    /// Plugs in what lies above; called once by `app.rs`, before any statement.
    pub fn plug(&self, _commands: Arc<dyn Commands>) {
        todo!()
    }
    pub async fn prepare(&self, _sql: &str, _session: &Arc<Session>) -> Result<Prepared, QueryError> {
        todo!()
    }
    pub async fn execute(&self, _request: Request) -> Result<Answer, QueryError> {
        todo!()
    }
    /// Cancels a running statement; false when it is not running.
    pub fn cancel(&self, _query_id: &QueryId) -> bool {
        todo!()
    }
    /// Plans `create` changes against the catalog and applies all or none (CREATE statements, `adlake apply`).
    pub async fn apply(&self, _plan: crate::catalog::Plan) -> Result<(), QueryError> {
        todo!()
    }
}
