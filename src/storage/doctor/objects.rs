//! Single objects: may they be written, read, listed, deleted; is what was written there at once.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload};

use super::Check;
use crate::base::chain;

/// Objects written, read and listed back.
const ROUNDS: usize = 10;
/// The smallest part of an upload that is not the last (S3).
const PART_BYTES: usize = 5 << 20;

/// put, get, list, delete: one line each; stops where one fails.
pub(super) async fn permissions(store: &Arc<dyn ObjectStore>, probe: &Path) -> Vec<Check> {
    let path = probe.clone().join("object");
    let mut checks = Vec::new();
    let mut note = |name, action: &'static str, result: Result<String, Error>| {
        let check = match result {
            Ok(detail) => Check::ok(name, detail),
            Err(error) => Check::fail(name, chain(&error), format!("allow {action} below the lake to these keys")),
        };
        let well = check.fix.is_empty();
        checks.push(check);
        well
    };
    let put = store.put(&path, "probe".into()).await.map(|_| "an object was written".to_owned());
    if !note("put", "s3:PutObject (or writing files)", put) {
        return checks;
    }
    let read = read(store, &path).await.map(|content| format!("{} bytes read back", content.len()));
    note("get", "s3:GetObject (or reading files)", read);
    let listed = store.list(Some(probe)).try_collect::<Vec<_>>().await;
    note("list", "s3:ListBucket", listed.map(|files| format!("{} object listed", files.len())));
    let deleted = store.delete(&path).await.map(|()| "the object was deleted".to_owned());
    note("delete", "s3:DeleteObject (or deleting files)", deleted);
    checks
}

async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Bytes, Error> {
    store.get(path).await?.bytes().await
}

/// Read-after-write, read-after-overwrite, list-after-write, list-after-delete: commits and dedup rely on each.
pub(super) async fn consistency(store: &Arc<dyn ObjectStore>, probe: &Path) -> Check {
    const NAME: &str = "consistency";
    for round in 0..ROUNDS {
        match one_round(store, &probe.clone().join("consistency").join(format!("{round}"))).await {
            Ok(None) => {}
            Ok(Some(broken)) => {
                let fix = "use a store with strong consistency (Amazon S3, MinIO, versitygw …), and no cache before it";
                return Check::fail(NAME, format!("{broken} (round {} of {ROUNDS})", round + 1), fix);
            }
            Err(error) => return Check::fail(NAME, chain(&error), "run it again; the store did not answer"),
        }
    }
    Check::ok(NAME, format!("reads and lists follow every write, overwrite and delete ({ROUNDS} rounds)"))
}

/// What was not as it must be.
async fn one_round(store: &Arc<dyn ObjectStore>, folder: &Path) -> Result<Option<&'static str>, Error> {
    let path = folder.clone().join("object");
    store.put(&path, "first".into()).await?;
    if read(store, &path).await? != "first" {
        return Ok(Some("an object read after its write has another content"));
    }
    if store.list(Some(folder)).try_collect::<Vec<_>>().await?.len() != 1 {
        return Ok(Some("a listing after a write does not show the object"));
    }
    store.put(&path, "second".into()).await?;
    if read(store, &path).await? != "second" {
        return Ok(Some("an object read after an overwrite has its old content"));
    }
    store.delete(&path).await?;
    if !store.list(Some(folder)).try_collect::<Vec<_>>().await?.is_empty() {
        return Ok(Some("a listing after a delete still shows the object"));
    }
    match store.get(&path).await {
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(_) => Ok(Some("a deleted object can still be read")),
    }
}

/// An upload in parts is whole or not there at all.
pub(super) async fn multipart(store: &Arc<dyn ObjectStore>, probe: &Path) -> Check {
    const NAME: &str = "multipart upload";
    let fix = "allow s3:PutObject and s3:AbortMultipartUpload; large Parquet files are written in parts";
    match upload(store, probe).await {
        Ok(None) => Check::ok(NAME, "an upload in two parts is whole, an aborted one is not there"),
        Ok(Some(broken)) => Check::fail(NAME, broken, fix),
        Err(error) => Check::fail(NAME, chain(&error), fix),
    }
}

async fn upload(store: &Arc<dyn ObjectStore>, probe: &Path) -> Result<Option<String>, Error> {
    let part = |size: usize| PutPayload::from(Bytes::from(vec![7u8; size]));
    let whole = probe.clone().join("parts");
    let mut upload = store.put_multipart(&whole).await?;
    upload.put_part(part(PART_BYTES)).await?;
    upload.put_part(part(1)).await?;
    upload.complete().await?;
    let size = store.head(&whole).await?.size;
    if size != PART_BYTES as u64 + 1 {
        return Ok(Some(format!("{} bytes were uploaded and {size} are there", PART_BYTES + 1)));
    }
    let aborted = probe.clone().join("aborted");
    let mut upload = store.put_multipart(&aborted).await?;
    upload.put_part(part(PART_BYTES)).await?;
    upload.abort().await?;
    match store.head(&aborted).await {
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(_) => Ok(Some("an aborted upload left an object".to_owned())),
    }
}
