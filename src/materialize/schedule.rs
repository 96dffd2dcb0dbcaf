//! Refreshes that happen by themselves. One process of a lake does them (lease `views`); a view that fails, or takes long,
//! holds no other up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::due::{Last, next};
use super::fold::fold;
use super::refresh::Refresher;
use crate::base::{Tasks, Timestamp, chain};
use crate::catalog::{CatalogSnapshot, Definition, Object, RefreshScope, RefreshTrigger};
use crate::query::MadeOf;
use crate::rollup::Strategy;
use crate::storage::{Acquired, Leases, TableVersion};

/// Who holds it refreshes the views of the lake.
const LEASE: &str = "views";

/// Looks again and again at what is due; [`Schedule::turn`] is one look.
pub struct Schedule {
    refresher: Refresher,
    leases: Leases,
    tasks: Tasks,
    runs: Mutex<HashMap<String, Run>>,
}

/// A view as this process has seen it.
struct Run {
    first_seen: Timestamp,
    running: Option<JoinHandle<()>>,
    /// What it was made of when it was last refreshed from here.
    sources: Option<Sources>,
}

/// What a view's rows depend on.
#[derive(PartialEq, Eq)]
struct Sources {
    made_of: MadeOf,
    versions: BTreeMap<String, TableVersion>,
}

impl Schedule {
    pub fn new(refresher: Refresher, leases: Leases, tasks: Tasks) -> Self {
        Self { refresher, leases, tasks, runs: Mutex::default() }
    }

    /// Starts a refresh of every view that is due and whose sources have changed.
    pub async fn turn(&self, stop: &CancellationToken) {
        let catalog = self.refresher.0.parts.catalog.snapshot();
        self.refresher.0.states.keep_only(|view| catalog.relations.contains_key(view));
        self.runs.lock().retain(|view, _| catalog.relations.contains_key(view));
        let now = self.refresher.0.parts.clock.now();
        let mut is_ours: Option<bool> = None;
        for object in catalog.relations.values() {
            let Definition::MaterializedView(view) = &object.definition else { continue };
            if stop.is_cancelled() || !self.is_due(object, &view.trigger, now) {
                continue;
            }
            let Some(sources) = self.moved(&catalog, object).await else { continue };
            let ours = match is_ours {
                Some(known) => known,
                None => *is_ours.insert(self.holds_lease().await),
            };
            if ours {
                self.start(&object.name, sources, stop);
            }
        }
    }

    async fn holds_lease(&self) -> bool {
        match self.leases.acquire(LEASE).await {
            Ok(Acquired::Held(_)) => true,
            Ok(Acquired::HeldBy { .. }) => false,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "cannot tell who refreshes the views of this lake");
                false
            }
        }
    }

    fn is_due(&self, object: &Object, trigger: &RefreshTrigger, now: Timestamp) -> bool {
        let mut runs = self.runs.lock();
        let fresh = || Run { first_seen: now, running: None, sources: None };
        let run = runs.entry(object.name.clone()).or_insert_with(fresh);
        if run.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return false;
        }
        let state = self.refresher.0.states.of(&object.name);
        let last = Last {
            at: state.last_refresh_at.unwrap_or(run.first_seen),
            took: state.last_took.unwrap_or_default(),
            failures: state.failures,
            has_run: state.last_refresh_at.is_some(),
        };
        let next = next(trigger, last);
        self.refresher.0.states.set_next(&object.name, next);
        next.is_some_and(|next| next <= now)
    }

    /// What the view's rows depend on, unless it is that of its last refresh: queries, and the versions of tables and of views that
    /// are kept in full, which come first by having to move first. A view that is kept incrementally is as new as what it reads.
    async fn moved(&self, catalog: &CatalogSnapshot, view: &Object) -> Option<Sources> {
        let parts = &self.refresher.0.parts;
        let mut versions = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = view.reads.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            let Some(object) = catalog.relations.get(name).filter(|_| seen.insert(name)) else { continue };
            let has_own_rows = match &object.definition {
                Definition::Table(_) => true,
                Definition::View(_) | Definition::Endpoint(_) => false,
                Definition::MaterializedView(_) => parts
                    .engine
                    .view_decision(name)
                    .is_ok_and(|decision| matches!(decision.strategy, Strategy::Full(_))),
            };
            match &object.table_path {
                Some(path) if has_own_rows => {
                    let table = parts.lake.open_table(path).await.ok()?;
                    versions.insert(name.to_owned(), table.snapshot().await.ok()?.version());
                }
                _ => open.extend(object.reads.iter().map(String::as_str)),
            }
        }
        let sources = Sources { made_of: MadeOf::today(catalog, &view.name), versions };
        let has_failed = self.refresher.0.states.of(&view.name).failures > 0;
        let is_known = self.runs.lock().get(&view.name).is_some_and(|run| run.sources.as_ref() == Some(&sources));
        (has_failed || !is_known).then_some(sources)
    }

    fn start(&self, view: &str, sources: Sources, stop: &CancellationToken) {
        let (refresher, name, stop) = (self.refresher.clone(), view.to_owned(), stop.clone());
        let running = self.tasks.spawn("refresh a view", async move {
            let engine = refresher.0.parts.engine.clone();
            let work = async move {
                let task = refresher.0.parts.engine.task_context();
                let refreshed = refresher.refresh(&name, &RefreshScope::Pending, task, stop.clone()).await;
                match refreshed {
                    // Rows that are folded later are right all the same.
                    Ok(_) => match fold(&refresher, &name, &stop).await {
                        Ok(()) => {}
                        Err(error) => tracing::debug!(view = name, error = %chain(&error), "not folded"),
                    },
                    Err(error) if stop.is_cancelled() => tracing::debug!(view = name, %error, "stopped"),
                    Err(error) => {
                        tracing::warn!(view = name, error = %chain(&error), "refresh failed; tried again later")
                    }
                }
            };
            if let Err(error) = engine.compute(work).await {
                tracing::error!(error = %chain(&error), "a refresh hit a bug");
            }
        });
        if let Some(run) = self.runs.lock().get_mut(view) {
            run.running = Some(running);
            run.sources = Some(sources);
        }
    }
}
