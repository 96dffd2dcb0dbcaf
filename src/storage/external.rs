//! Files outside the lake that are loaded into it: found by path, glob, `file://` or `s3://`, read as local files.
//!
//! A file on this machine is used in place; one in a bucket is downloaded to a temporary file first, since decoders
//! want to seek and a load reads each file twice (content hash, then rows).

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use glob::{MatchOptions, Pattern};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;
use url::Url;
use uuid::Uuid;

use super::store::bucket_store;
use super::{Locations, S3Config, StorageError};
use crate::base::Timestamp;

const GLOB_CHARACTERS: [char; 3] = ['*', '?', '['];
/// `*` stays within one folder, in file systems and buckets alike.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// One file to load: on this machine or in a bucket.
#[derive(Clone, Debug)]
pub struct ExternalFile {
    /// As shown to users: a path, or `s3://bucket/key`.
    pub path: String,
    pub bytes: u64,
    pub modified_at: Timestamp,
    /// The ETag of an object; empty for a file on this machine.
    pub tag: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Local(PathBuf),
    Bucket { store: Arc<dyn ObjectStore>, key: Path },
}

/// A readable local file; a temporary one is deleted when this is dropped.
#[derive(Debug)]
pub struct LocalFile {
    pub path: PathBuf,
    temporary: bool,
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "temporary download not deleted");
        }
    }
}

impl ExternalFile {
    /// A local copy to read from: the file itself, or a temporary download that lives as long as the guard.
    pub async fn local(&self) -> Result<LocalFile, StorageError> {
        match &self.source {
            Source::Local(path) => Ok(LocalFile { path: path.clone(), temporary: false }),
            Source::Bucket { store, key } => self.download(store.as_ref(), key).await,
        }
    }

    /// The file, when it lies in `locations` wherever links lead; a link that changes later is not followed.
    pub(super) fn confined(self, locations: &Locations) -> Result<Self, StorageError> {
        match &self.source {
            // Objects are where their keys say.
            Source::Bucket { .. } => Ok(self),
            Source::Local(path) => {
                let out_of_reach = || StorageError::OutOfReach { place: self.path.clone() };
                let real = path.canonicalize().map_err(|_| out_of_reach())?;
                match locations.holds_file(&real) {
                    true => Ok(Self { source: Source::Local(real), ..self }),
                    false => Err(out_of_reach()),
                }
            }
        }
    }

    async fn download(&self, store: &dyn ObjectStore, key: &Path) -> Result<LocalFile, StorageError> {
        let action = || format!("download '{}'", self.path);
        // The name keeps the extensions, by which decoders are chosen.
        let name = format!("adlake-{}-{}", Uuid::new_v4(), key.filename().unwrap_or("file"));
        let local = LocalFile { path: std::env::temp_dir().join(name), temporary: true };
        let mut target =
            tokio::fs::File::create_new(&local.path).await.map_err(|error| StorageError::io(action(), error))?;
        let mut chunks = store.get(key).await.map_err(|error| StorageError::store(action(), error))?.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| StorageError::store(action(), error))?;
            target.write_all(&chunk).await.map_err(|error| StorageError::io(action(), error))?;
        }
        target.flush().await.map_err(|error| StorageError::io(action(), error))?;
        Ok(local)
    }
}

/// Files in the folder, below the prefix or matching the pattern `place`, sorted by path; perhaps none.
///
/// # Errors
/// A folder that does not exist.
pub(crate) async fn list_place(place: &str, s3: &S3Config) -> Result<Vec<ExternalFile>, StorageError> {
    let pattern = match place.split_once("://") {
        Some(("file", _)) => local_path(place)?.to_string_lossy().into_owned(),
        _ => place.to_owned(),
    };
    let pattern = match pattern.contains(GLOB_CHARACTERS) && !FilePath::new(&pattern).is_dir() {
        true => pattern,
        false if pattern.contains("://") => format!("{}/*", pattern.trim_end_matches('/')),
        false if FilePath::new(&pattern).is_dir() => {
            format!("{}/*", Pattern::escape(pattern.trim_end_matches('/')))
        }
        false => return Err(StorageError::FileNotFound { path: place.to_owned() }),
    };
    match list(&pattern, s3).await {
        Err(StorageError::FileNotFound { .. }) => Ok(Vec::new()),
        listed => listed,
    }
}

