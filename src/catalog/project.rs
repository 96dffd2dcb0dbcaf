//! `sql/`: one object per file, file name = object name.
use super::{CatalogError, Create};
use std::path::{Path, PathBuf};
#[derive(Clone, Debug)]
pub struct SourceFile {
    pub path: PathBuf,
    pub create: Create,
}
/// Reads `tables/ views/ materialized/ endpoints/` below `dir`, in that order.
pub fn load_project(_dir: &Path) -> Result<Vec<SourceFile>, CatalogError> {
    todo!()
}
