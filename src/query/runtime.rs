//! What every statement shares, made once: DataFusion's session state as a template, memory pool, spill disk and the CPU
//! runtime on which plans run.
//!
//! A statement clones the template (maps of `Arc`s) and sets its own clock in it; functions are registered only here.

use std::collections::BTreeSet;
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use chrono::DateTime;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SessionStateDefaults, TaskContext};
use datafusion::prelude::SessionConfig;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::functions::{self, SqlTypes};
use super::viewer::Viewer;
use super::{QueryConfig, QueryError};
use crate::base::{Sealed, Timestamp};
use crate::storage::{Lake, configure_scans};

/// The name of the one catalog.
pub(super) const CATALOG: &str = "adlake";
/// The schema of users' objects.
pub(super) const PUBLIC: &str = "public";

/// Rows of a full batch.
pub(super) const BATCH_ROWS: usize = 8192;
/// Threads per configured one. Some operators (nested-loop joins above all) compute for long without giving way; with
/// threads to spare the operating system divides the cores, and other statements, time limits and cancellation go on.
const WORKERS_PER_THREAD: usize = 4;
/// Stack of a query thread: plans are trees, and some passes over them are recursive (see `depth`).
const STACK_BYTES: usize = 16 * 1024 * 1024;
/// Memory consumers named in an out-of-memory message.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// Shared by all statements of an engine.
pub(super) struct Shared {
    template: Sealed<SessionState>,
    /// What plans over rollups call.
    pub(super) rollup: Arc<crate::rollup::Functions>,
    task: Arc<TaskContext>,
    pub(super) cpu: CpuRuntime,
}

impl Shared {
    /// Makes pools, spill folder and threads.
    ///
    /// # Errors
    /// A spill folder that cannot be made; no threads.
    pub(super) fn start(config: &QueryConfig, lake: &Lake) -> Result<Self, QueryError> {
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            threads => threads,
        };
        let runtime = runtime_env(config)?;
        lake.register(&runtime);
        let template = template(threads, runtime);
        let rollup = Arc::new(functions::rollup(&template));
        let task = template.task_ctx();
        Ok(Self { task, rollup, template: Sealed::new(template), cpu: CpuRuntime::start(threads)? })
    }

    /// The state of one statement: `now()` is `now` in all of it.
    pub(super) fn state_at(&self, now: Timestamp) -> SessionState {
        let mut state = SessionState::clone(&self.template);
        let properties = state.execution_props_mut();
        *properties = datafusion::execution::context::ExecutionProps::new();
        properties.query_execution_start_time = DateTime::from_timestamp_micros(now.micros());
        properties.config_options = Some(self.template.config_options().clone());
        state
    }

    /// The same for a statement that may ask who runs it.
    pub(super) fn state_for(&self, viewer: &Viewer, now: Timestamp) -> SessionState {
        let mut state = self.state_at(now);
        let caller = functions::Caller { user: viewer.user().to_owned(), attributes: viewer.attributes() };
        state.config_mut().options_mut().extensions.insert(caller);
        let options = state.config_options().clone();
        state.execution_props_mut().config_options = Some(options);
        state
    }

    pub(super) fn has_table_function(&self, name: &str) -> bool {
        self.template.table_functions().contains_key(name)
    }

    /// Names and kinds of all functions.
    pub(super) fn functions(&self) -> BTreeSet<(String, &'static str)> {
        let state = &self.template;
        let scalar = state.scalar_functions().keys().map(|name| (name.clone(), "scalar"));
        let aggregate = state.aggregate_functions().keys().map(|name| (name.clone(), "aggregate"));
        let window = state.window_functions().keys().map(|name| (name.clone(), "window"));
        let table = state.table_functions().keys().map(|name| (name.clone(), "table"));
        let all = scalar.chain(aggregate).chain(window).chain(table);
        all.filter(|(name, _)| functions::is_shown(name)).collect()
    }

    /// The same with a memory pool of its own.
    pub(super) fn task_within(&self, pool: Arc<dyn MemoryPool>) -> Arc<TaskContext> {
        let runtime = RuntimeEnv { memory_pool: pool, ..RuntimeEnv::clone(&self.task.runtime_env()) };
        Arc::new(TaskContext::from(&*self.template).with_runtime(Arc::new(runtime)))
    }

    /// Memory pool, disk and functions for running plans.
    pub(super) fn task(&self) -> Arc<TaskContext> {
        self.task.clone()
    }
}

fn runtime_env(config: &QueryConfig) -> Result<Arc<RuntimeEnv>, QueryError> {
    let memory = usize::try_from(config.memory_limit.bytes()).unwrap_or(usize::MAX);
    let mode = match config.spill_dir.as_str() {
        "" => DiskManagerMode::OsTmpDirectory,
        folder => DiskManagerMode::Directories(vec![PathBuf::from(folder)]),
    };
    let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(config.spill_limit.bytes());
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(memory), CONSUMERS_NAMED)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    Ok(runtime)
}

fn template(threads: usize, runtime: Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, PUBLIC);
    let options = config.options_mut();
    configure_scans(options);
    // Prunes rows that an aggregate without a bound yet still needs: https://github.com/apache/datafusion/issues/25147 and
    // https://github.com/apache/datafusion/issues/24816.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.execution.time_zone = Some("UTC".to_owned());
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.enable_ident_normalization = true;
    options.sql_parser.collect_spans = false;
    let table_functions =
        SessionStateDefaults::default_table_functions().into_iter().map(|f| (f.name().to_owned(), f)).collect();
    let mut scalar = SessionStateDefaults::default_scalar_functions();
    scalar.extend(functions::scalar());
    let mut aggregate = SessionStateDefaults::default_aggregate_functions();
    aggregate.extend(functions::aggregate());
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(functions::expr_planners())
        .with_analyzer_rules(functions::rules())
        .with_type_planner(Arc::new(SqlTypes))
        .with_scalar_functions(scalar)
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(aggregate)
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_table_functions(table_functions)
        .build()
}

/// Threads for planning and running, apart from those that serve connections.
pub(super) struct CpuRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl CpuRuntime {
    fn start(threads: usize) -> Result<Self, QueryError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.saturating_mul(WORKERS_PER_THREAD))
            .thread_stack_size(STACK_BYTES)
            .thread_name("adlake-cpu")
            .enable_all()
            .build()
            .map_err(|error| QueryError::Internal { message: format!("cannot start query threads: {error}") })?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Starts `work`; dropping the [`Job`] stops it.
    pub(super) fn spawn<T, F>(&self, work: F) -> Job<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        Job(self.handle.spawn(work))
    }

    /// Starts `work` that ends by itself.
    pub(super) fn detach<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.handle.spawn(work));
    }
}

/// A tokio runtime may not be dropped where async code runs; its threads end by themselves.
impl Drop for CpuRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work on the CPU runtime. A panic in it is an error here, nothing more.
pub(super) struct Job<T>(JoinHandle<T>);

impl<T> Future for Job<T> {
    type Output = Result<T, QueryError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|ended| {
            ended.map_err(|failure| match failure.try_into_panic() {
                Ok(payload) => panicked(&*payload),
                Err(_) => QueryError::Cancelled,
            })
        })
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The error of a statement that hit a bug.
pub(super) fn panicked(payload: &(dyn std::any::Any + Send)) -> QueryError {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = text, "a statement hit a bug; please report it with its SQL");
    QueryError::Internal { message: format!("the statement hit a bug ({text})") }
}