pub(super) fn local_path(url: &str) -> Result<PathBuf, StorageError> {
    let path = Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
    path.ok_or_else(|| invalid(format!("'{url}' is not a file URL; write file:///path")))
}

/// The part of a place before its first glob character, up to a whole folder.
pub(crate) fn fixed_part(place: &str) -> &str {
    match place.find(GLOB_CHARACTERS) {
        Some(at) => place[..at].rsplit_once('/').map_or("", |(folder, _)| folder),
        None => place,
    }
}

/// Files matching a path, glob, `file://` or `s3://bucket/prefix*` pattern, sorted by path. At least one.
pub(crate) async fn list(pattern: &str, s3: &S3Config) -> Result<Vec<ExternalFile>, StorageError> {
    let mut files = match pattern.split_once("://") {
        Some(("s3", rest)) => list_bucket(pattern, rest, s3).await?,
        Some(("file", _)) => list_local(&local_path(pattern)?.to_string_lossy())?,
        Some((scheme, _)) => {
            return Err(invalid(format!(
                "cannot read '{pattern}': scheme '{scheme}' is not supported; use a path, file:// or s3://"
            )));
        }
        None => list_local(pattern)?,
    };
    if files.is_empty() {
        return Err(StorageError::FileNotFound { path: pattern.to_owned() });
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn invalid(message: String) -> StorageError {
    StorageError::Invalid { message }
}

fn list_local(pattern: &str) -> Result<Vec<ExternalFile>, StorageError> {
    if pattern.is_empty() {
        return Err(invalid("the path of the file to load is empty".to_owned()));
    }
    // A file whose name has glob characters is meant literally.
    let literal = FilePath::new(pattern);
    if literal.exists() || !pattern.contains(GLOB_CHARACTERS) {
        return local_file(literal).map(|file| vec![file]);
    }
    let paths = glob::glob_with(pattern, MATCHING)
        .map_err(|error| invalid(format!("'{pattern}' is not a valid pattern: {error}")))?;
    let mut files = Vec::new();
    for path in paths {
        let path =
            path.map_err(|error| StorageError::io(format!("read folder '{}'", error.path().display()), error.into()))?;
        if path.is_file() {
            files.push(local_file(&path)?);
        }
    }
    Ok(files)
}

fn local_file(path: &FilePath) -> Result<ExternalFile, StorageError> {
    let shown = path.display().to_string();
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StorageError::FileNotFound { path: shown });
        }
        Err(error) => return Err(StorageError::io(format!("read '{shown}'"), error)),
    };
    if about.is_dir() {
        return Err(invalid(format!("'{shown}' is a folder; name its files, such as '{shown}/*.parquet'")));
    }
    let modified = about.modified().map_err(|error| StorageError::io(format!("read '{shown}'"), error))?;
    let modified_at = Timestamp(chrono::DateTime::<chrono::Utc>::from(modified).timestamp_micros());
    let source = Source::Local(path.to_owned());
    Ok(ExternalFile { path: shown, bytes: about.len(), modified_at, tag: String::new(), source })
}

