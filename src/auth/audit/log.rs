//! Entries on their way into the lake.
//!
//! Every commit carries a number of this process as its Delta transaction: one that was made and not heard of is not made again.
//! A server that reads only writes entries into its log instead.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::entry::{STARTED_AT, batch};
use super::queue::{Put, Queue};
use super::{AUDIT_PATH, AuditConfig, AuditEntry, AuditedText, audit_columns};
use crate::auth::AuthError;
use crate::base::Clock;
use crate::storage::{Lake, OwnCommit, OwnTable, Transaction};
use crate::telemetry::metrics;

/// Records what callers do.
pub struct AuditLog {
    table: OwnTable,
    queue: Mutex<Queue>,
    crowded: Notify,
    writing: tokio::sync::Mutex<Writing>,
    /// The lake takes no rows from this process.
    is_read_only: bool,
    statements: AuditedText,
    clock: Clock,
    task: Arc<TaskContext>,
}

/// The commit that is being made.
struct Writing {
    entries: Vec<AuditEntry>,
    next: Transaction,
}

impl AuditLog {
    /// Touches nothing yet.
    pub fn new(lake: &Lake, config: &AuditConfig, clock: Clock, task: Arc<TaskContext>) -> Arc<Self> {
        let app_id = format!("adlake.audit:{}", uuid::Uuid::new_v4().simple());
        Arc::new(Self {
            table: OwnTable::new(lake.clone(), AUDIT_PATH, audit_columns()).by_day(STARTED_AT),
            queue: Mutex::new(Queue::new(config.queue_length)),
            crowded: Notify::new(),
            writing: tokio::sync::Mutex::new(Writing { entries: Vec::new(), next: Transaction { app_id, version: 1 } }),
            is_read_only: lake.check_writable().is_err(),
            statements: config.statements,
            clock,
            task,
        })
    }

    /// What of statements is kept.
    pub fn statements(&self) -> AuditedText {
        self.statements
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes an entry; never waits. Beyond `audit.queue_length` it is lost, and counted.
    pub fn record(&self, entry: AuditEntry) {
        if self.is_read_only {
            return told(&entry);
        }
        let put = self.queue.lock().put(entry);
        match put {
            Put::Waits => {}
            Put::Crowded => self.crowded.notify_one(),
            Put::Lost => metrics().count("audit_lost", "Rows of the audit that found no room", &[], 1),
        }
    }

    /// Returns when half the room is taken.
    pub async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// Returns when everything recorded before is in the lake.
    ///
    /// # Errors
    /// Storage trouble; the entries wait for the next call.
    pub async fn flush(&self) -> Result<(), AuthError> {
        let mut writing = self.writing.lock().await;
        // What an earlier call has left, then what has come since.
        if !writing.entries.is_empty() {
            self.commit(&mut writing).await?;
        }
        let (mut entries, lost) = self.queue.lock().take();
        if lost > 0 {
            tracing::error!(lost, "rows of the audit found no room (audit.queue_length)");
            entries.push(AuditEntry::of_lost(self.clock.now(), lost));
        }
        if entries.is_empty() {
            return Ok(());
        }
        writing.entries = entries;
        self.commit(&mut writing).await
    }

    async fn commit(&self, writing: &mut Writing) -> Result<(), AuthError> {
        let rows = batch(&writing.entries).map_err(|error| AuthError::Internal { message: error.to_string() })?;
        let files = self.table.stage(rows, &self.task).await?;
        let transaction = Some(writing.next.clone());
        self.table.commit(files, OwnCommit { operation: "AUDIT", transaction, expected: None }).await?;
        let count = u64::try_from(writing.entries.len()).unwrap_or(u64::MAX);
        metrics().count("audit_rows", "Rows of the audit written", &[], count);
        writing.next.version += 1;
        writing.entries.clear();
        Ok(())
    }
}

fn told(entry: &AuditEntry) {
    let AuditEntry {
        started_at, user, token, address, protocol, action, error_kind, rows, statement, query_id, ..
    } = entry;
    tracing::info!(
        %started_at,
        user,
        token,
        address = address.map(tracing::field::display),
        protocol,
        action,
        objects = entry.objects_text(),
        decision = entry.decision_text(),
        error_kind,
        rows,
        elapsed_ms = entry.elapsed.as_millis(),
        statement,
        query_id,
        "audit"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AuthMode, Identity};
    use crate::base::{Span, Timestamp};
    use crate::storage::TableVersion;
    use crate::storage::{test_config, test_lake};

    #[tokio::test]
    async fn what_is_recorded_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_000_000));
        let lake = test_lake(&folder, &test_config(), clock.clone()).await;
        let settings = AuditConfig {
            mode: AuthMode::On,
            statements: AuditedText::Shape,
            retention: Span::from_secs(1),
            write_interval: Span::from_secs(1),
            queue_length: 2,
        };
        let log = AuditLog::new(&lake, &settings, clock, Arc::default());
        let identity = Identity::of_user("ann");
        let entry = || AuditEntry::of_caller(&identity, Timestamp(1), "http", "query");
        let written = async || {
            let table = lake.open_table(AUDIT_PATH).await.unwrap();
            let snapshot = table.refresh().await.unwrap();
            (snapshot.row_count(), snapshot.version())
        };
        log.record(entry());
        log.flush().await.unwrap();
        log.flush().await.unwrap();
        assert_eq!(written().await, (1, TableVersion(1)), "nothing new is no commit");
        (0..3).for_each(|_| log.record(entry()));
        log.flush().await.unwrap();
        assert_eq!(written().await, (4, TableVersion(2)), "two rows, and one that tells of a lost one");
        // A commit that was made and not heard of.
        log.writing.lock().await.next.version -= 1;
        log.record(entry());
        log.flush().await.unwrap();
        assert_eq!(written().await, (4, TableVersion(2)));
    }
}
