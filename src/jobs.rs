//! The table of everything that happens by itself.
//!
//! | job | trigger | what it calls |
//! |---|---|---|
//! | follow the catalog | every 500 ms | `Catalog::refresh`: definitions changed by other processes take effect here within a second |
//! | follow users and roles | every 500 ms | `Directory::refresh`: the same for users, roles, tokens, grants and policies |
//! | note uses of tokens | every minute | `Directory::store_uses` |
//! | maintain tables | every `maintenance.interval`, at once while files wait to be merged | `Maintainer::turn` for every table, one after another, on the engine's threads; `Maintainer::sweep`: files of dropped tables |
//! | watch landing folders | every `ingest.landing_interval` (buckets: `ingest.landing_bucket_interval`) | `Ingestor::poll_landing` per table: new files are loaded |
//! | refresh views | every `materialize.look_interval` | `Schedule::turn`: every view that is due and whose sources have changed |
//! | look at the TLS files | every `tls.reload_interval` | `Tls::look`: replaced ones are taken for new connections |
//!
//! A read-only server starts only jobs that read.
//!
//! Only this file knows both *when* and *what*.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::Directory;
use crate::base::{Span, Stopwatch, Tasks, chain};
use crate::catalog::{Catalog, CatalogSnapshot, Definition, TableKind};
use crate::ingest::{IngestConfig, Ingestor, REJECTS_PATH};
use crate::materialize::{MaterializeConfig, Schedule};
use crate::query::{Engine, RESTATEMENTS_PATH, VERIFICATIONS_PATH};
use crate::server::Tls;
use crate::storage::{Maintainer, Subject};

const CATALOG_POLL: Duration = Duration::from_millis(500);
const TOKEN_USES: Duration = Duration::from_secs(60);

/// Starts every job; they end with `tasks`. Tables are maintained as far as `maintainer` is told to.
pub fn start(
    catalog: &Arc<Catalog>,
    engine: &Engine,
    (maintainer, views): (&Arc<Maintainer>, &MaterializeConfig),
    tasks: &Tasks,
) {
    tasks.spawn("follow-catalog", follow_catalog(catalog.clone(), tasks.clone()));
    if let Some(every) = maintainer.interval() {
        let job = MaintainTables {
            catalog: catalog.clone(),
            engine: engine.clone(),
            maintainer: maintainer.clone(),
            keep_restatements: views.keep_restatements,
        };
        tasks.spawn("maintain-tables", job.run(every, tasks.clone()));
    }
}

/// Starts following users and roles, and storing when tokens were used unless the lake is `read_only`; ends with `tasks`.
pub fn start_following(directory: &Arc<Directory>, read_only: bool, tasks: &Tasks) {
    let (followed, stop) = (directory.clone(), tasks.stop_signal());
    tasks.spawn("follow-users", async move {
        let mut failing = false;
        while pause(&stop, CATALOG_POLL).await {
            match followed.refresh().await {
                Ok(_) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(error = %chain(&error), "cannot read users and roles; the last known ones hold");
                }
                Err(_) => {}
            }
        }
    });
    if read_only {
        return;
    }
    let (directory, stop) = (directory.clone(), tasks.stop_signal());
    tasks.spawn("note-token-uses", async move {
        while pause(&stop, TOKEN_USES).await {
            if let Err(error) = directory.store_uses().await {
                tracing::warn!(error = %chain(&error), "cannot store when tokens were used; trying again later");
            }
        }
    });
}

/// Waits; false when it is time to stop.
async fn pause(stop: &CancellationToken, span: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(span) => true,
    }
}

/// Starts watching the landing folders of all tables; ends with `tasks`.
pub fn start_landing(catalog: &Arc<Catalog>, ingestor: &Ingestor, config: &IngestConfig, tasks: &Tasks) {
    tasks.spawn("landing", watch_landing(catalog.clone(), ingestor.clone(), config.clone(), tasks.clone()));
}

/// Starts refreshing materialized views; ends with `tasks`.
pub fn start_refreshing(schedule: Schedule, config: &MaterializeConfig, tasks: &Tasks) {
    if !config.enabled {
        return;
    }
    let (stop, interval) = (tasks.stop_signal(), config.look_interval.duration());
    tasks.spawn("refresh-views", async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
            schedule.turn(&stop).await;
        }
    });
}

