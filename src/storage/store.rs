//! The lake's object store, in the two shapes its readers need.
//!
//! ```text
//! root store   whole file system, or bucket     + file:///data/lake/tables/clicks/  ─► delta-rs log store
//! lake store   root store below the location    + tables/clicks/part-….parquet      ─► everything of ours, plans
//! ```

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake_core::logstore::{LogStoreRef, StorageConfig as DeltaStorageConfig, default_logstore};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::read_only::{ReadOnly, ReadOnlyStore};
use super::{LakeLocation, S3Config, StorageError};

/// How long requests to a bucket are repeated before the error is given to the caller.
const S3_RETRY_SPAN: Duration = Duration::from_secs(30);
const S3_RETRIES_MAX: usize = 6;
const S3_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const S3_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The URL under which plans find the lake's files.
const PLAN_URL: &str = "adlake://lake";

/// The stores of one lake. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LakeStore {
    root: Arc<dyn ObjectStore>,
    /// Location of the lake within `root`, ending with `/`.
    url: Url,
    /// Paths are relative to the lake.
    lake: Arc<dyn ObjectStore>,
}

impl LakeStore {
    /// Opens the location; a folder is made when it is absent.
    pub(crate) fn open(location: &LakeLocation, s3: &S3Config) -> Result<Self, StorageError> {
        match location {
            LakeLocation::Folder(path) => Self::open_folder(path),
            LakeLocation::S3 { bucket, prefix } => {
                let root: Arc<dyn ObjectStore> = Arc::new(bucket_store(bucket, s3)?);
                let url = Url::parse(&format!("s3://{bucket}/")).and_then(|url| match prefix.as_str() {
                    "" => Ok(url),
                    prefix => url.join(&format!("{prefix}/")),
                });
                let url = url.map_err(|error| StorageError::BadLocation {
                    location: location.to_string(),
                    reason: error.to_string(),
                })?;
                let lake = Arc::new(PrefixStore::new(root.clone(), Path::from(prefix.as_str())));
                Ok(Self { root, url, lake })
            }
        }
    }

    /// The same stores, refusing every change.
    pub(crate) fn read_only(self, reason: &ReadOnly) -> Self {
        let wrap = |inner| Arc::new(ReadOnlyStore::new(inner, reason.clone())) as Arc<dyn ObjectStore>;
        Self { root: wrap(self.root), url: self.url, lake: wrap(self.lake) }
    }

    fn open_folder(path: &FilePath) -> Result<Self, StorageError> {
        let absolute = make_folder(path)?;
        let action = || format!("open the lake at '{}'", path.display());
        let url = Url::from_directory_path(&absolute).map_err(|()| StorageError::BadLocation {
            location: path.display().to_string(),
            reason: "its path cannot be written as a URL".to_owned(),
        })?;
        let lake = LocalFileSystem::new_with_prefix(&absolute).map_err(|error| StorageError::store(action(), error))?;
        Ok(Self { root: Arc::new(LocalFileSystem::new()), url, lake: Arc::new(lake) })
    }

    /// The store whose paths are relative to the lake: `tables/clicks/…`.
    pub(crate) fn lake(&self) -> &Arc<dyn ObjectStore> {
        &self.lake
    }

    /// The URL under which a plan's runtime knows [`LakeStore::lake`].
    #[expect(clippy::expect_used, reason = "a constant, parsed in a test")]
    pub(crate) fn plan_url() -> ObjectStoreUrl {
        ObjectStoreUrl::parse(PLAN_URL).expect("PLAN_URL is a scheme and a host")
    }

    /// delta-rs's view of the table in `folder` (`tables/clicks`), over the same connections.
    pub(crate) fn log_store(&self, folder: &str) -> Result<LogStoreRef, StorageError> {
        let url = self.url.join(&format!("{folder}/")).map_err(|error| StorageError::Invalid {
            message: format!("'{folder}' cannot be a table's folder: {error}"),
        })?;
        let table = Arc::new(PrefixStore::new(self.lake.clone(), Path::from(folder)));
        Ok(default_logstore(table, self.root.clone(), &url, &DeltaStorageConfig::default()))
    }
}

/// A bucket as configured. Nothing is contacted yet.
pub(crate) fn bucket_store(bucket: &str, s3: &S3Config) -> Result<AmazonS3, StorageError> {
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: S3_RETRIES_MAX, retry_timeout: S3_RETRY_SPAN };
    let client = ClientOptions::new()
        .with_connect_timeout(S3_CONNECT_TIMEOUT)
        .with_timeout(S3_REQUEST_TIMEOUT)
        .with_allow_http(s3.allow_http);
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket).with_retry(retry).with_client_options(client);
    if !s3.endpoint.is_empty() {
        builder = builder.with_endpoint(&s3.endpoint);
    }
    if !s3.region.is_empty() {
        builder = builder.with_region(&s3.region);
    }
    if !s3.access_key_id.is_empty() {
        builder =
            builder.with_access_key_id(s3.access_key_id.expose()).with_secret_access_key(s3.secret_access_key.expose());
    }
    builder.build().map_err(|error| StorageError::store(format!("connect to bucket '{bucket}'"), error))
}

/// Makes the folder when it is absent and gives its absolute path.
fn make_folder(path: &FilePath) -> Result<PathBuf, StorageError> {
    let wrong =
        |reason: &str| StorageError::BadLocation { location: path.display().to_string(), reason: reason.to_owned() };
    if path.exists() && !path.is_dir() {
        return Err(wrong("it is a file; give a folder"));
    }
    let action = || format!("make the lake's folder '{}'", path.display());
    match std::fs::create_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(wrong("one of its parents is a file; give a folder"));
        }
        Err(error) => return Err(StorageError::io(action(), error)),
    }
    path.canonicalize().map_err(|error| StorageError::io(action(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_url_is_valid() {
        assert_eq!(LakeStore::plan_url().as_str(), "adlake://lake/");
    }

    #[test]
    fn a_lake_that_is_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lake");
        std::fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = make_folder(&path).unwrap_err().to_string();
            assert!(error.contains("is a file; give a folder"), "{error}");
        }
    }
}
