//! A store that refuses to change anything: what a read replica reads through, so that no code path can write by mistake.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Why nothing is written here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this server is read-only; write at {write_at}")]
pub(crate) struct ReadOnly {
    /// The address of a server that writes, or how to find one.
    pub write_at: Arc<str>,
}

/// Reads from `inner`; refuses the rest with [`ReadOnly`].
#[derive(Debug)]
pub(crate) struct ReadOnlyStore {
    inner: Arc<dyn ObjectStore>,
    reason: ReadOnly,
}

impl ReadOnlyStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, reason: ReadOnly) -> Self {
        Self { inner, reason }
    }

    fn refusal(&self, path: &Path) -> Error {
        Error::PermissionDenied { path: path.to_string(), source: Box::new(self.reason.clone()) }
    }
}

impl fmt::Display for ReadOnlyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadOnly({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for ReadOnlyStore {
    async fn put_opts(&self, path: &Path, _payload: PutPayload, _options: PutOptions) -> Result<PutResult> {
        Err(self.refusal(path))
    }

    async fn put_multipart_opts(&self, path: &Path, _options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(self.refusal(path))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let reason = self.reason.clone();
        let refuse =
            move |path: Path| Error::PermissionDenied { path: path.to_string(), source: Box::new(reason.clone()) };
        paths.map(move |path| path.and_then(|path| Err(refuse(path)))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _from: &Path, to: &Path, _options: CopyOptions) -> Result<()> {
        Err(self.refusal(to))
    }
}
