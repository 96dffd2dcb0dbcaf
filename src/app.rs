//! Composition root: configuration → running parts, in order; and back again.
//!
//! ```text
//! open:   lake → catalog → engine → ingestor, refresher → plug          (embedded: REPL, load, tests)
//! serve:  open → apply sql/ → bind ports → jobs, HTTP, gRPC (Flight SQL, ingest)
//! stop:   refuse → drain → give leases back
//! ```
//! Nothing here decides anything: each part does its own work, this file connects them.

mod commands;
mod doctor;
mod listen;
mod protocols;
mod state;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::base::{Classify, Clock, Kind, Tasks, chain};
use crate::catalog::{Catalog, Plan, load_project, plan};
use crate::config::Loaded;
use crate::ingest::{IngestParts, Ingestor};
use crate::jobs;
use crate::materialize::{RefreshParts, Refresher};
use crate::query::{Engine, EngineParts};
use crate::storage::{Address, Lake, LakeLocation, Leases, Maintainer};

pub use crate::storage::{Check, InitMode, InitStep, StepOutcome, Verdict};
pub use doctor::{doctor, init};

use commands::Wiring;
use listen::{bind, bind_address, local};
use state::States;

/// The parts of one process over one lake. Cheap to clone; clones share the parts.
#[derive(Clone)]
pub struct App {
    pub loaded: Arc<Loaded>,
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
    pub engine: Engine,
    pub ingestor: Ingestor,
    pub leases: Leases,
    pub maintainer: Arc<Maintainer>,
    pub clock: Clock,
    pub tasks: Tasks,
}

/// Why the process could not start or a project could not be applied.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AppError {
    pub kind: Kind,
    pub message: String,
}

impl AppError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    fn from_error(error: &(impl Classify + 'static)) -> Self {
        Self::new(error.kind(), chain(error))
    }
}

/// Addresses actually bound; a port configured as 0 is any free one.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub flight: SocketAddr,
}

/// A served app. Dropping it does not stop it; [`App::stop`] does.
pub struct Running {
    pub app: App,
    pub addresses: Addresses,
}

impl App {
    /// Opens the lake and starts the engine; serves nothing yet.
    ///
    /// # Errors
    /// A lake that cannot be opened, a catalog that cannot be read.
    pub async fn open(loaded: Loaded, clock: Clock) -> Result<App, AppError> {
        let config = &loaded.config;
        let location: LakeLocation = config.lake.location.parse().map_err(|error| AppError::from_error(&error))?;
        let lake = match config.server.read_only {
            true => Lake::open_read_only(&location, &config.storage, clock.clone(), &config.server.write_at).await,
            false => Lake::open(&location, &config.storage, clock.clone()).await,
        };
        let lake = lake.map_err(|error| AppError::from_error(&error))?;
        let catalog = Catalog::open(&lake, clock.clone()).await.map_err(|error| AppError::from_error(&error))?;
        let leases = Leases::new(&lake, clock.clone(), &config.lease).map_err(|error| AppError::from_error(&error))?;
        leases.keep();
        let tasks = Tasks::new();
        let parts = EngineParts {
            lake: lake.clone(),
            catalog: catalog.clone(),
            config: config.query.clone(),
            settings: loaded.settings.clone(),
            clock: clock.clone(),
            tasks: tasks.clone(),
        };
        let engine = Engine::start(parts).await.map_err(|error| AppError::from_error(&error))?;
        let ingestor = Ingestor::new(IngestParts {
            lake: lake.clone(),
            catalog: catalog.clone(),
            config: config.ingest.clone(),
            clock: clock.clone(),
            task: engine.task_context(),
            tasks: tasks.clone(),
        });
        let refresher =
            Refresher::new(RefreshParts { engine: engine.clone(), lake: lake.clone(), catalog: catalog.clone() });
        let mut maintenance = config.maintenance.clone();
        maintenance.enabled &= !config.server.read_only;
        let maintainer = Maintainer::new(lake.clone(), maintenance, clock.clone(), engine.task_context());
        engine.plug_state(Arc::new(States { ingestor: ingestor.clone() }));
        engine.plug(Arc::new(Wiring {
            ingestor: ingestor.clone(),
            refresher,
            maintainer: maintainer.clone(),
            catalog: catalog.clone(),
            engine: engine.clone(),
        }));
        Ok(App { loaded: Arc::new(loaded), lake, catalog, engine, ingestor, leases, maintainer, clock, tasks })
    }

