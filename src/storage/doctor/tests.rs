//! Stores that do not do what a lake needs are found out.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::*;
use crate::base::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// "Create if absent" is taken for "write".
    CreateOverwrites,
    /// New objects are not listed.
    ListsLate,
    DeleteDenied,
    NoMultipart,
}

#[derive(Debug)]
struct Flawed {
    inner: InMemory,
    flaw: Flaw,
}

impl fmt::Display for Flawed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flawed({:?})", self.flaw)
    }
}

fn denied(path: &Path) -> Error {
    Error::PermissionDenied { path: path.to_string(), source: "AccessDenied".into() }
}

#[async_trait]
impl ObjectStore for Flawed {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let options = if self.flaw == Flaw::CreateOverwrites { PutOptions::default() } else { options };
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        match self.flaw {
            Flaw::NoMultipart => Err(denied(path)),
            _ => self.inner.put_multipart_opts(path, options).await,
        }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.flaw {
            Flaw::DeleteDenied => paths.map(|path| path.and_then(|path| Err(denied(&path)))).boxed(),
            _ => self.inner.delete_stream(paths),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.flaw {
            Flaw::ListsLate => futures::stream::empty().boxed(),
            _ => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// What is not well, by name; and what to do.
async fn complaints(flaw: Flaw) -> Vec<(&'static str, Verdict, String)> {
    let store: Arc<dyn ObjectStore> = Arc::new(Flawed { inner: InMemory::new(), flaw });
    let probe = Path::from("_doctor/test");
    let mut checks = ask(&store, &probe, &Clock::system()).await;
    checks.extend(clean(&store, &probe).await);
    checks.retain(|check| check.verdict != Verdict::Ok);
    checks.into_iter().map(|check| (check.name, check.verdict, format!("{} → {}", check.detail, check.fix))).collect()
}

#[tokio::test]
async fn a_sound_store_passes_and_is_left_clean() {
    assert_eq!(complaints(Flaw::None).await, []);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let probe = Path::from("_doctor/test");
    ask(&store, &probe, &Clock::system()).await;
    assert!(store.list(None).next().await.is_some(), "the probe wrote something");
    assert_eq!(clean(&store, &probe).await, None);
    assert!(store.list(None).next().await.is_none());
}

#[tokio::test]
async fn a_store_that_overwrites_is_no_place_for_a_lake() {
    let found = complaints(Flaw::CreateOverwrites).await;
    let [("create if absent", Verdict::Fail, text)] = &found[..] else { panic!("{found:?}") };
    assert!(text.starts_with("16 of 16 writers were told that they won (round 1 of 20)"), "{text}");
}

#[tokio::test]
async fn late_listings_are_seen() {
    let found = complaints(Flaw::ListsLate).await;
    let [("consistency", Verdict::Fail, text)] = &found[..] else { panic!("{found:?}") };
    assert!(text.starts_with("a listing after a write does not show the object"), "{text}");
}

#[tokio::test]
async fn missing_permissions_are_named() {
    let found = complaints(Flaw::DeleteDenied).await;
    let names: Vec<_> = found.iter().map(|(name, verdict, _)| (*name, *verdict)).collect();
    assert_eq!(names, [("delete", Verdict::Fail), ("clean up", Verdict::Warn)]);
    assert!(found[0].2.contains("allow s3:DeleteObject"), "{}", found[0].2);
    let found = complaints(Flaw::NoMultipart).await;
    let [("multipart upload", Verdict::Fail, text)] = &found[..] else { panic!("{found:?}") };
    assert!(text.contains("s3:AbortMultipartUpload"), "{text}");
}

#[tokio::test]
async fn a_clock_far_off_fails() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let long_ago = Clock::manual(Timestamp(1_000_000_000_000_000));
    let checks = ask(&store, &Path::from("_doctor/test"), &long_ago).await;
    let clock = checks.iter().find(|check| check.name == "clock").unwrap();
    assert_eq!(clock.verdict, Verdict::Fail);
    assert!(clock.detail.contains("ahead of this machine's"), "{}", clock.detail);
}
