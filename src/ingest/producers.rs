//! Idempotent producers of one table: which sequence each has reached, and what it was answered.
//!
//! The sequence is stored with the commit, as a Delta transaction of the application `adlake.producer/<id>`; the answer is
//! in the commit's info. So a repeated request is recognised by every process over the lake, also after a crash between
//! commit and answer. Answers of the last [`ANSWERS_KEPT`] sequences are in memory; older ones are read from the log while
//! it is kept.
//!
//! Requests of one producer that are under way together join the queue in the order of their sequences: see
//! [`arrivals`](super::arrivals).
//!
//! Source: Kafka's idempotent producer, <https://cwiki.apache.org/confluence/x/yoeEAw> (KIP-98).

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::AppendReport;
use super::batch::{Rejection, RowFormat};
use super::request::Producer;
use crate::storage::{CommitRecord, TableVersion};

const ANSWERS_KEPT: usize = 16;
/// Producers remembered in memory; the lake remembers all.
const PRODUCERS_MAX: usize = 10_000;
/// Rejections of a request that are kept with its answer; all are in the rejects table.
const REJECTIONS_KEPT: usize = 100;
/// The commit info's field for answers.
pub const INFO_FIELD: &str = "producers";

/// The Delta application id of a producer.
pub fn app_id(producer: &str) -> String {
    format!("adlake.producer/{producer}")
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    New,
    /// Answered before.
    Repeat,
    /// Some before it are missing.
    Gap {
        last: u64,
    },
}

/// Decides by the last sequence committed. A producer nobody knows may begin anywhere.
pub fn decide(last: Option<u64>, sequence: u64) -> Step {
    match last {
        Some(last) if sequence <= last => Step::Repeat,
        Some(last) if sequence > last + 1 => Step::Gap { last },
        _ => Step::New,
    }
}

/// An answer as the commit's info keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredAnswer {
    pub id: String,
    pub sequence: u64,
    accepted: u64,
    duplicates: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<StoredRejection>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredRejection {
    line: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    reason: String,
}

impl StoredAnswer {
    pub fn new(producer: &Producer, accepted: u64, duplicates: u64, rejected: &[Rejection]) -> Self {
        let stored = |rejection: &Rejection| StoredRejection {
            line: rejection.line,
            field: rejection.field.clone(),
            reason: rejection.reason.clone(),
        };
        Self {
            id: producer.id.clone(),
            sequence: producer.sequence,
            accepted,
            duplicates,
            rejected: rejected.iter().take(REJECTIONS_KEPT).map(stored).collect(),
        }
    }

    fn report(&self, version: TableVersion) -> AppendReport {
        let rejection = |stored: &StoredRejection| {
            Rejection::new(stored.line, stored.field.as_deref(), stored.reason.clone(), RowFormat::Json, b"")
        };
        AppendReport {
            accepted: self.accepted,
            duplicates: self.duplicates,
            rejected: self.rejected.iter().map(rejection).collect(),
            version,
            replayed: true,
        }
    }
}

/// The answer to `producer`'s request, from the log's commits.
pub fn answer_in(commits: &[CommitRecord], producer: &Producer) -> Option<AppendReport> {
    commits.iter().find_map(|commit| {
        let answers: Vec<StoredAnswer> = serde_json::from_value(commit.info.get(INFO_FIELD)?.clone()).ok()?;
        let found = answers.iter().find(|answer| answer.id == producer.id && answer.sequence == producer.sequence)?;
        Some(found.report(commit.version))
    })
}

/// See the module.
#[derive(Debug, Default)]
pub struct Producers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<String, Known>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Known {
    last: u64,
    answers: VecDeque<(StoredAnswer, TableVersion)>,
    used: u64,
}

impl Producers {
    /// The last sequence known here.
    pub fn last(&self, id: &str) -> Option<u64> {
        self.state.lock().known.get(id).map(|known| known.last)
    }

    /// The answer given before, when it is still in memory.
    pub fn answer(&self, producer: &Producer) -> Option<AppendReport> {
        let state = self.state.lock();
        let mut answers = state.known.get(&producer.id)?.answers.iter();
        let (answer, version) = answers.find(|(answer, _)| answer.sequence == producer.sequence)?;
        Some(answer.report(*version))
    }

    /// Remembers answers that are committed.
    pub fn committed(&self, answers: Vec<StoredAnswer>, version: TableVersion) {
        let mut state = self.state.lock();
        let State { known, uses } = &mut *state;
        for answer in answers {
            *uses += 1;
            let entry = known.entry(answer.id.clone()).or_default();
            entry.last = entry.last.max(answer.sequence);
            entry.used = *uses;
            entry.answers.push_back((answer, version));
            if entry.answers.len() > ANSWERS_KEPT {
                entry.answers.pop_front();
            }
        }
        if known.len() > PRODUCERS_MAX {
            let mut used: Vec<u64> = known.values().map(|entry| entry.used).collect();
            used.sort_unstable();
            let keep_from = used.get(used.len() / 2).copied().unwrap_or(0);
            known.retain(|_, entry| entry.used >= keep_from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(sequence: u64) -> Producer {
        Producer { id: "p".to_owned(), sequence }
    }

    #[test]
    fn sequences_grow_by_one() {
        assert_eq!(decide(None, 7), Step::New);
        assert_eq!(decide(Some(7), 8), Step::New);
        assert_eq!(decide(Some(7), 7), Step::Repeat);
        assert_eq!(decide(Some(7), 0), Step::Repeat);
        assert_eq!(decide(Some(7), 9), Step::Gap { last: 7 });
    }

    #[test]
    fn answers_are_given_again_from_memory_and_from_the_log() {
        let producers = Producers::default();
        let rejected = [Rejection::new(2, Some("n"), "is bad", RowFormat::Json, b"{}")];
        let answer = StoredAnswer::new(&producer(3), 5, 1, &rejected);
        producers.committed(vec![answer.clone()], TableVersion(9));
        assert_eq!(producers.last("p"), Some(3));
        let info = serde_json::json!({ INFO_FIELD: [answer] });
        let at = crate::base::Timestamp(0);
        let commit = CommitRecord { version: TableVersion(9), committed_at: at, operation: "APPEND".to_owned(), info };
        for report in [producers.answer(&producer(3)), answer_in(std::slice::from_ref(&commit), &producer(3))] {
            let report = report.unwrap();
            assert_eq!(
                (report.accepted, report.duplicates, report.version, report.replayed),
                (5, 1, TableVersion(9), true)
            );
            assert_eq!(report.rejected[0].sentence(), "line 2, field 'n': is bad");
        }
        assert!(answer_in(&[commit], &producer(4)).is_none());
    }
}
