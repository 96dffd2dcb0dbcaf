//! A document that is kept in memory as one snapshot: load, follow, change by compare-and-swap.
//!
//! ```text
//! edit: newest snapshot ─► decide(snapshot) ─► next ─► put as next version ─┬─► installed
//!          ▲                                                                │
//!          └──────────────── somebody else was first ◄──────────────────────┘
//! ```
//! Invariant: the installed snapshot only moves to newer versions. A document that cannot be read keeps the last one that could.
//!
//! Not here: what is in it (`catalog::store`, `auth::store`).

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{DocumentVersion, Documents, StorageError};

/// How often an edit is tried again after somebody else was first.
const ATTEMPTS_MAX: usize = 20;

/// What a document says at one version; the default is what holds before anything was put.
pub trait Followable: Clone + Default + Send + Sync {
    type Error: From<StorageError>;

    fn version(&self) -> DocumentVersion;

    /// The same at the version it was put as.
    fn at(self, version: DocumentVersion) -> Self;

    /// # Errors
    /// What cannot be written down.
    fn encode(&self) -> Result<Vec<u8>, Self::Error>;

    /// `before` is the last one that could be read.
    ///
    /// # Errors
    /// Content that is not understood to its last field.
    fn decode(content: &[u8], version: DocumentVersion, before: &Self) -> Result<Self, Self::Error>;

    /// Others were always first.
    fn conflict() -> Self::Error;
}

/// One document, shared by everything in this process.
#[derive(Debug)]
pub struct Followed<T> {
    documents: Documents,
    current: RwLock<Arc<T>>,
    /// Edits of this process go one after another: they would only make each other fail.
    editing: tokio::sync::Mutex<()>,
}

impl<T: Followable> Followed<T> {
    /// Reads the newest version.
    ///
    /// # Errors
    /// A document that cannot be read or understood.
    pub async fn open(documents: Documents) -> Result<Self, T::Error> {
        let followed = Self { documents, current: RwLock::default(), editing: tokio::sync::Mutex::default() };
        if let Some((version, content)) = followed.documents.latest().await? {
            followed.take(version, &content)?;
        }
        Ok(followed)
    }

    /// The newest snapshot known here, without I/O.
    pub fn snapshot(&self) -> Arc<T> {
        self.current.read().clone()
    }

    /// Looks for newer versions put by other processes; cheap when there is none.
    ///
    /// # Errors
    /// As [`Followed::open`]; the snapshot stays the last one that could be read.
    pub async fn refresh(&self) -> Result<Arc<T>, T::Error> {
        if let Some((version, content)) = self.documents.newer_than(self.snapshot().version()).await? {
            self.take(version, &content)?;
        }
        Ok(self.snapshot())
    }

    /// Puts what `decide` makes of the newest snapshot as the next version and calls `put` with it. `decide` is called again
    /// after a lost race; `None` leaves the version alone.
    ///
    /// # Errors
    /// Those of `decide`; [`Followable::conflict`] when others are always first.
    pub async fn edit<F>(&self, decide: F, put: fn(&T)) -> Result<Arc<T>, T::Error>
    where
        F: Fn(&T) -> Result<Option<T>, T::Error> + Send + Sync,
    {
        let _turn = self.editing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let base = self.refresh().await?;
            let Some(next) = decide(&base)? else { return Ok(base) };
            let content = Bytes::from(next.encode()?);
            match self.documents.put_after(base.version(), content).await {
                Ok(version) => {
                    let next = next.at(version);
                    put(&next);
                    return Ok(self.install(next));
                }
                Err(StorageError::DocumentConflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(T::conflict())
    }

    fn take(&self, version: DocumentVersion, content: &[u8]) -> Result<(), T::Error> {
        self.install(T::decode(content, version, &self.snapshot())?);
        Ok(())
    }

    fn install(&self, snapshot: T) -> Arc<T> {
        let mut current = self.current.write();
        if current.version() < snapshot.version() {
            *current = Arc::new(snapshot);
        }
        current.clone()
    }
}
