//! The difference between wanted objects and present ones, in an order that can be applied.
use super::{CatalogError, CatalogSnapshot, Create, Object, ObjectKind};
use std::sync::Arc;
#[derive(Clone, Debug)]
pub enum Change {
    Create(Box<Create>),
    Replace {
        before: Arc<Object>,
        after: Box<Create>,
    },
    /** a table gains columns */
    Widen {
        before: Arc<Object>,
        after: Box<Create>,
    },
    Drop {
        kind: ObjectKind,
        object: Arc<Object>,
    },
}
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub unchanged: usize,
}
/// Compares; pure. Errors name what cannot be changed in place (a table's column type) and cycles.
pub fn plan(_current: &CatalogSnapshot, _wanted: Vec<Create>) -> Result<Plan, CatalogError> {
    todo!()
}
