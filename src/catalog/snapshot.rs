//! All objects at one version, and what must hold of them together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lineage::{self, Reads};
use super::{CatalogError, Definition, Object, ObjectKind};
use crate::base::suggestion;

/// Counts changes of the catalog; 0 = nothing was ever defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogVersion(pub u64);

/// All objects at one version, immutable.
#[derive(Clone, Debug, Default)]
pub struct CatalogSnapshot {
    pub version: CatalogVersion,
    /// Tables, views and materialized views.
    pub relations: BTreeMap<String, Arc<Object>>,
    pub endpoints: BTreeMap<String, Arc<Object>>,
}

impl CatalogSnapshot {
    pub fn relation(&self, name: &str) -> Result<&Arc<Object>, CatalogError> {
        self.relations.get(name).ok_or_else(|| not_found("table or view", name, &self.relations))
    }

    pub fn endpoint(&self, name: &str) -> Result<&Arc<Object>, CatalogError> {
        self.endpoints.get(name).ok_or_else(|| not_found("endpoint", name, &self.endpoints))
    }

    /// The object of exactly this kind.
    pub fn object(&self, kind: ObjectKind, name: &str) -> Result<&Arc<Object>, CatalogError> {
        let namespace = self.namespace(kind);
        match namespace.get(name) {
            Some(object) if object.kind == kind => Ok(object),
            Some(object) => Err(CatalogError::NotFound {
                kind: kind.to_string(),
                name: name.to_owned(),
                suggestion: format!("; it is a {}", object.kind),
            }),
            None => Err(not_found(&kind.to_string(), name, namespace)),
        }
    }

    /// Objects among which a name of this kind is unique.
    pub fn namespace(&self, kind: ObjectKind) -> &BTreeMap<String, Arc<Object>> {
        if kind.is_relation() { &self.relations } else { &self.endpoints }
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.relations.values().chain(self.endpoints.values())
    }

    /// Objects whose queries read the relation `name`, directly: relations first, then endpoints, by name.
    pub fn readers_of(&self, name: &str) -> Vec<Arc<Object>> {
        self.all().filter(|object| object.reads.iter().any(|read| read == name)).cloned().collect()
    }

    /// The relation and everything that reads it, directly or through others, readers first: the order to drop them in.
    pub fn with_readers(&self, name: &str) -> Result<Vec<Arc<Object>>, CatalogError> {
        let relation = self.relation(name)?;
        let reads = self.reads();
        let readers = lineage::all_readers(name, &reads);
        let mut names: Vec<&str> = lineage::dependency_order(&reads)?;
        names.retain(|candidate| readers.contains(candidate));
        let affected = |endpoint: &&Arc<Object>| {
            endpoint.reads.iter().any(|read| read == name || readers.contains(&read.as_str()))
        };
        let endpoints = self.endpoints.values().filter(affected).cloned();
        let views = names.iter().rev().filter_map(|name| self.relations.get(*name)).cloned();
        Ok(endpoints.chain(views).chain([relation.clone()]).collect())
    }

    /// The relation called `name` and everything it reads, directly or through others. Names of what is gone are among them.
    pub fn with_all_below<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            if found.insert(name)
                && let Some(object) = self.relations.get(name)
            {
                open.extend(object.reads.iter().map(String::as_str));
            }
        }
        found
    }

    /// What each relation reads.
    pub fn reads(&self) -> Reads<'_> {
        self.relations.iter().map(|(name, object)| (name.as_str(), object.reads.as_slice())).collect()
    }

    /// What must hold of all objects together: no cycles, every path published once, nothing read that is not there.
    pub fn check(&self) -> Result<(), CatalogError> {
        lineage::dependency_order(&self.reads())?;
        for object in self.all() {
            for read in &object.reads {
                self.relation(read)?;
            }
        }
        self.check_paths()
    }

    fn check_paths(&self) -> Result<(), CatalogError> {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for object in self.endpoints.values() {
            let Definition::Endpoint(endpoint) = &object.definition else { continue };
            if let Some(other) = seen.insert(path_shape(&endpoint.path), &object.name) {
                return Err(CatalogError::CannotChange {
                    message: format!(
                        "endpoints '{other}' and '{}' have the same path '{}'",
                        object.name, endpoint.path
                    ),
                });
            }
        }
        Ok(())
    }
}

/// Paths that differ only in the names of parameters answer the same requests.
fn path_shape(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn not_found(kind: &str, name: &str, among: &BTreeMap<String, Arc<Object>>) -> CatalogError {
    CatalogError::NotFound {
        kind: kind.to_owned(),
        name: name.to_owned(),
        suggestion: suggestion(name, among.keys().map(String::as_str)),
    }
}
