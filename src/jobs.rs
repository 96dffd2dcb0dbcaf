//! The table of everything that happens by itself.
//!
//! | job | trigger | what it calls |
//! |---|---|---|
//! | follow the catalog | every 500 ms | `Catalog::refresh`: definitions changed by other processes take effect here within a second |
//! | follow users and roles | every 500 ms | `Directory::refresh`: the same for users, roles, tokens, grants and policies |
//! | read an identity provider's keys | every `auth.jwt.refresh`, a second at least | what `app::identity` hands in: fetches the key set and takes it over |
//! | write the audit | every `audit.write_interval`, at once when half of `audit.queue_length` waits | `AuditLog::flush` |
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
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::{AUDIT_PATH, AuditConfig, AuditLog, Directory};
use crate::base::{Span, Stopwatch, Tasks, chain};
use crate::catalog::{Catalog, CatalogSnapshot, Definition, TableKind};
use crate::ingest::{IngestConfig, Ingestor, REJECTS_PATH};
use crate::materialize::{MaterializeConfig, Schedule};
use crate::query::{Engine, RESTATEMENTS_PATH, VERIFICATIONS_PATH};
use crate::server::Tls;
use crate::storage::{Maintainer, Subject};

const POLL: Duration = Duration::from_millis(500);
const TOKEN_USES: Duration = Duration::from_secs(60);
/// A provider's keys are asked for no more often.
const KEYS_PAUSE_MIN: Duration = Duration::from_secs(1);

/// How long rows of tables of our own are kept.
#[derive(Clone, Copy)]
struct Keep {
    restatements: Span,
    audit: Span,
}

/// Starts every job; they end with `tasks`. Tables are maintained as far as `maintainer` is told to.
pub fn start(
    catalog: &Arc<Catalog>,
    engine: &Engine,
    (maintainer, views, audit): (&Arc<Maintainer>, &MaterializeConfig, &AuditConfig),
    tasks: &Tasks,
) {
    let (followed, text) = (catalog.clone(), "cannot read the catalog; the last known definitions hold");
    let refresh = move || {
        let catalog = followed.clone();
        async move { catalog.refresh().await }
    };
    tasks.spawn("follow-catalog", follow((POLL, tasks.stop_signal()), text, refresh));
    if let Some(every) = maintainer.interval() {
        let job = MaintainTables {
            catalog: catalog.clone(),
            engine: engine.clone(),
            maintainer: maintainer.clone(),
            keep: Keep { restatements: views.keep_restatements, audit: audit.retention },
        };
        tasks.spawn("maintain-tables", job.run(every, tasks.clone()));
    }
}

/// Starts following users and roles, and storing when tokens were used unless the lake is `read_only`; ends with `tasks`.
pub fn start_following(directory: &Arc<Directory>, read_only: bool, tasks: &Tasks) {
    let (followed, text) = (directory.clone(), "cannot read users and roles; the last known ones hold");
    let refresh = move || {
        let directory = followed.clone();
        async move { directory.refresh().await }
    };
    tasks.spawn("follow-users", follow((POLL, tasks.stop_signal()), text, refresh));
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

/// Starts reading the key set of an identity provider again and again, by `read`; ends with `tasks`.
pub fn start_reading_keys<F, E>(every: Span, read: impl Fn() -> F + Send + 'static, tasks: &Tasks)
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Error + Send + 'static,
{
    let (every, text) = (keys_pause(every), "cannot read the identity provider's keys; the last ones hold");
    tasks.spawn("read-keys", follow((every, tasks.stop_signal()), text, read));
}

fn keys_pause(every: Span) -> Duration {
    every.duration().max(KEYS_PAUSE_MIN)
}

/// Refreshes again and again until it is time to stop. Of failures in a row the first is told, with `text`: what others changed
/// takes no effect here meanwhile.
async fn follow<T, F, E>((every, stop): (Duration, CancellationToken), text: &'static str, refresh: impl Fn() -> F)
where
    F: Future<Output = Result<T, E>>,
    E: Error + 'static,
{
    let mut failing = false;
    while pause(&stop, every).await {
        match refresh().await {
            Ok(_) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(error = %chain(&error), "{text}");
            }
            Err(_) => {}
        }
    }
}

/// Starts writing what callers did; ends with `tasks`. What is recorded later is the stop's to write.
pub fn start_auditing(audit: &Arc<AuditLog>, every: Span, tasks: &Tasks) {
    let (audit, stop) = (audit.clone(), tasks.stop_signal());
    tasks.spawn("write-audit", async move {
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every.duration()) => {}
                () = audit.crowded(), if !failing => {}
            }
            match audit.flush().await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(error = %chain(&error), "cannot write the audit; trying again, further rows wait");
                }
                Err(_) => {}
            }
        }
    });
}

/// Waits; false when it is time to stop.
async fn pause(stop: &CancellationToken, span: Duration) -> bool {
    tokio::select! {
        biased;
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
        while pause(&stop, interval).await {
            schedule.turn(&stop).await;
        }
    });
}

/// Starts looking for replaced certificates; ends with `tasks`.
pub fn start_reloading(tls: &Arc<Tls>, tasks: &Tasks) {
    let (tls, stop) = (tls.clone(), tasks.stop_signal());
    tasks.spawn("look-at-certificates", async move {
        while pause(&stop, tls.reload_interval()).await {
            tls.look().await;
        }
    });
}

/// One look at a time per table; a long one does not hold up the other tables.
async fn watch_landing(catalog: Arc<Catalog>, ingestor: Ingestor, config: IngestConfig, tasks: Tasks) {
    let stop = tasks.stop_signal();
    let mut looks: HashMap<String, (Stopwatch, JoinHandle<()>)> = HashMap::new();
    while pause(&stop, config.landing_interval.duration()).await {
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

struct MaintainTables {
    catalog: Arc<Catalog>,
    engine: Engine,
    maintainer: Arc<Maintainer>,
    keep: Keep,
}

impl MaintainTables {
    async fn run(self, every: Span, tasks: Tasks) {
        let stop = tasks.stop_signal();
        let mut more = false;
        while pause(&stop, if more { Duration::ZERO } else { every.duration() }).await {
            more = self.round(&stop).await;
        }
    }

    /// One turn for every table. Whether more is waiting.
    async fn round(&self, stop: &CancellationToken) -> bool {
        let subjects = subjects(&self.catalog.snapshot(), self.keep);
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
fn subjects(catalog: &CatalogSnapshot, keep: Keep) -> Vec<Subject> {
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
    let own = [
        (AUDIT_PATH, Some(keep.audit)),
        (REJECTS_PATH, None),
        (RESTATEMENTS_PATH, Some(keep.restatements)),
        (VERIFICATIONS_PATH, None),
    ];
    of_catalog.chain(own.map(|(path, retention)| Subject { path: path.to_owned(), retention })).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn following_goes_on_after_failures_and_ends_when_told() {
        let (stop, calls) = (CancellationToken::new(), AtomicUsize::new(0));
        let refresh = || {
            if calls.fetch_add(1, Ordering::Relaxed) == 2 {
                stop.cancel();
            }
            std::future::ready(Err::<(), _>(std::io::Error::other("not there")))
        };
        follow((Duration::ZERO, stop.clone()), "cannot read it", refresh).await;
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn keys_are_never_read_without_a_pause() {
        assert_eq!(keys_pause(Span::from_secs(0)), Duration::from_secs(1));
        assert_eq!(keys_pause(Span::from_secs(300)), Duration::from_secs(300));
    }
}
