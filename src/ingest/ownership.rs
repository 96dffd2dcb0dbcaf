//! Who takes a table's requests when several processes serve one lake: the holder of the table's lease.
//!
//! Dedup is exact without it, since a commit names the version it has looked at; the lease keeps two processes from
//! undoing each other's work, and its fence keeps a holder that slept from committing late. INSERT, COPY and loads need
//! none: they are rare and try again.

use super::IngestError;
use super::ingestor::Core;
use super::target::Target;
use crate::storage::{Acquired, Fence, Leases};

/// The lease of a table's ingest.
fn lease_name(target: &Target) -> String {
    format!("ingest-{}", target.writer.table.path())
}

impl Core {
    /// The fence to commit with; `None` for a process that serves alone.
    ///
    /// # Errors
    /// `NotOwner` when another process takes the table's requests.
    pub(super) async fn own(&self, target: &Target) -> Result<Option<Fence>, IngestError> {
        let Some(leases) = self.leases.get() else { return Ok(None) };
        match leases.acquire(&lease_name(target)).await? {
            Acquired::Held(fence) => Ok(Some(fence)),
            Acquired::HeldBy { address, .. } => {
                Err(IngestError::NotOwner { table: target.name.clone(), http: address.http, grpc: address.grpc })
            }
        }
    }
}

impl super::Ingestor {
    /// From now on, requests are taken only for tables whose lease this process holds. Called once, before serving.
    pub fn own_by(&self, leases: Leases) {
        if self.core().leases.set(leases).is_err() {
            tracing::error!("leases were plugged in twice; the first stay");
        }
    }
}
