//! The catalog's one document: a followed one ([`Followed`]), changed by edits that are checked together.

use std::sync::Arc;

use super::snapshot::{CatalogSnapshot, CatalogVersion};
use super::{CatalogError, Object, ObjectKind, stored};
use crate::base::Clock;
use crate::storage::{DocumentVersion, Followable, Followed, Lake};

/// The document below the lake.
const DOCUMENT: &str = "catalog";

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
    document: Followed<CatalogSnapshot>,
    clock: Clock,
}

impl Followable for CatalogSnapshot {
    type Error = CatalogError;

    fn version(&self) -> DocumentVersion {
        DocumentVersion(self.version.0)
    }

    fn at(self, version: DocumentVersion) -> Self {
        Self { version: CatalogVersion(version.0), ..self }
    }

    fn encode(&self) -> Result<Vec<u8>, CatalogError> {
        stored::encode(self)
    }

    fn decode(content: &[u8], version: DocumentVersion, before: &Self) -> Result<Self, CatalogError> {
        stored::decode(content, CatalogVersion(version.0), before)
    }

    fn conflict() -> CatalogError {
        CatalogError::Conflict
    }
}

impl Catalog {
    /// Reads the newest version.
    pub async fn open(lake: &Lake, clock: Clock) -> Result<Arc<Catalog>, CatalogError> {
        Ok(Arc::new(Catalog { document: Followed::open(lake.documents(DOCUMENT)).await?, clock }))
    }

    /// The newest snapshot known here, without I/O.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.document.snapshot()
    }

    /// The clock objects get their times from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Looks for newer versions put by other processes; cheap when there is none (`jobs.rs` does it all the time).
    pub async fn refresh(&self) -> Result<Arc<CatalogSnapshot>, CatalogError> {
        self.document.refresh().await
    }

    /// Applies all edits as one version, or none. `decide` sees the newest snapshot and is called again after a lost race;
    /// it validates (exists, readers) and returns the edits; none at all leaves the version alone. What must hold of all
    /// objects together ([`CatalogSnapshot::check`]: cycles, paths, names that are read) is checked here.
    pub async fn edit<F>(&self, decide: F) -> Result<Arc<CatalogSnapshot>, CatalogError>
    where
        F: Fn(&CatalogSnapshot) -> Result<Vec<Edit>, CatalogError> + Send + Sync,
    {
        let next = |base: &CatalogSnapshot| {
            let edits = decide(base)?;
            if edits.is_empty() { Ok(None) } else { edited(base, edits).map(Some) }
        };
        let told = |put: &CatalogSnapshot| {
            tracing::info!(version = put.version.0, objects = put.all().count(), "catalog changed");
        };
        self.document.edit(next, told).await
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
