//! Stores that lie, lose answers, or are full.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::*;
use crate::base::{Classify, Kind, Tasks};
use crate::storage::lake::check_create_if_absent;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The commit is written, the answer is an error.
    AnswerLost,
    /// The commit is written twice by the client; the second finds the first.
    RepeatedByClient,
    /// Nothing is written, the answer is an error.
    RequestLost,
    /// Nothing works any more, the commit was written.
    GoneAfterWriting,
    /// No space for commits.
    LogFull,
    /// No space for data.
    DataFull,
    /// Told to create only, it overwrites.
    Overwrites,
}

/// The first `count` puts of commits go wrong.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    count: AtomicUsize,
    gone: AtomicUsize,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?})", self.fault)
    }
}

fn network() -> object_store::Error {
    object_store::Error::Generic { store: "test", source: "connection reset".into() }
}

fn full() -> object_store::Error {
    object_store::Error::Generic {
        store: "test",
        source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
    }
}

impl Faulty {
    fn strikes(&self) -> bool {
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_commit = path.as_ref().ends_with(".json");
        if self.fault == Fault::Overwrites {
            return self.inner.put_opts(path, payload, PutOptions::default()).await;
        }
        if self.fault == Fault::DataFull && !is_commit {
            return Err(full());
        }
        if !is_commit || self.fault == Fault::DataFull || !self.strikes() {
            return self.inner.put_opts(path, payload, options).await;
        }
        match self.fault {
            Fault::RequestLost => Err(network()),
            Fault::LogFull | Fault::DataFull | Fault::Overwrites => Err(full()),
            Fault::AnswerLost => {
                self.inner.put_opts(path, payload, options).await?;
                Err(network())
            }
            Fault::RepeatedByClient => {
                self.inner.put_opts(path, payload.clone(), options.clone()).await?;
                self.inner.put_opts(path, payload, options).await
            }
            Fault::GoneAfterWriting => {
                self.inner.put_opts(path, payload, options).await?;
                self.gone.store(1, Ordering::SeqCst);
                Err(network())
            }
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if self.gone.load(Ordering::SeqCst) > 0 {
            return Err(network());
        }
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// The existing table `clicks`, through a store that goes wrong.
async fn through(fixture: &Fixture, fault: Fault, count: usize, remote: bool) -> (Table, Arc<Faulty>) {
    let sound = fixture.lake.create_table(&clicks()).await.unwrap();
    let faulty = Arc::new(Faulty {
        inner: sound.parts.store.clone(),
        fault,
        count: AtomicUsize::new(count),
        gone: AtomicUsize::new(0),
    });
    let parts = TableParts {
        path: sound.parts.path.clone(),
        log_store: sound.parts.log_store.clone(),
        store: faulty.clone(),
        folder: sound.parts.folder.clone(),
        metadata_cache: sound.parts.metadata_cache.clone(),
        remote,
        config: sound.parts.config.clone(),
        clock: sound.parts.clock.clone(),
        tasks: Tasks::new(),
        board: sound.parts.board.clone(),
    };
    (Table::open(parts).await.unwrap(), faulty)
}

async fn row_count(fixture: &Fixture) -> u64 {
    fixture.lake.open_table("clicks").await.unwrap().refresh().await.unwrap().row_count()
}

#[tokio::test]
async fn a_commit_that_landed_is_a_success_whatever_the_answer_was() {
    for fault in [Fault::AnswerLost, Fault::RepeatedByClient] {
        let fixture = fixture().await;
        let (table, _) = through(&fixture, fault, 1, true).await;
        let files = staged(&table, rows(0, 5)).await;
        let outcome = table.commit(as_transaction(request(files), "load", 1)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(TableVersion(1)), "{fault:?}");
        assert_eq!(row_count(&fixture).await, 5, "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_request_is_repeated() {
    let fixture = fixture().await;
    let (table, _) = through(&fixture, Fault::RequestLost, 2, true).await;
    let files = staged(&table, rows(0, 5)).await;
    assert_eq!(table.commit(request(files)).await.unwrap(), CommitOutcome::Committed(TableVersion(1)));
    assert_eq!(row_count(&fixture).await, 5);
}

#[tokio::test]
async fn files_of_an_unknown_commit_are_never_deleted() {
    let fixture = fixture().await;
    let (table, faulty) = through(&fixture, Fault::GoneAfterWriting, 1, true).await;
    let files = staged(&table, rows(0, 5)).await;
    let request = as_transaction(request(files.clone()), "load", 1);
    let error = table.commit(request.clone()).await.unwrap_err();
    assert!(matches!(error, StorageError::CommitUnknown { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Unavailable);
    table.discard(files.clone()).await;
    assert_eq!(data_files(&fixture.folder), 1);

    faulty.gone.store(0, Ordering::SeqCst);
    let outcome = table.commit(request.clone()).await.unwrap();
    assert_eq!(outcome, CommitOutcome::AlreadyCommitted(TableVersion(1)), "sending it again settles it");
    assert_eq!(table.commit(request).await.unwrap(), CommitOutcome::AlreadyCommitted(TableVersion(1)));
    assert_eq!((row_count(&fixture).await, data_files(&fixture.folder)), (5, 1));
}

#[tokio::test]
async fn committed_files_survive_a_wrong_discard() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let files = staged(&table, rows(0, 5)).await;
    table.commit(request(files.clone())).await.unwrap();
    table.discard(files).await;
    assert_eq!(data_files(&folder), 1);
}

#[tokio::test]
async fn a_full_disk_says_so_and_loses_nothing() {
    let fixture = fixture().await;
    let (table, _) = through(&fixture, Fault::LogFull, 1, false).await;
    let files = staged(&table, rows(0, 5)).await;
    let error = table.commit(request(files.clone())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(error.to_string(), "the disk is full; free some space and try again");
    assert_eq!(row_count(&fixture).await, 0);
    table.commit(request(files)).await.unwrap();
    assert_eq!(row_count(&fixture).await, 5, "the same files can be committed once there is space");
}

#[tokio::test]
async fn a_disk_that_fills_while_writing_leaves_no_files() {
    let fixture = fixture().await;
    let (table, _) = through(&fixture, Fault::DataFull, 0, false).await;
    let error = table.write_files(stream_of(vec![rows(0, 100)]), unsorted()).await.unwrap_err();
    assert!(matches!(error, StorageError::DiskFull), "{error}");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(data_files(&fixture.folder), 0);
}

#[tokio::test]
async fn a_store_without_conditional_writes_is_no_lake() {
    let location: LakeLocation = "s3://bucket/lake".parse().unwrap();
    let faulty = |fault| Faulty {
        inner: Arc::new(object_store::memory::InMemory::new()),
        fault,
        count: AtomicUsize::new(0),
        gone: AtomicUsize::new(0),
    };
    check_create_if_absent(&location, &faulty(Fault::LogFull)).await.unwrap();
    let error = check_create_if_absent(&location, &faulty(Fault::Overwrites)).await.unwrap_err();
    assert!(error.to_string().contains("conditional writes"), "{error}");
}