/// Starts looking for replaced certificates; ends with `tasks`.
pub fn start_reloading(tls: &Arc<Tls>, tasks: &Tasks) {
    let (tls, stop) = (tls.clone(), tasks.stop_signal());
    tasks.spawn("look-at-certificates", async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(tls.reload_interval()) => {}
            }
            tls.look().await;
        }
    });
}

/// One look at a time per table; a long one does not hold up the other tables.
async fn watch_landing(catalog: Arc<Catalog>, ingestor: Ingestor, config: IngestConfig, tasks: Tasks) {
    let stop = tasks.stop_signal();
    let mut looks: HashMap<String, (Stopwatch, JoinHandle<()>)> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(config.landing_interval.duration()) => {}
        }
        let snapshot = catalog.snapshot();
        let landing = snapshot.relations.values().filter_map(|object| match &object.definition {
            Definition::Table(table) => Some((object.name.clone(), table.ingest.landing.as_ref()?.from.clone())),
            Definition::View(_) | Definition::MaterializedView(_) | Definition::Endpoint(_) => None,
        });
        for (table, from) in landing {
            let interval = match from.starts_with("s3://") {
                true => config.landing_bucket_interval,
                false => config.landing_interval,
            };
            let is_due = looks
                .get(&table)
                .is_none_or(|(begun, look)| look.is_finished() && begun.elapsed() >= interval.duration());
            if is_due {
                let (ingestor, stop, name) = (ingestor.clone(), stop.clone(), table.clone());
                let look = tasks.spawn("landing look", async move {
                    // What is wrong with a folder or file is in system.ingest.
                    if let Err(error) = ingestor.poll_landing(&name, stop).await {
                        tracing::debug!(table = name, error = %chain(&error), "landing folder not read");
                    }
                });
                looks.insert(table, (Stopwatch::start(), look));
            }
        }
        looks.retain(|table, _| snapshot.relations.contains_key(table));
    }
}

async fn follow_catalog(catalog: Arc<Catalog>, tasks: Tasks) {
    let stop = tasks.stop_signal();
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CATALOG_POLL) => {}
        }
        match catalog.refresh().await {
            Ok(_) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = %chain(&error), "cannot read the catalog; serving the last known definitions");
            }
            Err(_) => {}
        }
    }
}

struct MaintainTables {
    catalog: Arc<Catalog>,
    engine: Engine,
    maintainer: Arc<Maintainer>,
    keep_restatements: Span,
}

impl MaintainTables {
    async fn run(self, every: Span, tasks: Tasks) {
        let stop = tasks.stop_signal();
        let mut more = false;
        loop {
            let pause = if more { Duration::ZERO } else { every.duration() };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            more = self.round(&stop).await;
        }
    }

    /// One turn for every table. Whether more is waiting.
    async fn round(&self, stop: &CancellationToken) -> bool {
        let subjects = subjects(&self.catalog.snapshot(), self.keep_restatements);
        self.maintainer.forget_all_but(&subjects);
        self.maintainer.sweep(&subjects).await;
        let mut more = false;
        for subject in subjects {
            if stop.is_cancelled() {
                return false;
            }
            let (maintainer, stop) = (self.maintainer.clone(), stop.clone());
            let turn = self.engine.compute(async move { maintainer.turn(&subject, &stop).await }).await;
            match turn {
                Ok(waiting) => more |= waiting,
                Err(error) => tracing::error!(error = %chain(&error), "a turn of maintenance hit a bug"),
            }
        }
        more
    }
}

/// Everything that has files: tables, materialized views, and the tables of our own that users see.
fn subjects(catalog: &CatalogSnapshot, keep_restatements: Span) -> Vec<Subject> {
    let of_catalog = catalog.relations.values().filter_map(|object| {
        let retention = match &object.definition {
            Definition::Table(table) => match &table.kind {
                TableKind::Event { retention, .. } => *retention,
                TableKind::Plain | TableKind::Snapshot { .. } => None,
            },
            Definition::View(_) | Definition::MaterializedView(_) | Definition::Endpoint(_) => None,
        };
        Some(Subject { path: object.table_path.clone()?, retention })
    });
    let own = [(REJECTS_PATH, None), (RESTATEMENTS_PATH, Some(keep_restatements)), (VERIFICATIONS_PATH, None)];
    of_catalog.chain(own.map(|(path, retention)| Subject { path: path.to_owned(), retention })).collect()
}
