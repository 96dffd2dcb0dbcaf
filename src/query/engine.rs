//! `Engine::execute(Request) -> Answer`, used by every protocol.
//!
//! ```text
//! Request ─► listed (system.queries) ─► parsed ─► statement/… ─► Answer: rows as a stream, or done
//! ```
//! Everything accepted here ends in one of five ways: rows read to the end, rows dropped by the caller, done, failed,
//! cancelled; in each its turn, memory and place in the list are given back.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use tokio_util::sync::CancellationToken;

use super::admission::Admission;
use super::audit;
use super::begin::Begun;
use super::ddl;
use super::memory::{self, Accounts};
use super::planner::ParameterTypes;
use super::running::{Guardian, Registry};
use super::runtime::Shared;
use super::statement::query::Threads;
use super::statement::{self, Work};
use super::system::Columns;
use super::verification::Verifier;
use super::viewer::Viewer;
use super::views::{Designs, PartitionAt, PartitionRun, pin_partitions, pin_run, view_called};
use super::{Answer, Commands, Params, PinnedQuery, Prepared, Progress, QueryConfig, QueryError, Session, SystemState};
use crate::auth::{Access, Authenticator, Reading};
use crate::base::{Clock, Sealed, Stopwatch, Tasks};
use crate::catalog::{Catalog, Create, Definition, Object, Plan};
use crate::rollup::{self, Decision, Design, Scan};
use crate::storage::Lake;

/// What an engine is made of.
pub struct EngineParts {
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
    pub config: QueryConfig,
    /// For `system.settings`: key, shown value, where from.
    pub settings: Vec<(String, String, String)>,
    pub clock: Clock,
    pub tasks: Tasks,
}

/// SQL in, Arrow out. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

pub(super) struct Inner {
    pub(super) lake: Lake,
    pub(super) catalog: Arc<Catalog>,
    pub(super) config: QueryConfig,
    pub(super) settings: Vec<(String, String, String)>,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) shared: Shared,
    pub(super) admission: Admission,
    pub(super) registry: Arc<Registry>,
    pub(super) accounts: Accounts,
    pub(super) columns: Columns,
    pub(super) designs: Designs,
    pub(super) verifier: Verifier,
    commands: OnceLock<Arc<dyn Commands>>,
    state: OnceLock<Arc<dyn SystemState>>,
    authenticator: Guardian,
}

/// One statement to run.
pub struct Request {
    pub sql: String,
    pub params: Params,
    /// Types of named parameters, when the caller knows them better than the SQL (endpoints).
    pub declared: Vec<FieldRef>,
    pub session: Arc<Session>,
    /// The endpoint whose query `sql` is: its tables are read by its maker's right, when the session may call it.
    pub endpoint: Option<String>,
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
            endpoint: None,
            cancel: CancellationToken::new(),
            progress: None,
        }
    }
}

impl Engine {
    /// Starts threads, memory pool and spill disk.
    ///
    /// # Errors
    /// A spill folder that cannot be made.
    pub async fn start(parts: EngineParts) -> Result<Engine, QueryError> {
        let EngineParts { lake, catalog, config, settings, clock, tasks } = parts;
        let shared = Shared::start(&config, &lake)?;
        let authenticator = Guardian::default();
        Ok(Engine(Arc::new(Inner {
            admission: Admission::new(&config),
            registry: Registry::new(config.history, config.slow_after, authenticator.clone()),
            accounts: Accounts::default(),
            columns: Columns::default(),
            designs: Designs::default(),
            verifier: Verifier::new(&lake, config.verify_concurrent),
            commands: OnceLock::new(),
            state: OnceLock::new(),
            authenticator,
            lake,
            catalog,
            config,
            settings,
            clock,
            tasks,
            shared,
        })))
    }

    /// Plugs in what lies above; called once by `app.rs`, before any statement. A second call changes nothing.
    pub fn plug(&self, commands: Arc<dyn Commands>) {
        if self.0.commands.set(commands).is_err() {
            tracing::error!("commands were plugged in twice; the first stay");
        }
    }

    /// Plugs in what system tables show of the layers above; called once by `app.rs`.
    pub fn plug_state(&self, state: Arc<dyn SystemState>) {
        if self.0.state.set(state).is_err() {
            tracing::error!("system state was plugged in twice; the first stays");
        }
    }

