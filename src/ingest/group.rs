//! Group commit: the requests that wait for one table become one Delta commit (GC-1, ACK-1).
//!
//! ```text
//! request ─ decoded, valid ─► queue ─┐        whoever gets the table's writer lock leads:
//! request ─ decoded, valid ─► queue ─┼─► take all ─ repeats? ─ drop duplicates ─ files ─ one commit ─► answer each
//! request ─ decoded, valid ─► queue ─┘        the others wait for their answer, or for the lock
//! ```
//!
//! While one group is being committed the next one gathers, so groups grow with the load and an idle server commits a
//! single event at once. Under load a leader also waits a moment for more, at most `ingest.commit_delay_max`: see
//! [`queue`](super::queue). A group commits with the version it has looked at; when another process was faster, everything is looked
//! at again. The commit runs as a task of its own: a client that goes away takes nobody's answer with it.
//!
//! Source: DeWitt et al., "Implementation Techniques for Main Memory Database Systems" (SIGMOD 1984), section 5.2.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::BooleanArray;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::append::{conform_columns, stream};
use super::batch::{Batch, Rejection, Valid};
use super::ingestor::Core;
use super::producers::{INFO_FIELD, Step, StoredAnswer, answer_in, app_id, decide};
use super::queue::Job;
use super::rejects::RejectSource;
use super::request::Producer;
use super::state::Totals;
use super::target::Target;
use super::watermark::LateEvents;
use super::writer::{CommitLabel, Sealed, Staged, WriterGuard};
use super::{AppendReport, IngestError};
use crate::base::{Stopwatch, Timestamp};
use crate::storage::{InputOrder, StorageError, TableSnapshot, TableVersion, Transaction, WriteOptions};
use crate::telemetry::metrics;

/// Times a group is looked at again because another process committed meanwhile.
const ATTEMPTS: usize = 20;
/// Newest commits searched for a watermark.
const COMMITS_RESUMED: usize = 50;
/// The commit info's field for the watermark, microseconds since 1970.
const WATERMARK_FIELD: &str = "watermark";
/// Commits searched for the answer to a repeated request.
const HISTORY_SEARCHED: usize = 10_000;

/// A job of the group and the rows of the group's batch that are its.
struct Member {
    job: Job,
    rows: Range<usize>,
}

/// Jobs that were not committed, and why.
type Failed = Box<(Vec<Job>, IngestError)>;

/// The group's rows as one batch.
struct Rows {
    batch: Batch<Valid>,
    keep: Option<BooleanArray>,
}

/// What a group of new requests comes to, before its commit.
struct Prepared {
    unique: RecordBatch,
    /// Accepted and duplicate rows of each member.
    counts: Vec<(u64, u64)>,
}

/// What a group came to.
struct Committed {
    version: TableVersion,
    /// Accepted and duplicate rows of each member.
    counts: Vec<(u64, u64)>,
    late: Vec<LateEvents>,
}

/// Commits what waits and answers it.
pub(super) async fn lead(core: Arc<Core>, target: Target, guard: WriterGuard) {
    let delay = target.writer.queue.delay(core.config.commit_delay_max.duration());
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let jobs = target.writer.queue.take();
    if jobs.is_empty() {
        return;
    }
    let watch = Stopwatch::start();
    let requests = jobs.len();
    let mut group = Group { core: &core, target: &target, guard: &guard, recorded: false, observed: false };
    Box::pin(group.commit(jobs)).await;
    let took = watch.elapsed();
    let totals = &target.writer.totals;
    Totals::add(&totals.commits, 1);
    Totals::add(&totals.requests, requests as u64);
    totals.last_commit_ms.store(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    target.writer.queue.answered(requests, took);
    let labels = [("table", target.name.as_str())];
    metrics().observe_seconds("ingest_commit_seconds", "Time of one group commit", &labels, took.as_secs_f64());
    metrics().count("ingest_commits", "Group commits", &labels, 1);
    metrics().count("ingest_requests", "Requests answered by group commits", &labels, requests as u64);
}

struct Group<'a> {
    core: &'a Core,
    target: &'a Target,
    guard: &'a WriterGuard,
    /// Whether the rejections are on record already (a second attempt adds none).
    recorded: bool,
    /// Whether the watermark has seen the events already.
    observed: bool,
}

