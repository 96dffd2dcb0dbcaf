//! Seeded simulation: two processes over one lake, random requests with repeats, abandoned requests, crashes, compaction,
//! little memory for keys. After every seed each acknowledged event is there once, no other twice.
//! See `seeds` for how to run more of them.

use std::collections::BTreeSet;

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::seeds::abandon;

const SEEDS: u64 = 30;
const STEPS: usize = 24;
/// Room for some days' keys only.
const MEMORY: (&str, &str) = ("ingest.key_index_size", "256 KiB");

struct World {
    random: ChaCha8Rng,
    folder: Arc<TempDir>,
    processes: Vec<Process>,
    acknowledged: BTreeSet<u32>,
    /// Sent, never answered: there or not.
    unknown: BTreeSet<u32>,
    /// Steps each producer has been answered.
    sequences: [i64; 3],
}

/// An event's day follows from its id, so that a repeat is the same event.
fn body(ids: &[u32]) -> String {
    ids.iter().map(|id| click(*id, &format!("2017-11-{:02}T11:00:00Z", id % 7 + 1))).collect()
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let first = Process::over(folder.clone(), &[MEMORY]).await;
        first.sql(CLICKS).await;
        let second = Process::over(folder.clone(), &[MEMORY]).await;
        let random = ChaCha8Rng::seed_from_u64(seed);
        let (acknowledged, unknown) = (BTreeSet::new(), BTreeSet::new());
        Self { random, folder, processes: vec![first, second], acknowledged, unknown, sequences: [0; 3] }
    }

    fn ids(&mut self) -> Vec<u32> {
        let count = self.random.random_range(1..60);
        let known: Vec<u32> = self.acknowledged.iter().chain(&self.unknown).copied().collect();
        (0..count)
            .map(|_| match self.random.random_bool(0.4) && !known.is_empty() {
                true => known[self.random.random_range(0..known.len())],
                false => self.random.random_range(0..50_000),
            })
            .collect()
    }

    fn any_process(&mut self) -> usize {
        self.random.random_range(0..self.processes.len())
    }

    async fn step(&mut self) -> Result<(), String> {
        match self.random.random_range(0..100) {
            0..60 => self.request().await,
            60..75 => self.lost_request().await,
            75..85 => self.crash().await,
            85..93 => {
                let at = self.any_process();
                self.processes[at].sql("OPTIMIZE TABLE clicks").await;
                Ok(())
            }
            _ => self.numbered_request().await,
        }
    }

    async fn request(&mut self) -> Result<(), String> {
        let (at, ids) = (self.any_process(), self.ids());
        let report = self.processes[at].try_append("clicks", &body(&ids)).await.map_err(|error| error.to_string())?;
        let new = ids.iter().copied().collect::<BTreeSet<_>>();
        let certain = new.difference(&self.acknowledged).filter(|id| !self.unknown.contains(id)).count() as u64;
        let possible = new.difference(&self.acknowledged).count() as u64;
        if report.accepted < certain || report.accepted > possible {
            return Err(format!("accepted {} of {certain} to {possible} new events", report.accepted));
        }
        self.unknown.retain(|id| !new.contains(id));
        self.acknowledged.extend(new);
        Ok(())
    }

    async fn lost_request(&mut self) -> Result<(), String> {
        let (at, ids, polls) = (self.any_process(), self.ids(), self.random.random_range(0..6));
        let body = body(&ids);
        let new: BTreeSet<u32> = ids.iter().copied().filter(|id| !self.acknowledged.contains(id)).collect();
        match abandon(self.processes[at].try_append("clicks", &body), polls).await {
            Some(Ok(_)) => {
                self.unknown.retain(|id| !new.contains(id));
                self.acknowledged.extend(new);
            }
            Some(Err(error)) => return Err(error.to_string()),
            None => self.unknown.extend(new),
        }
        Ok(())
    }

    /// A producer's next step, twice: the second answer is the first.
    async fn numbered_request(&mut self) -> Result<(), String> {
        let (ids, producer) = (self.ids(), self.random.random_range(0..3));
        let (name, sequence) = (format!("producer{producer}"), self.sequences[producer]);
        let body = body(&ids);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let at = self.any_process();
            let report = self.processes[at].produce(&name, sequence, &body).await.map_err(|error| error.to_string())?;
            answers.push((report.accepted, report.duplicates, report.version));
        }
        self.sequences[producer] += 1;
        self.acknowledged.extend(ids.iter().copied());
        self.unknown.retain(|id| !ids.contains(id));
        if answers[0] == answers[1] { Ok(()) } else { Err(format!("{name} was answered {answers:?}")) }
    }

    async fn crash(&mut self) -> Result<(), String> {
        let at = self.any_process();
        self.processes[at] = Process::over(self.folder.clone(), &[MEMORY]).await;
        Ok(())
    }

    async fn check(&self) -> Result<(), String> {
        let fresh = Process::over(self.folder.clone(), &[MEMORY]).await;
        let rows = fresh.sql("SELECT CAST(event_id AS INT) FROM clicks ORDER BY 1").await;
        let found: Vec<u32> = rows.iter().map(|row| row.parse().unwrap()).collect();
        let set: BTreeSet<u32> = found.iter().copied().collect();
        if set.len() != found.len() {
            return Err(format!("{} events are there twice", found.len() - set.len()));
        }
        if let Some(lost) = self.acknowledged.difference(&set).next() {
            return Err(format!("event {lost} was acknowledged and is not there"));
        }
        let foreign = set.iter().find(|id| !self.acknowledged.contains(id) && !self.unknown.contains(id));
        foreign.map_or(Ok(()), |id| Err(format!("nobody sent event {id}")))
    }
}

async fn simulate(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed).await;
    for step in 0..STEPS {
        world.step().await.map_err(|error| format!("step {step}: {error}"))?;
    }
    world.check().await
}

#[test]
fn whatever_happens_every_acknowledged_event_is_there_once() {
    crate::seeds::run(SEEDS, simulate);
}
