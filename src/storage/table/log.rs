//! Putting one commit file into the log, and knowing for certain whether it is there.
//!
//! A PUT can land although its answer is an error: the answer was lost, or the client repeated the PUT by itself and
//! met its own first one. So after any error the version is read back, and the commit id tells whose it is.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::Deserialize;
use uuid::Uuid;

use super::action::CommitInfo;
use super::{TableParts, TableVersion};
use crate::storage::StorageError;

/// How often an unclear PUT is repeated. Each try has the store's own retries below it.
const TRIES_MAX: usize = 3;

/// Whose commit has the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Ours,
    SomebodyElses,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirstLine {
    commit_info: Option<CommitInfo>,
}

impl TableParts {
    /// Creates the file of `version`. An error other than `CommitUnknown` means that nothing was and will be written.
    pub(super) async fn put_commit(
        &self,
        version: TableVersion,
        commit_id: Uuid,
        content: Bytes,
    ) -> Result<Put, StorageError> {
        let path = self.commit_path(version);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let mut tries = 1;
        loop {
            let put = self.store.put_opts(&path, content.clone().into(), options.clone()).await;
            let Err(error) = put else { return Ok(Put::Ours) };
            let found = self.commit_info(version).await;
            match found {
                Ok(Some(info)) => {
                    let ours = info.adlake.is_some_and(|own| own.commit_id == commit_id);
                    return Ok(if ours { Put::Ours } else { Put::SomebodyElses });
                }
                Ok(None) if self.refused_for_good(&error) => return Err(self.commit_error(version, error)),
                Ok(None) | Err(_) if tries < TRIES_MAX => tries += 1,
                Ok(None) | Err(_) => {
                    return Err(StorageError::CommitUnknown {
                        table: self.path.clone(),
                        version,
                        source: Box::new(self.commit_error(version, error)),
                    });
                }
            }
        }
    }

    /// The first line of a commit; `None` when the version does not exist (or was cleaned up).
    pub(super) async fn commit_info(&self, version: TableVersion) -> Result<Option<CommitInfo>, StorageError> {
        let action = || format!("read version {version} of table files '{}'", self.path);
        let content = match self.store.get(&self.commit_path(version)).await {
            Ok(found) => found.bytes().await.map_err(|error| StorageError::store(action(), error))?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(StorageError::store(action(), error)),
        };
        Ok(Some(parse_commit_info(&content)))
    }

    pub(super) fn commit_path(&self, version: TableVersion) -> Path {
        self.folder.clone().join("_delta_log").join(format!("{:020}.json", version.0))
    }

    /// A file system answers after it has acted. A bucket's answer is final only when it refused the caller.
    fn refused_for_good(&self, error: &object_store::Error) -> bool {
        use object_store::Error::{PermissionDenied, Unauthenticated};
        !self.remote || matches!(error, PermissionDenied { .. } | Unauthenticated { .. })
    }

    fn commit_error(&self, version: TableVersion, error: object_store::Error) -> StorageError {
        StorageError::store(format!("commit version {version} of table files '{}'", self.path), error)
    }
}

/// The `commitInfo` of a commit; others may write it on any line, or not at all.
fn parse_commit_info(content: &[u8]) -> CommitInfo {
    let lines = content.split(|byte| *byte == b'\n');
    let infos = lines.filter_map(|line| serde_json::from_slice::<FirstLine>(line).ok()?.commit_info);
    infos.into_iter().next().unwrap_or(CommitInfo {
        timestamp: 0,
        operation: String::new(),
        operation_parameters: serde_json::Value::Null,
        engine_info: String::new(),
        is_blind_append: false,
        adlake: None,
    })
}