async fn list_bucket(pattern: &str, rest: &str, s3: &S3Config) -> Result<Vec<ExternalFile>, StorageError> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() || key.is_empty() {
        return Err(invalid(format!("'{pattern}' names no files; write s3://bucket/path/file or s3://bucket/path/*")));
    }
    let store: Arc<dyn ObjectStore> = Arc::new(bucket_store(bucket, s3)?);
    let file = |about: ObjectMeta| ExternalFile {
        path: format!("s3://{bucket}/{}", about.location),
        bytes: about.size,
        modified_at: Timestamp(about.last_modified.timestamp_micros()),
        // Without one, time and size have to do; the object is whole all the same.
        tag: about.e_tag.unwrap_or_else(|| "none".to_owned()),
        source: Source::Bucket { store: store.clone(), key: about.location },
    };
    if !key.contains(GLOB_CHARACTERS) {
        let key = Path::from(key);
        return match store.head(&key).await {
            Ok(about) => Ok(vec![file(about)]),
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(StorageError::store(format!("read '{pattern}'"), error)),
        };
    }
    let matcher = Pattern::new(key).map_err(|error| invalid(format!("'{pattern}' is not a valid pattern: {error}")))?;
    let fixed = key.find(GLOB_CHARACTERS).map_or(key, |at| &key[..at]);
    let folder = fixed.rsplit_once('/').map(|(folder, _)| Path::from(folder));
    let found: Vec<_> = store
        .list(folder.as_ref())
        .try_collect()
        .await
        .map_err(|error| StorageError::store(format!("list '{pattern}'"), error))?;
    let matching = found.into_iter().filter(|about| matcher.matches_with(about.location.as_ref(), MATCHING));
    Ok(matching.map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config_value::Secret;

    fn no_s3() -> S3Config {
        S3Config {
            endpoint: String::new(),
            region: String::new(),
            access_key_id: Secret::default(),
            secret_access_key: Secret::default(),
            allow_http: false,
        }
    }

    async fn names(pattern: String) -> Result<Vec<String>, String> {
        let files = list(&pattern, &no_s3()).await.map_err(|error| error.to_string())?;
        Ok(files.iter().map(|file| file.path.rsplit('/').next().unwrap().to_owned()).collect())
    }

    #[tokio::test]
    async fn finds_paths_globs_and_urls() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "odd[1].csv", "c.txt"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let at = |name: &str| format!("{}/{name}", folder.path().display());
        assert_eq!(names(at("*.csv")).await.unwrap(), ["a.csv", "b.csv", "odd[1].csv"]);
        assert_eq!(names(at("odd[1].csv")).await.unwrap(), ["odd[1].csv"]);
        assert_eq!(names(format!("file://{}", at("c.txt"))).await.unwrap(), ["c.txt"]);
        let file = &list(&at("a.csv"), &no_s3()).await.unwrap()[0];
        assert_eq!((file.bytes, file.local().await.unwrap().path.clone()), (5, PathBuf::from(at("a.csv"))));
        assert!(std::fs::exists(at("a.csv")).unwrap(), "a file used in place must survive its guard");
    }

    #[tokio::test]
    async fn a_place_may_be_empty_but_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}/{name}", folder.path().display());
        std::fs::create_dir_all(at("in[1]/deep")).unwrap();
        assert!(list_place(&at("in[1]"), &no_s3()).await.unwrap().is_empty());
        std::fs::write(at("in[1]/a.csv"), "x").unwrap();
        std::fs::write(at("in[1]/deep/b.csv"), "x").unwrap();
        let files = list_place(&at("in[1]/"), &no_s3()).await.unwrap();
        assert_eq!(files.len(), 1);
        assert!(files[0].path.ends_with("in[1]/a.csv") && files[0].modified_at > Timestamp(0), "{files:?}");
        assert_eq!(list_place(&format!("file://{}", at("in%5B1%5D")), &no_s3()).await.unwrap().len(), 1);
        assert_eq!(list_place(&at("*/**/*.csv"), &no_s3()).await.unwrap().len(), 2);
        assert!(list_place(&at("none"), &no_s3()).await.unwrap_err().to_string().contains("not found"));
        assert_eq!((fixed_part("a/b/c*.csv"), fixed_part("a/b"), fixed_part("*.csv")), ("a/b", "a/b", ""));
    }

    #[tokio::test]
    async fn wrong_patterns_say_what_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}/{name}", folder.path().display());
        assert!(names(at("none.csv")).await.unwrap_err().ends_with("not found"));
        assert!(names(at("*.csv")).await.unwrap_err().ends_with("not found"));
        assert!(names(at("")).await.unwrap_err().contains("is a folder"));
        assert!(names("http://x/y".to_owned()).await.unwrap_err().contains("not supported"));
        assert!(names("s3://bucket".to_owned()).await.unwrap_err().contains("names no files"));
    }
}
