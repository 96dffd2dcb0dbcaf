//! `adlake doctor`: does this store do what a lake needs? Each question is asked of the real store, once or many times.
//!
//! ```text
//! reachable ─► probe under _doctor/<id>/: permissions · create-if-absent · consistency · multipart · clock · latency
//!           ─► space ─► tables                       the probe's objects are deleted afterwards, whatever happened
//! ```
//! A question that cannot be asked because an earlier one failed is left out, never answered "ok".
//!
//! Not here: the machine and the catalog (`app` knows the configuration), printing (cli).

mod conditional;
mod objects;
mod space;
mod tables;
mod timing;

use std::path::Path as FilePath;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use uuid::Uuid;

use super::store::LakeStore;
use super::{Lake, LakeLocation, StorageConfig, StorageError};
use crate::base::{Clock, chain};

/// Folder of the probes below the lake.
const FOLDER: &str = "_doctor";

/// How a question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// It works, but a person should know.
    Warn,
    /// A lake cannot live here like this.
    Fail,
}

/// One question, its answer and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub verdict: Verdict,
    pub detail: String,
    /// What to do about it; empty when it is well.
    pub fix: String,
}

impl Check {
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, detail: detail.into(), fix: String::new() }
    }

    pub fn warn(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, detail: detail.into(), fix: fix.into() }
    }

    pub fn fail(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, detail: detail.into(), fix: fix.into() }
    }
}

/// Asks everything of the lake at `location`. Writes only below `_doctor/`, and deletes it.
pub async fn examine(location: &LakeLocation, config: &StorageConfig, clock: &Clock) -> Vec<Check> {
    let store = match reach(location, config).await {
        Ok(store) => store,
        Err(check) => return vec![check],
    };
    let mut checks = vec![Check::ok("location", format!("'{location}' answers"))];
    let probe = Path::from(format!("{FOLDER}/{}", Uuid::new_v4()));
    let asked = ask(store.lake(), &probe, clock).await;
    checks.extend(asked);
    checks.extend(clean(store.lake(), &probe).await);
    if let LakeLocation::Folder(root) = location {
        checks.push(space::check(root));
        remove_empty(root, &probe).await;
    }
    checks.extend(match Lake::open(location, config, clock.clone()).await {
        Ok(lake) => tables::check(&lake, store.lake()).await,
        Err(error) => vec![Check::fail("tables", chain(&error), "mend what failed above, then run this again")],
    });
    checks
}

/// The store, once it has answered a listing.
async fn reach(location: &LakeLocation, config: &StorageConfig) -> Result<LakeStore, Check> {
    let fail = |error: &StorageError, fix: String| Check::fail("location", chain(error), fix);
    if let LakeLocation::Folder(path) = location
        && !path.is_dir()
    {
        let detail = format!("there is no folder '{location}'");
        return Err(Check::fail("location", detail, format!("`adlake init {location}` makes it")));
    }
    let store = LakeStore::open(location, &config.s3)
        .map_err(|error| fail(&error, "check lake.location and storage.s3.*".to_owned()))?;
    let Err(error) = store.lake().list(Some(&Path::from(FOLDER))).try_next().await else { return Ok(store) };
    let text = chain(&error);
    let code = code(&text);
    let fix = match code {
        Some("NoSuchBucket") => format!("`adlake init {location}` makes the bucket"),
        Some("AccessDenied") => "allow s3:ListBucket on the bucket to these keys".to_owned(),
        Some("RequestTimeTooSkewed") => "synchronise this machine's clock".to_owned(),
        Some("SignatureDoesNotMatch" | "InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken") => {
            "check storage.s3.access_key_id and storage.s3.secret_access_key".to_owned()
        }
        Some(_) => "check storage.s3.endpoint, storage.s3.region and the name of the bucket".to_owned(),
        None => "check storage.s3.endpoint, the network, and that the server runs".to_owned(),
    };
    // The answer itself can be a page long.
    Err(match code {
        Some(code) => Check::fail("location", format!("cannot list '{location}': the server answers {code}"), fix),
        None => fail(&StorageError::store(format!("list '{location}'"), error), fix),
    })
}

/// `NoSuchBucket` of `<Code>NoSuchBucket</Code>`: object_store keeps the answer to a listing as text only.
fn code(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

/// Everything that needs objects of the probe's own.
async fn ask(store: &Arc<dyn ObjectStore>, probe: &Path, clock: &Clock) -> Vec<Check> {
    let mut checks = objects::permissions(store, probe).await;
    if checks.iter().any(|check| check.verdict == Verdict::Fail) {
        return checks;
    }
    checks.push(conditional::check(store, probe).await);
    checks.push(objects::consistency(store, probe).await);
    checks.push(objects::multipart(store, probe).await);
    checks.push(timing::clock(store, probe, clock).await);
    checks.push(timing::latency(store, probe).await);
    checks
}

/// Deletes the probe's objects; speaks only when that fails.
async fn clean(store: &Arc<dyn ObjectStore>, probe: &Path) -> Option<Check> {
    let locations = store.list(Some(probe)).map_ok(|file| file.location).boxed();
    let deleted = store.delete_stream(locations).try_for_each(|_| async { Ok(()) }).await;
    let error = deleted.err()?;
    let fix = format!("delete '{probe}' by hand, and allow deleting to these keys");
    Some(Check::warn("clean up", chain(&error), fix))
}

/// A file system keeps empty folders. The folder of all probes is not empty, and stays, while another doctor works.
async fn remove_empty(root: &FilePath, probe: &Path) {
    let removed = async {
        tokio::fs::remove_dir_all(root.join(probe.as_ref())).await?;
        tokio::fs::remove_dir(root.join(FOLDER)).await
    };
    if let Err(error) = removed.await {
        tracing::debug!(%probe, %error, "folder of the probe not deleted");
    }
}

#[cfg(test)]
mod tests;
