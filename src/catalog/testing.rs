//! Snapshots for tests, made from texts.

use std::sync::Arc;

use super::{CatalogSnapshot, Create, Object, Statement, parse_statement};
use crate::base::Timestamp;

pub fn create(sql: &str) -> Create {
    match parse_statement(sql) {
        Ok(Statement::Create(create)) => *create,
        other => panic!("not a CREATE: {sql}: {other:?}"),
    }
}

pub fn snapshot(texts: &[&str]) -> CatalogSnapshot {
    let mut snapshot = CatalogSnapshot::default();
    for text in texts {
        let object = Object::new(create(text), None, Timestamp(0));
        let namespace = if object.kind.is_relation() { &mut snapshot.relations } else { &mut snapshot.endpoints };
        namespace.insert(object.name.clone(), Arc::new(object));
    }
    snapshot
}
