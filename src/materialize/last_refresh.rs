//! The last refresh of a view, by whichever process of the lake: the newest commit of that kind in the log of its table.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use serde::Deserialize;

use super::MaterializeError;
use crate::base::Timestamp;
use crate::storage::{CommitRecord, Table, TableSnapshot, TableVersion};

/// The operation of a commit that refreshes.
pub(super) const REFRESH: &str = "REFRESH";
/// Commits looked at: those since then only fold or compact.
const LOOK_BACK: u64 = 64;

/// What its commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastRefresh {
    pub at: Timestamp,
    pub told: Told,
}

/// The info of the commit of a refresh; what is missing was written by an earlier version of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Told {
    /// Versions of the tables that the stored rows are true for.
    #[serde(default)]
    pub sources: BTreeMap<String, u64>,
    #[serde(default)]
    pub rows: Option<u64>,
    #[serde(default)]
    pub source_rows: Option<u64>,
    /// Until the commit.
    #[serde(default)]
    pub elapsed_ms: Option<u64>,
}

/// Last refreshes by the folder of the view's table, and the version up to which the log was looked at.
#[derive(Default)]
pub(super) struct LastRefreshes(Mutex<HashMap<String, (TableVersion, Option<LastRefresh>)>>);

impl LastRefreshes {
    /// The last refresh of the view stored in `table` up to `stored`; None when there was none, or it is further back than the
    /// log is looked at.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub async fn of(&self, table: &Table, stored: &TableSnapshot) -> Result<Option<LastRefresh>, MaterializeError> {
        let newest = stored.version();
        let known = self.0.lock().get(table.path()).cloned();
        if let Some((version, last)) = &known
            && *version == newest
        {
            return Ok(last.clone());
        }
        let known = known.filter(|(version, _)| *version < newest && newest.0 - version.0 <= LOOK_BACK);
        let from = known.as_ref().map_or((newest.0 + 1).saturating_sub(LOOK_BACK), |(version, _)| version.0 + 1);
        let mut last = known.and_then(|(_, last)| last);
        for version in (from..=newest.0).rev() {
            let Some(commit) = table.commit_of(TableVersion(version)).await? else { break };
            if commit.operation == REFRESH {
                last = Some(refresh_of(commit));
                break;
            }
        }
        self.0.lock().insert(table.path().to_owned(), (newest, last.clone()));
        Ok(last)
    }
}

fn refresh_of(commit: CommitRecord) -> LastRefresh {
    LastRefresh { at: commit.committed_at, told: serde_json::from_value(commit.info).unwrap_or_default() }
}