    /// Takes over users, roles and policies; called once by `app.rs`. Without it no session of a caller is served.
    pub fn guard_by(&self, authenticator: Arc<Authenticator>) {
        if self.0.authenticator.set(authenticator).is_err() {
            tracing::error!("users and roles were taken over twice; the first stay");
        }
    }

    /// What the session's caller may do now; none = everything (authentication is off, or the process itself asks).
    ///
    /// # Errors
    /// The user or token is no more.
    pub fn access(&self, session: &Session) -> Result<Option<Arc<Access>>, QueryError> {
        Ok(Viewer::of(&self.0, session, None)?.caller().cloned())
    }

    /// Kind, columns and parameters of a statement; runs nothing.
    ///
    /// # Errors
    /// As [`Engine::execute`], as far as planning goes.
    pub async fn prepare(&self, sql: &str, session: &Arc<Session>) -> Result<Prepared, QueryError> {
        self.prepare_typed(sql, Vec::new(), session).await
    }

    /// The same, for a client that says the types of `$1`, `$2`, … of a query, as far as it does.
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    pub async fn prepare_typed(
        &self,
        sql: &str,
        types: Vec<Option<FieldRef>>,
        session: &Arc<Session>,
    ) -> Result<Prepared, QueryError> {
        let prepared = self.prepared((sql, types), &Params::None, session).await;
        prepared.inspect_err(|error| audit::refused(&self.0, (session.as_ref(), None), sql, error))
    }

    /// The same of a statement that somebody sent to be run, with `params` where there are any: the columns of a query are those
    /// of such a run. A statement that fails here is in `system.queries`.
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    pub async fn plan(&self, sql: &str, params: &Params, session: &Arc<Session>) -> Result<Prepared, QueryError> {
        let begun = (self.0.clock.now(), Stopwatch::start());
        let planned = self.prepared((sql, Vec::new()), params, session).await;
        planned.inspect_err(|error| {
            audit::refused(&self.0, (session.as_ref(), None), sql, error);
            self.0.registry.refuse(sql, session, begun, error);
        })
    }