impl Group<'_> {
    async fn commit(&mut self, mut jobs: Vec<Job>) {
        for _ in 0..ATTEMPTS {
            jobs = match self.attempt(jobs).await {
                Ok(again) if again.is_empty() => return,
                Ok(again) => again,
                Err((jobs, error)) => {
                    let error = self.core.targets.told(&self.target.object, error).await;
                    return fail(jobs, error);
                }
            };
        }
        fail(jobs, StorageError::Crowded { table: self.target.name.clone() }.into());
    }

    /// Answers the jobs, or gives back those that have to be looked at again.
    async fn attempt(&mut self, jobs: Vec<Job>) -> Result<Vec<Job>, (Vec<Job>, IngestError)> {
        let snapshot = match self.look(&jobs).await {
            Ok(snapshot) => snapshot,
            Err(error) => return Err((jobs, error)),
        };
        if let Err(error) = self.resume_watermark().await {
            return Err((jobs, error));
        }
        let new = self.without_repeats(jobs, &snapshot).await;
        if new.is_empty() {
            return Ok(new);
        }
        if let Err(error) = self.record_rejections(&new).await {
            return Err((new, error));
        }
        let (members, rows) = match self.gather(new, &snapshot.columns()) {
            Ok(gathered) => gathered,
            Err(failed) => return Err(*failed),
        };
        self.observe(&members);
        match self.commit_rows(&members, rows, &snapshot).await {
            Ok(Some(committed)) => {
                self.answer(members, committed);
                Ok(Vec::new())
            }
            Ok(None) => Ok(jobs_of(members)),
            Err(error) => Err((jobs_of(members), error)),
        }
    }

    /// The version to go by. When a producer seems to have left something out, the log is looked at first: the process
    /// that took its requests before this one may have committed them.
    async fn look(&self, jobs: &[Job]) -> Result<Arc<TableSnapshot>, IngestError> {
        let snapshot = self.guard.advance(&self.core.task).await?;
        let mut firsts: HashMap<&str, u64> = HashMap::new();
        for producer in jobs.iter().filter_map(|job| job.producer.as_ref()) {
            firsts.entry(&producer.id).or_insert(producer.sequence);
        }
        let seems_left_out = |(id, sequence): (&&str, &u64)| {
            matches!(decide(self.last_sequence(id, &snapshot), *sequence), Step::Gap { .. })
        };
        if !firsts.iter().any(seems_left_out) {
            return Ok(snapshot);
        }
        self.target.writer.table.refresh().await?;
        self.guard.advance(&self.core.task).await
    }

    /// The last sequence committed of a producer, as far as is known here.
    fn last_sequence(&self, id: &str, snapshot: &TableSnapshot) -> Option<u64> {
        let stored = snapshot.transaction_version(&app_id(id)).and_then(|last| u64::try_from(last).ok());
        stored.max(self.target.writer.producers.last(id))
    }

    /// The watermark goes on where the last commit that names one had come to.
    async fn resume_watermark(&self) -> Result<(), IngestError> {
        if self.target.buckets.is_none() || self.target.writer.watermark.lock().at().is_some() {
            return Ok(());
        }
        let commits = self.target.writer.table.history(COMMITS_RESUMED).await?;
        let stored = commits.iter().find_map(|commit| commit.info.get(WATERMARK_FIELD)?.as_i64());
        if let Some(micros) = stored {
            self.target.writer.watermark.lock().resume(Timestamp(micros));
        }
        Ok(())
    }

    /// Answers the requests that were committed before; gives back the others, in order.
    async fn without_repeats(&self, jobs: Vec<Job>, snapshot: &TableSnapshot) -> Vec<Job> {
        let mut reached: HashMap<String, u64> = HashMap::new();
        let mut new = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Some(producer) = job.producer.clone() else {
                new.push(job);
                continue;
            };
            let last = reached.get(&producer.id).copied().max(self.last_sequence(&producer.id, snapshot));
            match decide(last, producer.sequence) {
                Step::New => {
                    reached.insert(producer.id.clone(), producer.sequence);
                    new.push(job);
                }
                Step::Repeat => {
                    let answer = self.earlier_answer(&producer).await;
                    reply(job, answer);
                }
                Step::Gap { last } => {
                    let sequence = producer.sequence;
                    reply(job, Err(IngestError::OutOfSequence { producer: producer.id, sequence, last }));
                }
            }
        }
        new
    }

    /// What the request was answered.
    async fn earlier_answer(&self, producer: &Producer) -> Result<AppendReport, IngestError> {
        if let Some(answer) = self.target.writer.producers.answer(producer) {
            return Ok(answer);
        }
        let commits = self.target.writer.table.history(HISTORY_SEARCHED).await?;
        if let Some(answer) = answer_in(&commits, producer) {
            return Ok(answer);
        }
        let newest = self.target.writer.table.refresh().await?;
        let last = self.last_sequence(&producer.id, &newest).unwrap_or(producer.sequence);
        Err(IngestError::Forgotten { producer: producer.id.clone(), sequence: producer.sequence, last })
    }

    /// LATE-1: rejections are on record before the rows that came with them.
    async fn record_rejections(&mut self, jobs: &[Job]) -> Result<(), IngestError> {
        if self.recorded {
            return Ok(());
        }
        self.recorded = true;
        let mut by_source: BTreeMap<&'static str, Vec<Rejection>> = BTreeMap::new();
        for job in jobs.iter().filter(|job| !job.rejected.is_empty()) {
            by_source.entry(job.source).or_default().extend(job.rejected.iter().cloned());
        }
        for (source, rejections) in by_source {
            let from = RejectSource { table: &self.target.name, source };
            self.core.rejects.record(from, &rejections, &self.core.task).await?;
        }
        Ok(())
    }

    /// All rows as one batch in the table's present columns.
    fn gather(&self, jobs: Vec<Job>, columns: &SchemaRef) -> Result<(Vec<Member>, Rows), Failed> {
        let mut batches: Vec<RecordBatch> = Vec::new();
        let (mut ranges, mut end) = (Vec::with_capacity(jobs.len()), 0);
        for job in &jobs {
            let start = end;
            for batch in &job.batches {
                end += batch.row_count();
                match conform_columns(&batch.rows, columns) {
                    Ok(rows) => batches.push(rows),
                    Err(error) => return Err(Box::new((jobs, error))),
                }
            }
            ranges.push(start..end);
        }
        let all = match batches.as_slice() {
            [one] => Ok(one.clone()),
            several => concat_batches(columns, several),
        };
        match all {
            Ok(rows) => {
                let members = jobs.into_iter().zip(ranges).map(|(job, rows)| Member { job, rows }).collect();
                Ok((members, Rows { batch: Batch { rows, state: Valid }, keep: None }))
            }
            Err(error) => {
                let message = format!("cannot join requests: {error}");
                Err(Box::new((jobs, IngestError::Internal { message })))
            }
        }
    }

    /// Drops duplicates, writes files, commits. `None`: another process was faster, or has deleted rows; look at everything
    /// again.
    async fn commit_rows(
        &self,
        members: &[Member],
        mut rows: Rows,
        snapshot: &Arc<TableSnapshot>,
    ) -> Result<Option<Committed>, IngestError> {
        let columns = rows.batch.rows.schema();
        let mut dedup = self.target.dedup_over(&columns, &self.core.task)?;
        rows.keep = dedup.first_seen(&rows.batch).await?;
        let prepared = prepare(members, rows)?;
        let late = self.late(&prepared.unique);
        let mut label = self.label(members, &prepared, &late);
        label.fence = self.core.own(self.target).await?;
        let committed = |version, counts| Ok(Some(Committed { version, counts, late }));
        if prepared.unique.num_rows() == 0 && label.producers.is_empty() {
            // No commit will find out whether another process has deleted the rows these repeat.
            if dedup.met_known() && self.target.writer.table.refresh().await?.rows_removed_since(snapshot) {
                return Ok(None);
            }
            return committed(snapshot.version(), prepared.counts);
        }
        let table = &self.target.writer.table;
        let mut files = Vec::new();
        if prepared.unique.num_rows() > 0 {
            let options = WriteOptions { order: InputOrder::Unsorted, context: self.core.task.clone() };
            files = table.write_files(stream(columns, vec![prepared.unique]), options).await?;
        }
        let staged = Staged { files, pending: dedup.into_pending() };
        match self.guard.seal(staged, label, &self.core.task).await? {
            Sealed::Committed(version) => committed(version, prepared.counts),
            // Another process has answered one of the producers meanwhile; nothing of this group is committed.
            Sealed::AlreadyCommitted(_) | Sealed::Repeats => Ok(None),
        }
    }

    /// What the commit says: producers' answers, late events, the watermark.
    fn label(&self, members: &[Member], prepared: &Prepared, late: &[LateEvents]) -> CommitLabel {
        let mut info = BTreeMap::new();
        let answers = answers(members, &prepared.counts);
        let mut reached: BTreeMap<String, u64> = BTreeMap::new();
        for answer in &answers {
            let last = reached.entry(app_id(&answer.id)).or_default();
            *last = answer.sequence.max(*last);
        }
        if let Ok(value) = serde_json::to_value(&answers)
            && !answers.is_empty()
        {
            info.insert(INFO_FIELD.to_owned(), value);
        }
        if let Ok(value) = serde_json::to_value(late)
            && !late.is_empty()
        {
            info.insert("late_events".to_owned(), value);
        }
        if let Some(watermark) = self.target.writer.watermark.lock().at() {
            info.insert(WATERMARK_FIELD.to_owned(), watermark.micros().into());
        }
        info.insert("rows".to_owned(), prepared.unique.num_rows().into());
        info.insert("requests".to_owned(), members.len().into());
        let producers = reached
            .into_iter()
            .map(|(app_id, last)| Transaction { app_id, version: i64::try_from(last).unwrap_or(i64::MAX) });
        CommitLabel { operation: "APPEND", transaction: None, producers: producers.collect(), fence: None, info }
    }

    /// The watermark sees the events of a group once, however often the group is attempted.
    fn observe(&mut self, members: &[Member]) {
        let Some(buckets) = &self.target.buckets else { return };
        if std::mem::replace(&mut self.observed, true) {
            return;
        }
        let now = self.core.clock.now();
        let mut watermark = self.target.writer.watermark.lock();
        for member in members {
            let source = member.job.producer.as_ref().map_or(member.job.source, |producer| producer.id.as_str());
            let latest = member.job.batches.iter().filter_map(|batch| buckets.latest(&batch.rows)).max();
            if let Some(latest) = latest {
                watermark.observe(source, latest, member.rows.len() as u64, now);
            }
        }
    }

    fn late(&self, rows: &RecordBatch) -> Vec<LateEvents> {
        let Some(buckets) = &self.target.buckets else { return Vec::new() };
        self.target.writer.watermark.lock().late(rows, buckets, self.core.config.late_after.duration())
    }

    fn count_late(&self, late: &[LateEvents]) {
        let events: u64 = late.iter().map(|late| late.events).sum();
        if events > 0 {
            Totals::add(&self.target.writer.totals.late, events);
            let labels = [("table", self.target.name.as_str())];
            metrics().count("ingest_rows_late", "Accepted events far behind the watermark", &labels, events);
        }
    }

    fn answer(&self, members: Vec<Member>, committed: Committed) {
        let Committed { version, counts, late } = committed;
        self.count_late(&late);
        self.target.writer.producers.committed(answers(&members, &counts), version);
        let totals = &self.target.writer.totals;
        for (Member { job, .. }, (accepted, duplicates)) in members.into_iter().zip(counts) {
            Totals::add(&totals.accepted, accepted);
            Totals::add(&totals.duplicates, duplicates);
            Totals::add(&totals.rejected, job.rejected.len() as u64);
            let rejected = job.rejected.clone();
            reply(job, Ok(AppendReport { accepted, duplicates, rejected, version, replayed: false }));
        }
    }
}

