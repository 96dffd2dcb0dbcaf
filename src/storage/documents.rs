//! Small versioned documents with compare-and-swap: whoever creates the file of the next version first has changed it.
//!
//! ```text
//! documents/<name>/00000000000000000007.json      first line: {"put":"<unique id>"}, then the content
//! ```
//!
//! A PUT can land although its answer is an error (or "exists already", when the client repeated it by itself). So
//! on every error the version is read back, and the unique id tells whether it is ours.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StorageError;

/// Versions of a document that stay readable, unless [`Documents::keeping`] says otherwise.
const VERSIONS_KEPT: u64 = 100;
/// A newest version may be pruned between listing and reading; each further look needs as many more puts in between.
const LOOKS_MAX: usize = 5;

/// A document's version; 0 = nothing was ever put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentVersion(pub u64);

/// One named document. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Documents {
    store: Arc<dyn ObjectStore>,
    name: String,
    /// Versions that stay readable.
    kept: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// Unique per put, so that a writer recognises its own file.
    put: Uuid,
}

impl Documents {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, name: &str) -> Self {
        Self { store, name: name.to_owned(), kept: VERSIONS_KEPT }
    }

    /// The same document, keeping other than 100 versions.
    pub(crate) fn keeping(self, kept: u64) -> Self {
        Self { kept, ..self }
    }

    /// The newest version and its content; `None` when nothing was ever put.
    pub async fn latest(&self) -> Result<Option<(DocumentVersion, Bytes)>, StorageError> {
        for _ in 0..LOOKS_MAX {
            let Some(version) = self.newest_version().await? else { return Ok(None) };
            if let Some((_, content)) = self.read(version).await? {
                return Ok(Some((version, content)));
            }
        }
        Err(StorageError::DocumentConflict { name: self.name.clone() })
    }

    /// The newest version, if it is newer than `known`; one small request when nothing changed (used for polling).
    pub async fn newer_than(&self, known: DocumentVersion) -> Result<Option<(DocumentVersion, Bytes)>, StorageError> {
        let next_exists = self.exists(DocumentVersion(known.0 + 1)).await?;
        // The next one may be pruned already; then the known one is, too.
        if !next_exists && known.0 > 0 && self.exists(known).await? {
            return Ok(None);
        }
        Ok(self.latest().await?.filter(|(version, _)| *version > known))
    }

    /// Stores `content` as the version after `base` (`DocumentVersion(0)` = nothing yet). `DocumentConflict` when it
    /// exists already.
    pub async fn put_after(&self, base: DocumentVersion, content: Bytes) -> Result<DocumentVersion, StorageError> {
        let version = DocumentVersion(base.0 + 1);
        let put = Uuid::new_v4();
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let payload = self.encode(put, &content)?;
        if let Err(error) = self.store.put_opts(&self.path(version), payload, options).await {
            let landed = self.read(version).await;
            match (landed, error) {
                (Ok(Some((stored, _))), _) if stored == put => {}
                (_, object_store::Error::AlreadyExists { .. }) | (Ok(Some(_)), _) => {
                    return Err(StorageError::DocumentConflict { name: self.name.clone() });
                }
                (_, error) => return Err(StorageError::store(format!("write document '{}'", self.name), error)),
            }
        }
        self.prune(version).await;
        Ok(version)
    }

    /// Deletes the version that fell out of the kept ones; a failure only leaves a small file.
    async fn prune(&self, newest: DocumentVersion) {
        let Some(old) = newest.0.checked_sub(self.kept).filter(|old| *old > 0) else { return };
        match self.store.delete(&self.path(DocumentVersion(old))).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => tracing::warn!(document = %self.name, version = old, %error, "old version not deleted"),
        }
    }

    fn folder(&self) -> Path {
        Path::from(format!("documents/{}", self.name))
    }

    fn path(&self, version: DocumentVersion) -> Path {
        Path::from(format!("documents/{}/{:020}.json", self.name, version.0))
    }

    async fn newest_version(&self) -> Result<Option<DocumentVersion>, StorageError> {
        let files: Vec<_> = self
            .store
            .list(Some(&self.folder()))
            .try_collect()
            .await
            .map_err(|error| StorageError::store(format!("list versions of document '{}'", self.name), error))?;
        let versions = files.iter().filter_map(|file| {
            let stem = file.location.filename()?.strip_suffix(".json")?;
            (stem.len() == 20).then(|| stem.parse().ok()).flatten().map(DocumentVersion)
        });
        Ok(versions.max())
    }

    async fn exists(&self, version: DocumentVersion) -> Result<bool, StorageError> {
        match self.store.head(&self.path(version)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(StorageError::store(format!("look for document '{}'", self.name), error)),
        }
    }

    async fn read(&self, version: DocumentVersion) -> Result<Option<(Uuid, Bytes)>, StorageError> {
        let action = || format!("read document '{}'", self.name);
        let found = match self.store.get(&self.path(version)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(StorageError::store(action(), error)),
        };
        let bytes = found.bytes().await.map_err(|error| StorageError::store(action(), error))?;
        self.decode(version, &bytes).map(Some)
    }

    fn encode(&self, put: Uuid, content: &Bytes) -> Result<PutPayload, StorageError> {
        let mut header = serde_json::to_vec(&Header { put }).map_err(|error| StorageError::Invalid {
            message: format!("cannot write document '{}': {error}", self.name),
        })?;
        header.push(b'\n');
        Ok([Bytes::from(header), content.clone()].into_iter().collect())
    }

    fn decode(&self, version: DocumentVersion, bytes: &Bytes) -> Result<(Uuid, Bytes), StorageError> {
        let parsed = bytes.iter().position(|byte| *byte == b'\n').and_then(|end| {
            let header: Header = serde_json::from_slice(&bytes[..end]).ok()?;
            Some((header.put, bytes.slice(end + 1..)))
        });
        parsed.ok_or_else(|| StorageError::Damaged {
            message: format!("version {} of document '{}' has no readable first line", version.0, self.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn documents() -> Documents {
        Documents::new(Arc::new(InMemory::new()), "catalog")
    }

    #[tokio::test]
    async fn of_two_writers_one_wins() {
        let documents = documents();
        assert_eq!(documents.latest().await.unwrap(), None);
        let first = documents.put_after(DocumentVersion(0), Bytes::from_static(b"a")).await.unwrap();
        assert_eq!(first, DocumentVersion(1));
        let lost = documents.put_after(DocumentVersion(0), Bytes::from_static(b"b")).await.unwrap_err();
        assert!(matches!(lost, StorageError::DocumentConflict { .. }), "{lost}");
        assert_eq!(documents.latest().await.unwrap(), Some((first, Bytes::from_static(b"a"))));
    }

    #[tokio::test]
    async fn followers_see_newer_versions_even_after_pruning() {
        let documents = documents();
        let content = |n: u64| Bytes::from(n.to_string());
        let mut version = DocumentVersion(0);
        for n in 1..=250 {
            version = documents.put_after(version, content(n)).await.unwrap();
        }
        let newest = Some((DocumentVersion(250), content(250)));
        for known in [0, 1, 149, 150, 249] {
            assert_eq!(documents.newer_than(DocumentVersion(known)).await.unwrap(), newest, "known {known}");
        }
        assert_eq!(documents.newer_than(version).await.unwrap(), None);
        let kept: Vec<_> = documents.store.list(None).try_collect().await.unwrap();
        assert_eq!(kept.len(), 100);
    }
}
