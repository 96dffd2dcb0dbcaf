//! The catalog's one document: load, follow, change by compare-and-swap.
use super::{CatalogError, Object, ObjectKind};
use crate::base::Clock;
use crate::storage::Lake;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogVersion(pub u64);
/// All objects at one version, immutable.
#[derive(Clone, Debug, Default)]
pub struct CatalogSnapshot {
    pub version: CatalogVersion,
    pub relations: BTreeMap<String, Arc<Object>>,
    pub endpoints: BTreeMap<String, Arc<Object>>,
}
impl CatalogSnapshot {
    pub fn relation(&self, _name: &str) -> Result<&Arc<Object>, CatalogError> {
        todo!()
    }
    pub fn endpoint(&self, _name: &str) -> Result<&Arc<Object>, CatalogError> {
        todo!()
    }
    pub fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.relations.values().chain(self.endpoints.values())
    }
    /// Relations whose queries read `name`, directly.
    pub fn readers_of(&self, _name: &str) -> Vec<Arc<Object>> {
        todo!()
    }
}
/// One change to the set of objects.
#[derive(Clone, Debug)]
pub enum Edit {
    Put(Object),
    Remove(ObjectKind, String),
}
#[derive(Debug)]
pub struct Catalog {}
impl Catalog {
    pub async fn open(_lake: &Lake, _clock: Clock) -> Result<Arc<Catalog>, CatalogError> {
        todo!()
    }
    /// The newest snapshot known here, without I/O.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        todo!()
    }
    /// Looks for newer versions put by other processes.
    pub async fn refresh(&self) -> Result<Arc<CatalogSnapshot>, CatalogError> {
        todo!()
    }
    /// Applies all edits as one version, or none. `decide` sees the newest snapshot and is called again after a lost race;
    /// it validates (exists, cycles, readers) and returns the edits.
    pub async fn edit<F>(&self, _decide: F) -> Result<Arc<CatalogSnapshot>, CatalogError>
    where
        F: Fn(&CatalogSnapshot) -> Result<Vec<Edit>, CatalogError> + Send + Sync,
    {
        todo!()
    }
}