fn answers(members: &[Member], counts: &[(u64, u64)]) -> Vec<StoredAnswer> {
    let answered = members.iter().zip(counts).filter_map(|(member, (accepted, duplicates))| {
        let producer = member.job.producer.as_ref()?;
        Some(StoredAnswer::new(producer, *accepted, *duplicates, &member.job.rejected))
    });
    answered.collect()
}

fn prepare(members: &[Member], rows: Rows) -> Result<Prepared, IngestError> {
    let Rows { batch, keep } = rows;
    let count = |member: &Member| {
        let all = member.rows.len() as u64;
        let kept = match &keep {
            None => all,
            Some(keep) => keep.slice(member.rows.start, member.rows.len()).true_count() as u64,
        };
        (kept, all - kept)
    };
    let counts = members.iter().map(count).collect();
    let unique = match &keep {
        None => batch.rows,
        Some(keep) => filter_record_batch(&batch.rows, keep)
            .map_err(|error| IngestError::Internal { message: format!("cannot drop duplicates: {error}") })?,
    };
    Ok(Prepared { unique, counts })
}

fn jobs_of(members: Vec<Member>) -> Vec<Job> {
    members.into_iter().map(|member| member.job).collect()
}

/// The permit is given back before the client hears, so that it can send the next one at once.
fn reply(job: Job, answer: Result<AppendReport, IngestError>) {
    let Job { reply, permit, .. } = job;
    drop(permit);
    // The receiver is gone when the client is; the rows are committed all the same.
    let _ = reply.send(answer);
}

fn fail(jobs: Vec<Job>, error: IngestError) {
    let error = Arc::new(error);
    for job in jobs {
        reply(job, Err(IngestError::Shared(error.clone())));
    }
}