    /// Applies the folder `lake.sql` (when set and present), binds the ports, starts jobs and protocols.
    ///
    /// # Errors
    /// Definitions that cannot be applied, a port in use, a bind address beyond loopback without `server.insecure`.
    pub async fn serve(self) -> Result<Running, AppError> {
        let config = self.loaded.config.clone();
        let address = bind_address(&config.server.bind, config.server.insecure)?;
        let http_listener = bind(address, config.http.port, "http.port").await?;
        let flight_listener = bind(address, config.flight.port, "flight.port").await?;
        let addresses = Addresses { http: local(&http_listener)?, flight: local(&flight_listener)? };
        self.leases.set_address(self.public_address(addresses));
        self.ingestor.own_by(self.leases.clone());
        self.apply_configured_project().await?;
        jobs::start(&self.catalog, &self.engine, &self.maintainer, &self.tasks);
        if !config.server.read_only {
            jobs::start_landing(&self.catalog, &self.ingestor, &config.ingest, &self.tasks);
        }
        self.start_http(http_listener);
        self.start_flight(flight_listener);
        tracing::info!(http = %addresses.http, flight = %addresses.flight, lake = %config.lake.location, "serving");
        Ok(Running { app: self, addresses })
    }

    /// Makes the catalog what the folder says: plan, then apply, all or nothing.
    ///
    /// # Errors
    /// Files that cannot be read or parsed, changes that cannot be made.
    pub async fn apply_project(&self, folder: &Path) -> Result<Plan, AppError> {
        let wanted = self.plan_project(folder).await?;
        self.engine.apply(wanted.clone()).await.map_err(|error| AppError::from_error(&error))?;
        Ok(wanted)
    }

    /// What [`App::apply_project`] would do.
    ///
    /// # Errors
    /// As [`App::apply_project`], but changes nothing.
    pub async fn plan_project(&self, folder: &Path) -> Result<Plan, AppError> {
        let files = load_project(folder).map_err(|error| AppError::from_error(&error))?;
        let current = self.catalog.refresh().await.map_err(|error| AppError::from_error(&error))?;
        plan(&current, files.into_iter().map(|file| file.create).collect())
            .map_err(|error| AppError::from_error(&error))
    }

    /// Refuse, drain, close. Returns whether all accepted work ended within `server.drain`.
    pub async fn stop(self) -> bool {
        let grace = self.loaded.config.server.drain.duration();
        let drained = self.tasks.stop(grace).await;
        if !drained {
            tracing::warn!(grace_ms = grace.as_millis(), "stopped before all accepted work had ended");
        }
        self.leases.stop().await;
        drained
    }

    /// Where other processes of the lake reach this one.
    fn public_address(&self, bound: Addresses) -> Address {
        let at = |bound: SocketAddr| match self.loaded.config.server.advertise.as_str() {
            "" => bound.to_string(),
            host => format!("{host}:{}", bound.port()),
        };
        Address { http: at(bound.http), grpc: at(bound.flight) }
    }

    async fn apply_configured_project(&self) -> Result<(), AppError> {
        let folder = &self.loaded.config.lake.sql;
        if folder.is_empty() || self.loaded.config.server.read_only {
            return Ok(());
        }
        let chosen = self.loaded.settings.iter().any(|(key, _, origin)| key == "lake.sql" && origin != "default");
        if !Path::new(folder).exists() && !chosen {
            tracing::info!(%folder, "no folder of SQL definitions; serving the catalog as it is");
            return Ok(());
        }
        let applied = self.apply_project(Path::new(folder)).await?;
        tracing::info!(%folder, changes = applied.changes.len(), "definitions applied");
        Ok(())
    }
}
