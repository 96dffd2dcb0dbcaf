//! Which files of a landing folder are loaded now: a pure function of what is there, what is on record and the time.

use std::collections::HashMap;
use std::time::Duration;

use crate::base::Timestamp;
use crate::catalog::{FileRate, LandingOrder};
use crate::storage::ExternalFile;

/// First wait after an error that may pass; doubled with every further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// Time between looks for which files of a fast rate are made up.
const BURST: Duration = Duration::from_secs(1);
/// Names of files that are not whole.
const UNFINISHED: [&str; 4] = [".tmp", ".inprogress", ".part", ".crdownload"];

/// What tells a file from another one put in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub bytes: u64,
    pub modified_at: Timestamp,
    /// A bucket's ETag; empty for files on disk.
    pub tag: String,
}

impl Mark {
    pub fn of(file: &ExternalFile) -> Self {
        Self { bytes: file.bytes, modified_at: file.modified_at, tag: file.tag.clone() }
    }
}

#[derive(Debug)]
struct Retry {
    mark: Mark,
    errors: u32,
    not_before: Timestamp,
}

/// What is known of one folder.
#[derive(Debug, Default)]
pub struct FolderState {
    /// Files on record.
    pub handled: HashMap<String, Mark>,
    /// What the last look saw of the others.
    looked: HashMap<String, Mark>,
    retries: HashMap<String, Retry>,
    /// When the rate allows the next file.
    next_at: Timestamp,
}

/// A file that has to wait.
#[derive(Debug, PartialEq, Eq)]
pub struct Pending {
    pub path: String,
    pub mark: Mark,
    pub why: &'static str,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// In the order in which they are loaded.
    pub ready: Vec<(String, Mark)>,
    pub pending: Vec<Pending>,
}

impl FolderState {
    /// Looks at the files that are there.
    pub fn decide(&mut self, files: &[(String, Mark)], order: LandingOrder, now: Timestamp) -> Decided {
        let mut decided = Decided::default();
        let mut looked = HashMap::new();
        for (path, mark) in files {
            if is_unfinished(path) || self.handled.get(path) == Some(mark) {
                continue;
            }
            looked.insert(path.clone(), mark.clone());
            match self.reason_to_wait(path, mark, now) {
                None => decided.ready.push((path.clone(), mark.clone())),
                Some(why) => decided.pending.push(Pending { path: path.clone(), mark: mark.clone(), why }),
            }
        }
        self.looked = looked;
        self.retries.retain(|path, _| files.iter().any(|(file, _)| file == path));
        match order {
            LandingOrder::Name => decided.ready.sort_by(|left, right| left.0.cmp(&right.0)),
            LandingOrder::Modified => {
                decided
                    .ready
                    .sort_by(|left, right| (left.1.modified_at, &left.0).cmp(&(right.1.modified_at, &right.0)));
            }
        }
        decided
    }

    fn reason_to_wait(&self, path: &str, mark: &Mark, now: Timestamp) -> Option<&'static str> {
        if let Some(retry) = self.retries.get(path)
            && retry.mark == *mark
            && retry.not_before > now
        {
            return Some("waits to be tried again");
        }
        // An object of a bucket appears whole.
        let settled = !mark.tag.is_empty() || self.looked.get(path) == Some(mark);
        (!settled).then_some("is perhaps still being written")
    }

    /// Whether the rate allows one more file now; if so it counts.
    pub fn may_begin(&mut self, rate: Option<FileRate>, now: Timestamp) -> bool {
        let Some(rate) = rate else { return true };
        if self.next_at > now {
            return false;
        }
        let interval = rate.interval();
        self.next_at = self.next_at.max(now.minus(BURST.saturating_sub(interval))).plus(interval);
        true
    }

    /// When a file that could not be loaded is tried again.
    pub fn retry_later(&mut self, path: &str, mark: &Mark, now: Timestamp) -> Timestamp {
        let before = self.retries.get(path).filter(|retry| retry.mark == *mark).map_or(0, |retry| retry.errors);
        let wait = RETRY_FIRST.saturating_mul(1 << before.min(20)).min(RETRY_LONGEST);
        let not_before = now.plus(wait);
        self.retries.insert(path.to_owned(), Retry { mark: mark.clone(), errors: before + 1, not_before });
        not_before
    }

    /// The file is on record.
    pub fn handle(&mut self, path: &str, mark: Mark) {
        self.looked.remove(path);
        self.retries.remove(path);
        self.handled.insert(path.to_owned(), mark);
    }
}