    async fn prepared(
        &self,
        (sql, types): (&str, ParameterTypes),
        params: &Params,
        session: &Session,
    ) -> Result<Prepared, QueryError> {
        self.0.check_size(sql)?;
        if self.0.tasks.is_stopping() {
            return Err(QueryError::Stopping);
        }
        let viewer = Viewer::of(&self.0, session, None)?;
        let limit = self.0.limit_of(session, viewer.allowance(&self.0));
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(limit.deadline) => Err(limit.error()),
            prepared = Box::pin(statement::prepare(&self.0, (sql, types), params, &viewer)) => prepared,
        }
    }

    /// Runs one statement. For rows, returns as soon as the plan runs; for changes, when they are durable.
    ///
    /// Dropping the returned future cancels the statement; a change that is past its commit stays.
    ///
    /// # Errors
    /// See [`QueryError`]; a failed change has changed nothing.
    pub async fn execute(&self, request: Request) -> Result<Answer, QueryError> {
        let engine = &self.0;
        let begun = engine.begin(&request);
        let Begun { viewer, allowance, watch, now } = begun.inspect_err(|error| {
            audit::refused(engine, (request.session.as_ref(), request.endpoint.as_deref()), &request.sql, error);
        })?;
        let Request { sql, params, declared, session, progress, endpoint: _, cancel: _ } = request;
        let whose = watch.run.caller.clone();
        let mut work = Work {
            engine: engine.clone(),
            limit: engine.limit_of(&session, allowance),
            cancel: watch.run.cancel.clone(),
            query_id: watch.run.id.clone(),
            task: memory::task_of(engine, &whose, allowance),
            whose,
            watch: Some(watch),
            session,
            viewer,
            allowance,
            params,
            declared,
            progress,
            now,
        };
        let outcome = Box::pin(statement::run(&mut work, &sql)).await;
        match (&outcome, work.watch.take()) {
            (Ok(_), Some(watch)) => watch.succeed(),
            (Err(error), Some(watch)) => watch.fail(error),
            (_, None) => {}
        }
        outcome
    }

    /// Memory pool, spill folder and object stores for work outside statements (ingest, materialize).
    pub fn task_context(&self) -> Arc<TaskContext> {
        self.0.shared.task()
    }

    /// Runs work that computes for long on the threads of the engine, apart from those that serve connections. Dropping
    /// the returned future stops the work.
    ///
    /// # Errors
    /// A panic in the work.
    pub async fn compute<T, F>(&self, work: F) -> Result<T, QueryError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.0.shared.cpu.spawn(work).await
    }

    /// Opens `sql` (one query) over tables pinned at their newest versions, for work that must know what it read.
    /// Runs inside the caller's statement: takes no turn, has no time limit of its own and is not in `system.queries`.
    ///
    /// # Errors
    /// As for a query.
    pub async fn open_query(&self, sql: &str, cancel: CancellationToken) -> Result<PinnedQuery, QueryError> {
        Box::pin(statement::query::open(&self.0, sql, cancel)).await
    }

    /// How the materialized view called `name` is kept, and why.
    ///
    /// # Errors
    /// `NotFound`; not a materialized view; a query that no longer works.
    pub fn view_decision(&self, name: &str) -> Result<Arc<Decision>, QueryError> {
        let catalog = self.0.catalog.snapshot();
        let object = catalog.relation(name)?;
        match &object.definition {
            Definition::MaterializedView(view) => self.0.designs.of(&self.0, &catalog, (name, view)),
            _ => {
                Err(QueryError::Invalid { message: format!("'{name}' is a {}, not a materialized view", object.kind) })
            }
        }
    }

    /// The partial aggregates of `rows`, as `design` stores them: of those that pass `within`. Runs inside the caller's work, as
    /// [`Engine::open_query`].
    ///
    /// # Errors
    /// As for a query.
    pub async fn open_partials(
        &self,
        design: Arc<Design>,
        (rows, within): (Arc<dyn TableProvider>, Option<Expr>),
        cancel: CancellationToken,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        let plan = move |functions: &rollup::Functions| {
            let base = Scan { table: design.question.source.as_str().into(), source: provider_as_source(rows) };
            rollup::partial_plan(&design, base, within, functions)
        };
        self.open_rollup(plan, cancel).await
    }

    /// As [`Engine::open_partials`], of those rows that pass `within`, by one thread: for work that is done in slices, some of
    /// them at once.
    ///
    /// # Errors
    /// As for a query.
    pub async fn open_slice(
        &self,
        design: Arc<Design>,
        rows: Arc<dyn TableProvider>,
        within: Sealed<Expr>,
        cancel: CancellationToken,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        let functions = self.0.shared.rollup.clone();
        let plan = move || {
            let base = Scan { table: design.question.source.as_str().into(), source: provider_as_source(rows) };
            rollup::partial_plan(&design, base, Some(Expr::clone(&within)), &functions)
        };
        statement::query::open_plan(&self.0, plan, Threads::One, cancel).await
    }

    /// The rows of a table that pass `within`. Runs inside the caller's work, as [`Engine::open_query`].
    ///
    /// # Errors
    /// As for a query.
    pub async fn open_rows(
        &self,
        (rows, within): (Arc<dyn TableProvider>, Expr),
        cancel: CancellationToken,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        let plan = move || LogicalPlanBuilder::scan("rows", provider_as_source(rows), None)?.filter(within)?.build();
        statement::query::open_plan(&self.0, plan, Threads::All, cancel).await
    }

    /// Stored partial aggregates with every group once. Runs inside the caller's work, as [`Engine::open_query`].
    ///
    /// # Errors
    /// As for a query.
    pub async fn open_folded(
        &self,
        design: Arc<Design>,
        partials: Arc<dyn TableProvider>,
        cancel: CancellationToken,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        let plan = move |functions: &rollup::Functions| {
            let stored = Scan { table: "partials".into(), source: provider_as_source(partials) };
            rollup::fold_plan(&design, stored, functions)
        };
        self.open_rollup(plan, cancel).await
    }

    /// The rows of a plan over rollups. Runs inside the caller's work, as [`Engine::open_query`].
    ///
    /// # Errors
    /// As for a query.
    pub async fn open_rollup<F>(
        &self,
        plan: F,
        cancel: CancellationToken,
    ) -> Result<SendableRecordBatchStream, QueryError>
    where
        F: FnOnce(&rollup::Functions) -> DataFusionResult<LogicalPlan> + Send + 'static,
    {
        let functions = self.0.shared.rollup.clone();
        statement::query::open_plan(&self.0, move || plan(&functions), Threads::All, cancel).await
    }

    /// What a view that is kept by partitions is made of, pinned at newest versions; `None`: it is kept otherwise.
    ///
    /// # Errors
    /// Not a materialized view; tables that cannot be opened; a query that no longer works.
    pub async fn pin_partitions(&self, view: &str) -> Result<Option<PartitionAt>, QueryError> {
        let (definition, path) = view_called(&self.0, view)?;
        Ok(pin_partitions(&self.0, (view, &path, &definition)).await?.map(|(at, _)| at))
    }

    /// The same with the view's query, to be run.
    ///
    /// # Errors
    /// As [`Self::pin_partitions`].
    pub async fn partition_run(&self, view: &str) -> Result<Option<PartitionRun>, QueryError> {
        let (definition, path) = view_called(&self.0, view)?;
        pin_run(&self.0, (view, &path, &definition)).await
    }

    /// Columns of a table, view or materialized view, as declared or stored: VARCHAR is `Utf8`, while rows of `SELECT *`
    /// may come in another layout of the same type (`Utf8View`).
    ///
    /// # Errors
    /// `NotFound` with the nearest name.
    pub async fn relation_schema(&self, name: &str) -> Result<SchemaRef, QueryError> {
        let schema = self.0.columns.of(&self.0, name)?;
        Ok(schema)
    }

    /// The same, without the columns the session's caller may not know of.
    ///
    /// # Errors
    /// `NotFound`, also for what the caller may not know of.
    pub async fn relation_schema_for(&self, name: &str, session: &Session) -> Result<SchemaRef, QueryError> {
        let viewer = Viewer::of(&self.0, session, None)?;
        let catalog = self.0.catalog.snapshot();
        if !viewer.may_see(name) {
            return Err(viewer.not_found(name, &catalog));
        }
        let schema = self.0.columns.of(&self.0, name).map_err(|error| viewer.told(error, name, &catalog))?;
        let Reading::Columns(granted) = viewer.reading(name) else { return Ok(schema) };
        let fields: Vec<FieldRef> =
            schema.fields().iter().filter(|field| granted.contains(field.name())).cloned().collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Returns when all answers taken to be verified so far have been.
    pub async fn verified(&self) {
        self.0.verifier.idle().await;
    }

    /// For texts of several statements, before they are taken apart.
    ///
    /// # Errors
    /// Longer than one statement may be (`query.max_sql_size`).
    pub fn check_length(&self, sql: &str) -> Result<(), QueryError> {
        self.0.check_length(sql)
    }

    /// Makes all changes of a plan or none (`adlake apply`; CREATE and DROP are plans of one change).
    ///
    /// # Errors
    /// A definition that cannot work (it names the object), or somebody else's change in between (`Conflict`).
    pub async fn apply(&self, plan: Plan) -> Result<(), QueryError> {
        ddl::apply(&self.0, plan).await.map(|_| ())
    }

    /// An empty table as `create` says, which no name leads to: for [`Self::replace_table`].
    ///
    /// # Errors
    /// Not a table; files that cannot be made.
    pub async fn make_beside(&self, create: Create) -> Result<Arc<Object>, QueryError> {
        ddl::make_beside(&self.0, create).await
    }

    /// Deletes it again.
    pub async fn delete_beside(&self, beside: &Object) {
        ddl::delete_beside(&self.0, beside).await;
    }

    /// The table of the same name becomes `beside`, with its rows. Readers see the old table or the new one, never none.
    ///
    /// # Errors
    /// A view that does not work with the new columns, a table that is gone; then nothing has changed, and `beside` is deleted.
    pub async fn replace_table(&self, beside: &Object) -> Result<(), QueryError> {
        ddl::replace_table(&self.0, beside).await
    }
}

impl Inner {
    /// # Errors
    /// `Unimplemented` in an engine without what lies above it (tests of the engine alone).
    pub(super) fn state(&self) -> Option<&Arc<dyn SystemState>> {
        self.state.get()
    }

    /// # Errors
    /// `Unimplemented` in an engine without users and roles (tests of the engine alone).
    pub(super) fn authenticator(&self) -> Result<&Arc<Authenticator>, QueryError> {
        self.authenticator
            .get()
            .ok_or_else(|| QueryError::Unimplemented { message: "this engine knows no users and roles".to_owned() })
    }

    pub(super) fn commands(&self) -> Result<&Arc<dyn Commands>, QueryError> {
        self.commands.get().ok_or_else(|| QueryError::Unimplemented {
            message: "this engine only reads: nothing is plugged in".to_owned(),
        })
    }
}
