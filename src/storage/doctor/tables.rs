//! Every table of the lake: its log opens without a gap, and every file it names is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore};

use super::Check;
use crate::base::{Classify, chain};
use crate::storage::{Lake, TableSnapshot};

/// Names shown of a long list.
const SHOWN: usize = 3;

/// One line when all is well, otherwise one per table that is not.
pub(super) async fn check(lake: &Lake, store: &Arc<dyn ObjectStore>) -> Vec<Check> {
    const NAME: &str = "tables";
    let fix = "allow listing, then run this again";
    let mut names = match names(store).await {
        Ok(names) => names,
        Err(error) => return vec![Check::fail(NAME, chain(&error), fix)],
    };
    match lake.dropped_paths().await {
        Ok(dropped) => names.retain(|name| !dropped.contains(name)),
        Err(error) => return vec![Check::fail(NAME, error.public_message(), fix)],
    }
    let mut checks = Vec::new();
    let (mut versions, mut files, mut unused) = (0, 0, 0);
    for name in &names {
        match one(lake, store, name).await {
            Ok(table) => {
                versions += table.version;
                files += table.files;
                unused += table.unused;
            }
            Err(check) => checks.push(check),
        }
    }
    if checks.is_empty() {
        let detail = format!(
            "{} tables opened, {versions} versions, {files} files all there; {unused} files that no newest version names",
            names.len()
        );
        checks.push(Check::ok(NAME, detail));
    }
    checks
}

struct Sound {
    version: u64,
    files: usize,
    /// Of older versions, or of writers that were killed: vacuum's work, not a fault.
    unused: usize,
}

async fn names(store: &Arc<dyn ObjectStore>) -> Result<Vec<String>, Error> {
    let listed = store.list_with_delimiter(Some(&Path::from("tables"))).await?;
    Ok(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
}

async fn one(lake: &Lake, store: &Arc<dyn ObjectStore>, name: &str) -> Result<Sound, Check> {
    const NAME: &str = "tables";
    let failed = |reason: String, fix: &str| Check::fail(NAME, format!("'{name}': {reason}"), fix);
    let restore = "restore the missing files from a copy of the lake; until then queries of this table fail";
    let folder = Path::from(format!("tables/{name}"));
    // The listing comes first: a file committed after it is then unknown, not missing.
    let present = present(store, &folder).await.map_err(|error| failed(chain(&error), "run it again"))?;
    let table = lake.open_table(name).await.map_err(|error| failed(error.public_message(), restore))?;
    let snapshot = table.refresh().await.map_err(|error| failed(error.public_message(), restore))?;
    let version = snapshot.version().0;
    if let Some(gap) = gap(&present.log, version) {
        return Err(failed(format!("version {gap} is missing from the log, the newest is {version}"), restore));
    }
    let named = named(&snapshot, &folder);
    let missing: Vec<&str> = named.difference(&present.data).map(String::as_str).collect();
    if !missing.is_empty() && !present.is_behind(version) {
        let shown = missing.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
        return Err(failed(format!("{} of {} files are missing: {shown}", missing.len(), named.len()), restore));
    }
    Ok(Sound { version, files: named.len(), unused: present.data.difference(&named).count() })
}

/// What a listing of the table's folder shows.
#[derive(Default)]
struct Present {
    data: BTreeSet<String>,
    /// Version → whether it is a commit, a checkpoint, or both.
    log: BTreeMap<u64, Entry>,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    commit: bool,
    checkpoint: bool,
}

impl Present {
    /// Somebody committed after the listing.
    fn is_behind(&self, version: u64) -> bool {
        self.log.keys().next_back().is_some_and(|newest| *newest < version)
    }
}

async fn present(store: &Arc<dyn ObjectStore>, folder: &Path) -> Result<Present, Error> {
    let mut files = store.list(Some(folder));
    let mut present = Present::default();
    while let Some(file) = files.try_next().await? {
        let name = file.location.filename().unwrap_or_default();
        let in_log = file.location.as_ref().contains("/_delta_log/");
        match name.get(..20).and_then(|digits| digits.parse::<u64>().ok()).filter(|_| in_log) {
            Some(version) => {
                let entry = present.log.entry(version).or_default();
                entry.commit |= name.len() == 25 && name.ends_with(".json");
                entry.checkpoint |= name.contains(".checkpoint.");
            }
            None if !in_log && name.ends_with(".parquet") => {
                present.data.insert(file.location.to_string());
            }
            None => {}
        }
    }
    Ok(present)
}

/// The first version after the newest checkpoint that is not there.
fn gap(log: &BTreeMap<u64, Entry>, newest: u64) -> Option<u64> {
    let checkpoint = log.iter().rev().find(|(_, entry)| entry.checkpoint).map(|(version, _)| *version);
    let seen = *log.keys().next_back()?;
    let first = checkpoint.map_or(0, |version| version + 1);
    (first..=newest.min(seen)).find(|version| !log.get(version).is_some_and(|entry| entry.commit))
}

fn named(snapshot: &TableSnapshot, folder: &Path) -> BTreeSet<String> {
    let files = snapshot.index().files();
    files.map(|file| format!("{folder}/{}", file.relative.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_before_a_checkpoint_do_not_matter() {
        let commit = Entry { commit: true, checkpoint: false };
        let both = Entry { commit: true, checkpoint: true };
        let log = |entries: &[(u64, Entry)]| entries.iter().copied().collect::<BTreeMap<_, _>>();
        assert_eq!(gap(&log(&[(0, commit), (1, commit)]), 1), None);
        assert_eq!(gap(&log(&[(0, commit), (2, commit)]), 2), Some(1));
        assert_eq!(gap(&log(&[(5, both), (6, commit)]), 6), None);
        assert_eq!(gap(&log(&[(5, both), (7, commit)]), 7), Some(6));
        assert_eq!(gap(&log(&[(0, commit)]), 3), None, "committed after the listing");
    }
}