/// Names that writers give to what is not whole.
fn is_unfinished(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let lower = name.to_lowercase();
    name.starts_with(['.', '_']) || UNFINISHED.iter().any(|end| lower.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(bytes: u64, modified_at: i64) -> Mark {
        Mark { bytes, modified_at: Timestamp(modified_at), tag: String::new() }
    }

    fn look(state: &mut FolderState, files: &[(&str, u64)]) -> (Vec<String>, Vec<&'static str>) {
        let files: Vec<_> = files.iter().map(|(path, bytes)| ((*path).to_owned(), mark(*bytes, 0))).collect();
        let decided = state.decide(&files, LandingOrder::Name, Timestamp(0));
        let ready = decided.ready.into_iter().map(|(path, _)| path).collect();
        (ready, decided.pending.into_iter().map(|pending| pending.why).collect())
    }

    #[test]
    fn a_file_is_loaded_when_it_has_settled() {
        let mut state = FolderState::default();
        assert_eq!(look(&mut state, &[("d/b", 1)]), (vec![], vec!["is perhaps still being written"]));
        assert_eq!(look(&mut state, &[("d/b", 2), ("d/a", 1)]).0, Vec::<String>::new());
        assert_eq!(look(&mut state, &[("d/b", 2), ("d/a", 1)]).0, ["d/a", "d/b"]);
        state.handle("d/a", mark(1, 0));
        assert_eq!(look(&mut state, &[("d/b", 2), ("d/a", 1)]).0, ["d/b"]);
        assert_eq!(look(&mut state, &[("d/a", 7)]).0, Vec::<String>::new(), "another one in its place");
        assert_eq!(look(&mut state, &[("d/a", 7)]).0, ["d/a"]);
    }

    #[test]
    fn an_object_is_whole_at_once_and_order_is_a_choice() {
        let mut state = FolderState::default();
        let object = |at| Mark { tag: "e".to_owned(), ..mark(1, at) };
        let files = [("a".to_owned(), object(2)), ("b".to_owned(), object(1))];
        let ready = |state: &mut FolderState, order| {
            let decided = state.decide(&files, order, Timestamp(0));
            decided.ready.into_iter().map(|(path, _)| path).collect::<Vec<_>>()
        };
        assert_eq!(ready(&mut state, LandingOrder::Name), ["a", "b"]);
        assert_eq!(ready(&mut state, LandingOrder::Modified), ["b", "a"]);
    }

    #[test]
    fn unfinished_names_are_left_alone() {
        for path in ["in/.hidden.csv", "in/_SUCCESS", "in/a.csv.tmp", "in/a.inprogress", "in/a.TMP"] {
            assert!(is_unfinished(path), "{path}");
        }
        assert!(!is_unfinished("_in/.x/a.csv"));
    }

    #[test]
    fn errors_that_may_pass_wait_longer_and_longer() {
        let mut state = FolderState::default();
        look(&mut state, &[("a", 1)]);
        let waits: Vec<i64> =
            (0..11).map(|_| state.retry_later("a", &mark(1, 0), Timestamp(0)).0 / 1_000_000).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(look(&mut state, &[("a", 1), ("b", 1)]).1[0], "waits to be tried again");
        assert_eq!(look(&mut state, &[("a", 1), ("b", 1)]).0, ["b"], "it does not stop the next");
        let files = [("a".to_owned(), mark(1, 0))];
        assert_eq!(state.decide(&files, LandingOrder::Name, Timestamp(300_000_000)).ready.len(), 1);
    }

    #[test]
    fn the_rate_is_kept_over_time() {
        let mut state = FolderState::default();
        let rate = Some("10 files per minute".parse().unwrap());
        // One look a second, always more files than the rate allows.
        let begun = |state: &mut FolderState, from: i64, to: i64, rate| {
            let seconds = from..to;
            seconds
                .map(|at| (0..100).filter(|_| state.may_begin(rate, Timestamp(at * 1_000_000))).count())
                .sum::<usize>()
        };
        assert_eq!(begun(&mut state, 1_000, 1_060, rate), 10);
        assert_eq!(begun(&mut state, 1_060, 1_660, rate), 100);
        let rate = Some("10 files per second".parse().unwrap());
        assert_eq!(begun(&mut state, 2_000, 2_060, rate), 600);
        assert_eq!(begun(&mut state, 3_000, 3_001, None), 100);
    }
}
