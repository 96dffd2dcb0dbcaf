//! The catalog's one document: load, follow, change by compare-and-swap.
//!
//! ```text
//! edit: newest snapshot ─► decide(snapshot) ─► edits ─► check ─► put as next version ─┬─► installed
//!          ▲                                                                           │
//!          └────────────────────── somebody else was first ◄───────────────────────────┘
//! ```
//! Invariant: the installed snapshot only moves to newer versions.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::snapshot::{CatalogSnapshot, CatalogVersion};
use super::{CatalogError, Object, ObjectKind, stored};
use crate::base::Clock;
use crate::storage::{DocumentVersion, Documents, Lake, StorageError};

/// The document below the lake.
const DOCUMENT: &str = "catalog";
/// How often an edit is tried again after somebody else was first.
const ATTEMPTS_MAX: usize = 20;

/// One change to the set of objects.
#[expect(clippy::large_enum_variant, reason = "a handful at a time, built once per edit")]
#[derive(Clone, Debug)]
pub enum Edit {
    /// Adds the object, or replaces the one of its name.
    Put(Object),
    Remove(ObjectKind, String),
}

/// The catalog of one lake, shared by everything in this process.
#[derive(Debug)]
pub struct Catalog {
    documents: Documents,
    current: RwLock<Arc<CatalogSnapshot>>,
    /// Edits of this process go one after another: they would only make each other fail.
    editing: tokio::sync::Mutex<()>,
    clock: Clock,
}

impl Catalog {
    /// Reads the newest version.
    pub async fn open(lake: &Lake, clock: Clock) -> Result<Arc<Catalog>, CatalogError> {
        let catalog = Catalog {
            documents: lake.documents(DOCUMENT),
            current: RwLock::default(),
            editing: tokio::sync::Mutex::default(),
            clock,
        };
        catalog.read_latest().await?;
        Ok(Arc::new(catalog))
    }

    /// The newest snapshot known here, without I/O.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.current.read().clone()
    }

    /// The clock objects get their times from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Looks for newer versions put by other processes; cheap when there is none (`jobs.rs` does it all the time).
    pub async fn refresh(&self) -> Result<Arc<CatalogSnapshot>, CatalogError> {
        let known = DocumentVersion(self.snapshot().version.0);
        if self.documents.newer_than(known).await?.is_some() {
            self.read_latest().await?;
        }
        Ok(self.snapshot())
    }

    /// Applies all edits as one version, or none. `decide` sees the newest snapshot and is called again after a lost race;
    /// it validates (exists, readers) and returns the edits; none at all leaves the version alone. What must hold of all
    /// objects together ([`CatalogSnapshot::check`]: cycles, paths, names that are read) is checked here.
    pub async fn edit<F>(&self, decide: F) -> Result<Arc<CatalogSnapshot>, CatalogError>
    where
        F: Fn(&CatalogSnapshot) -> Result<Vec<Edit>, CatalogError> + Send + Sync,
    {
        let _turn = self.editing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let base = self.refresh().await?;
            let edits = decide(&base)?;
            if edits.is_empty() {
                return Ok(base);
            }
            let edited = edited(&base, edits)?;
            let content = Bytes::from(stored::encode(&edited)?);
            match self.documents.put_after(DocumentVersion(base.version.0), content).await {
                Ok(version) => {
                    let snapshot = CatalogSnapshot { version: CatalogVersion(version.0), ..edited };
                    tracing::info!(version = version.0, objects = snapshot.all().count(), "catalog changed");
                    return Ok(self.install(snapshot));
                }
                Err(StorageError::DocumentConflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CatalogError::Conflict)
    }

    async fn read_latest(&self) -> Result<(), CatalogError> {
        if let Some((version, content)) = self.documents.latest().await? {
            let snapshot = stored::decode(&content, CatalogVersion(version.0), &self.snapshot())?;
            self.install(snapshot);
        }
        Ok(())
    }

    fn install(&self, snapshot: CatalogSnapshot) -> Arc<CatalogSnapshot> {
        let mut current = self.current.write();
        if current.version < snapshot.version {
            *current = Arc::new(snapshot);
        }
        current.clone()
    }
}

/// The snapshot after the edits, checked as a whole.
fn edited(base: &CatalogSnapshot, edits: Vec<Edit>) -> Result<CatalogSnapshot, CatalogError> {
    let mut next = base.clone();
    for edit in edits {
        match edit {
            Edit::Put(object) => {
                let namespace = if object.kind.is_relation() { &mut next.relations } else { &mut next.endpoints };
                namespace.insert(object.name.clone(), Arc::new(object));
            }
            Edit::Remove(kind, name) => {
                next.object(kind, &name)?;
                let namespace = if kind.is_relation() { &mut next.relations } else { &mut next.endpoints };
                namespace.remove(&name);
            }
        }
    }
    next.check()?;
    Ok(next)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
