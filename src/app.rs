//! Composition root: configuration → running parts, in order; and back again.
//!
//! ```text
//! open:   lake → catalog → engine → users and roles → ingestor, refresher → plug          (embedded: REPL, load, tests)
//! serve:  open → apply sql/ → bind ports → jobs, HTTP, gRPC (Flight SQL, ingest), pgwire
//! stop:   refuse → drain → give leases back
//! ```
//! Nothing here decides anything: each part does its own work, this file connects them.

mod commands;
mod doctor;
mod identity;
mod listen;
mod protocols;
mod state;

use std::path::Path;
use std::sync::Arc;

use crate::auth::Authenticator;
use crate::base::{Classify, Clock, Kind, Tasks, chain};
use crate::catalog::{Catalog, Plan, load_project, plan};
use crate::config::Loaded;
use crate::ingest::{IngestParts, Ingestor};
use crate::jobs;
use crate::materialize::{RefreshParts, Refresher, Schedule};
use crate::query::{Engine, EngineParts};
use crate::server::Tls;
use crate::storage::{Lake, LakeLocation, Leases, Maintainer};

pub use crate::storage::{Check, InitMode, InitStep, StepOutcome, Verdict};
pub use doctor::{doctor, init};
pub use listen::{Addresses, Encryption};

use commands::Wiring;
use listen::{Bound, Listeners};
use state::States;

/// The parts of one process over one lake. Cheap to clone; clones share the parts.
#[derive(Clone)]
pub struct App {
    pub loaded: Arc<Loaded>,
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
    pub engine: Engine,
    pub authenticator: Arc<Authenticator>,
    pub ingestor: Ingestor,
    pub refresher: Refresher,
    pub leases: Leases,
    pub maintainer: Arc<Maintainer>,
    pub clock: Clock,
    pub tasks: Tasks,
    listeners: Arc<Listeners>,
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

/// A served app. Dropping it does not stop it; [`App::stop`] does.
pub struct Running {
    pub app: App,
    pub addresses: Addresses,
    /// For the user made because there was none; shown to whoever started the server, and never again.
    pub first_token: Option<String>,
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
        let authenticator = identity::guarded(&engine, (&lake, &clock), &config.auth).await?;
        let ingestor = Ingestor::new(IngestParts {
            lake: lake.clone(),
            catalog: catalog.clone(),
            config: config.ingest.clone(),
            clock: clock.clone(),
            task: engine.task_context(),
            tasks: tasks.clone(),
        });
        let refresher = Refresher::new(RefreshParts {
            engine: engine.clone(),
            lake: lake.clone(),
            catalog: catalog.clone(),
            clock: clock.clone(),
            slice_rows: config.materialize.slice_rows,
        });
        let mut maintenance = config.maintenance.clone();
        maintenance.enabled &= !config.server.read_only;
        let maintainer = Maintainer::new(lake.clone(), maintenance, clock.clone(), engine.task_context())
            .map_err(|error| AppError::from_error(&error))?;
        let listeners = Arc::new(Listeners::default());
        engine.plug_state(Arc::new(States {
            ingestor: ingestor.clone(),
            refresher: refresher.clone(),
            listeners: listeners.clone(),
        }));
        engine.plug(Arc::new(Wiring {
            ingestor: ingestor.clone(),
            refresher: refresher.clone(),
            maintainer: maintainer.clone(),
            catalog: catalog.clone(),
            engine: engine.clone(),
        }));
        Ok(App {
            loaded: Arc::new(loaded),
            lake,
            catalog,
            engine,
            authenticator,
            ingestor,
            refresher,
            leases,
            maintainer,
            clock,
            tasks,
            listeners,
        })
    }

    /// Applies the folder `lake.sql` (when set and present), binds the ports, starts jobs and protocols.
    ///
    /// # Errors
    /// Definitions that cannot be applied, a port in use, TLS files that cannot be used, an address beyond loopback that is
    /// not protected.
    pub async fn serve(self) -> Result<Running, AppError> {
        let config = self.loaded.config.clone();
        let tls = Tls::load(&config.tls, &self.clock).await.map_err(|error| AppError::from_error(&error))?;
        let Bound { http, flight, pgwire, addresses } = Bound::of(&config, &tls).await?;
        self.listeners.serve(addresses, tls.clone());
        self.start_audit();
        self.leases.set_address(addresses.public(&config.server.advertise));
        self.ingestor.own_by(self.leases.clone());
        self.apply_configured_project().await?;
        let first_token = self.first_token().await?;
        self.follow_identity_provider().await?;
        jobs::start(&self.catalog, &self.engine, (&self.maintainer, &config.materialize, &config.audit), &self.tasks);
        jobs::start_following(self.authenticator.directory(), config.server.read_only, &self.tasks);
        if !config.server.read_only {
            jobs::start_landing(&self.catalog, &self.ingestor, &config.ingest, &self.tasks);
            let schedule = Schedule::new(self.refresher.clone(), self.leases.clone(), self.tasks.clone());
            jobs::start_refreshing(schedule, &config.materialize, &self.tasks);
        }
        if let Some(tls) = &tls {
            jobs::start_reloading(tls, &self.tasks);
        }
        self.start_http(http, tls.clone());
        self.start_flight(flight, tls.clone());
        if let Some(listener) = pgwire {
            self.start_pgwire(listener, tls);
        }
        tracing::info!(http = addresses.http_url(), flight = addresses.flight_url(), pgwire = addresses.pgwire_url(), lake = %config.lake.location, "serving");
        Ok(Running { app: self, addresses, first_token })
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
        self.finish_audit().await;
        self.leases.stop().await;
        drained
    }

    /// Looks at the TLS files now, instead of when it is time again.
    pub async fn reload_certificates(&self) {
        if let Some(tls) = self.listeners.tls() {
            tls.look().await;
        }
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
