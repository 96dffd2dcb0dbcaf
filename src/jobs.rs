//! The table of everything that happens by itself.
//!
//! | job | trigger | what it calls |
//! |---|---|---|
//! | follow the catalog | every 500 ms | `Catalog::refresh`: definitions changed by other processes take effect here within a second |
//!
//! A read-only server starts only jobs that read.
//!
//! Only this file knows both *when* and *what*. Scheduled materializations and maintenance join this table with their issues.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Tasks, chain};
use crate::catalog::Catalog;

const CATALOG_POLL: Duration = Duration::from_millis(500);

/// Starts every job; they end with `tasks`.
pub fn start(catalog: &Arc<Catalog>, tasks: &Tasks) {
    tasks.spawn("follow-catalog", follow_catalog(catalog.clone(), tasks.clone()));
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
