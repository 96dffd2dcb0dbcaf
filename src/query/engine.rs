//! `Engine::execute(Request) -> Answer`, used by every protocol.
use super::*;
use crate::base::{Clock, Tasks};
use crate::catalog::Catalog;
use crate::storage::{Lake, TableVersion};
use arrow::datatypes::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
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
    /// Types of named parameters, when the caller knows them better than the SQL (endpoints).
    pub declared: Vec<arrow::datatypes::FieldRef>,
    pub session: Arc<Session>,
    pub cancel: CancellationToken,
    pub progress: Option<Arc<dyn Progress>>,
}
impl Request {
    pub fn new(sql: impl Into<String>, session: &Arc<Session>) -> Self {
        Self {
            sql: sql.into(),
            params: Params::None,
            declared: Vec::new(),
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
/// A running query and the table versions it reads.
pub struct PinnedQuery {
    pub schema: SchemaRef,
    pub stream: SendableRecordBatchStream,
    /// Every table read, directly or through views: relation name and version, sorted by name.
    pub sources: Vec<(String, TableVersion)>,
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
    /// Memory pool, spill folder and object stores for work outside statements (ingest, materialize).
    pub fn task_context(&self) -> Arc<TaskContext> {
        todo!()
    }
    /// Opens `sql` (one query) over tables pinned at their newest versions, for work that must know what it read.
    /// Runs inside the caller's statement: takes no admission slot and is not listed in `system.queries`.
    pub async fn open_query(&self, _sql: &str, _cancel: CancellationToken) -> Result<PinnedQuery, QueryError> {
        todo!()
    }
    /// Columns of a table, view or materialized view, as `SELECT *` answers them.
    pub async fn relation_schema(&self, _name: &str) -> Result<SchemaRef, QueryError> {
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
