//! Small versioned documents with compare-and-swap: create-if-absent of the next version.
use super::StorageError;
use bytes::Bytes;
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentVersion(pub u64);
#[derive(Clone, Debug)]
pub struct Documents {}
impl Documents {
    /// The newest version and its content; `None` when nothing was ever put.
    pub async fn latest(&self) -> Result<Option<(DocumentVersion, Bytes)>, StorageError> {
        todo!()
    }
    /// The version after `known`, if somebody has put one; cheap (used for polling).
    pub async fn newer_than(&self, _known: DocumentVersion) -> Result<Option<(DocumentVersion, Bytes)>, StorageError> {
        todo!()
    }
    /// Stores `content` as the version after `base` (`DocumentVersion(0)` = nothing yet). `DocumentConflict` when it exists already.
    pub async fn put_after(&self, _base: DocumentVersion, _content: Bytes) -> Result<DocumentVersion, StorageError> {
        todo!()
    }
}
