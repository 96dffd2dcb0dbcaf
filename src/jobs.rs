//! The table of everything that happens by itself.
//!
//! | job | trigger | what it calls |
//! |---|---|---|
//! | follow the catalog | every 500 ms | `Catalog::refresh`: definitions changed by other processes take effect here within a second |
//! | maintain tables | every `maintenance.interval`, at once while files wait to be merged | `Maintainer::turn` for every table, one after another, on the engine's threads |
//! | watch landing folders | every `ingest.landing_interval` (buckets: `ingest.landing_bucket_interval`) | `Ingestor::poll_landing` per table: new files are loaded |
//!
//! A read-only server starts only jobs that read.
//!
//! Only this file knows both *when* and *what*. Scheduled materializations join this table with their issue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::base::{Span, Stopwatch, Tasks, chain};
use crate::catalog::{Catalog, CatalogSnapshot, Definition, TableKind};
use crate::ingest::{IngestConfig, Ingestor, REJECTS_PATH};
use crate::query::Engine;
use crate::storage::{Maintainer, Subject};

const CATALOG_POLL: Duration = Duration::from_millis(500);

/// Starts every job; they end with `tasks`. Tables are maintained as far as `maintainer` is told to.
pub fn start(catalog: &Arc<Catalog>, engine: &Engine, maintainer: &Arc<Maintainer>, tasks: &Tasks) {
    tasks.spawn("follow-catalog", follow_catalog(catalog.clone(), tasks.clone()));
    if let Some(every) = maintainer.interval() {
        let job = MaintainTables { catalog: catalog.clone(), engine: engine.clone(), maintainer: maintainer.clone() };
        tasks.spawn("maintain-tables", job.run(every, tasks.clone()));
    }
}

/// Starts watching the landing folders of all tables; ends with `tasks`.
pub fn start_landing(catalog: &Arc<Catalog>, ingestor: &Ingestor, config: &IngestConfig, tasks: &Tasks) {
    tasks.spawn("landing", watch_landing(catalog.clone(), ingestor.clone(), config.clone(), tasks.clone()));
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
        let subjects = subjects(&self.catalog.snapshot());
        self.maintainer.forget_all_but(&subjects);
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

/// Everything that has files: tables, materialized views, rejects.
fn subjects(catalog: &CatalogSnapshot) -> Vec<Subject> {
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
    of_catalog.chain([Subject { path: REJECTS_PATH.to_owned(), retention: None }]).collect()
}
