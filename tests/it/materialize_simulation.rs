//! Seeded simulation: two processes over one lake insert, delete, refresh, fold, compact and vacuum side by side, lose statements
//! half-way and start again. After every step each view is its query, and a query that a view may answer is the table's own.
//! See `seeds` for how to run more of them.

use std::time::Duration;

use adlake::base::{Clock, Tasks};
use adlake::materialize::Schedule;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::process::Process;
use crate::seeds::abandon;

const SEEDS: u64 = 6;
const STEPS: usize = 20;
/// Longer than a view rests, and than a lease lasts.
const LATER: Duration = Duration::from_secs(120);

const FACTS: &str = "CREATE TABLE facts (id BIGINT NOT NULL, ts TIMESTAMP WITH TIME ZONE NOT NULL, k VARCHAR, n BIGINT) \
     WITH (event_time='ts', event_key='id', partition_by='day(ts)', sort_by='k, ts', lateness='100000 days')";
const VIEWS: [&str; 3] = [
    "SELECT date_trunc('minute', ts) AS minute, k, count(*) AS rows, sum(n) AS total FROM facts GROUP BY 1, 2",
    "SELECT date_trunc('day', ts) AS day, count(n) AS known, min(n) AS least, avg(n) AS mean FROM facts GROUP BY 1",
    "SELECT k, count(*) FILTER (WHERE n > 0) AS good, max(ts) AS latest FROM facts GROUP BY k",
];
const QUERIES: [&str; 3] = [
    "SELECT date_trunc('hour', ts) AS hour, sum(n) AS total FROM facts GROUP BY 1",
    "SELECT k, count(*) AS rows FROM facts WHERE ts >= TIMESTAMPTZ '2017-11-02T00:00:30Z' AND ts < TIMESTAMPTZ '2017-11-04T12:00:10Z' GROUP BY k",
    "SELECT count(*) AS rows, sum(n) AS total FROM facts",
];

async fn process(folder: &TempDir, clock: &Clock) -> Process {
    Process::at(clock.clone(), folder, &[("storage.poll_interval", "0 s")]).await
}

/// What a statement gave back, in any order, or which failed why.
async fn send(process: &Process, sql: &str) -> Result<Vec<String>, String> {
    let mut rows = process.sql(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    rows.sort();
    Ok(rows)
}

/// What happens by itself in a served process: due refreshes, then folding. All of it has ended when this returns.
async fn turn(process: &Process) {
    let tasks = Tasks::new();
    let schedule = Schedule::new(process.app.refresher.clone(), process.app.leases.clone(), tasks.clone());
    schedule.turn(&tokio_util::sync::CancellationToken::new()).await;
    assert!(tasks.stop(Duration::from_secs(120)).await, "a refresh does not end");
}

struct World {
    random: ChaCha8Rng,
    folder: TempDir,
    clock: Clock,
    processes: [Process; 2],
    next_id: u32,
}

/// Statements that met others of their kind say so; whoever has sent them would send them again.
fn is_conflict(error: &str) -> bool {
    ["try again", "run it again", "were rewritten by others", "while we were writing"]
        .iter()
        .any(|part| error.contains(part))
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Vacuum goes by the times of files, which are the machine's.
        let clock = Clock::manual(Clock::system().now());
        let first = process(&folder, &clock).await;
        first.run(FACTS).await;
        for (index, query) in VIEWS.iter().enumerate() {
            first.run(&format!("CREATE MATERIALIZED VIEW v{index} WITH (refresh='continuous') AS {query}")).await;
        }
        let second = process(&folder, &clock).await;
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { random, folder, clock, processes: [first, second], next_id: 0 }
    }

    /// Something one client would send.
    fn statement(&mut self) -> String {
        match self.random.random_range(0..100) {
            0..45 => self.insert(),
            45..60 => self.delete(),
            60..75 => format!("REFRESH MATERIALIZED VIEW v{}", self.random.random_range(0..VIEWS.len())),
            75..80 => format!("REFRESH MATERIALIZED VIEW v{} FULL", self.random.random_range(0..VIEWS.len())),
            80..92 => "OPTIMIZE TABLE facts".to_owned(),
            _ => format!("OPTIMIZE TABLE v{}", self.random.random_range(0..VIEWS.len())),
        }
    }

    /// New events, and some that were sent before: there, deleted, or lost.
    fn insert(&mut self) -> String {
        let count = self.random.random_range(1..30);
        let row = |random: &mut ChaCha8Rng, id: u32| {
            let n = if id.is_multiple_of(5) { "NULL".to_owned() } else { format!("{}", i64::from(id % 13) - 4) };
            let k = ["NULL", "''", "'a'", "'b'"][random.random_range(0..4)];
            let at = format!("2017-11-{:02}T{:02}:00:{:02}Z", id % 4 + 1, id % 24, id % 60);
            format!("({id}, TIMESTAMPTZ '{at}', {k}, CAST({n} AS BIGINT))")
        };
        let ids: Vec<u32> = (0..count)
            .map(|_| match self.random.random_bool(0.2) {
                true => self.random.random_range(0..self.next_id + 1),
                false => {
                    self.next_id += 1;
                    self.next_id
                }
            })
            .collect();
        let rows: Vec<String> = ids.into_iter().map(|id| row(&mut self.random, id)).collect();
        format!("INSERT INTO facts VALUES {}", rows.join(", "))
    }

    fn delete(&mut self) -> String {
        let day = self.random.random_range(1..5);
        let condition = match self.random.random_range(0..6) {
            0 => format!("id % 7 = {}", self.random.random_range(0..7)),
            1 => "k = 'a'".to_owned(),
            2 => format!(
                "ts >= TIMESTAMPTZ '2017-11-{day:02}T00:00:00Z' AND ts < TIMESTAMPTZ '2017-11-{day:02}T06:00:00Z'"
            ),
            3 => format!("ts < TIMESTAMPTZ '2017-11-{day:02}T00:00:00Z' AND n > 3"),
            4 => "id IN (SELECT min(id) FROM facts GROUP BY k)".to_owned(),
            _ => "n IS NULL".to_owned(),
        };
        format!("DELETE FROM facts WHERE {condition}")
    }

    async fn step(&mut self) -> Result<(), String> {
        let (one, other) = (self.statement(), self.statement());
        match self.random.random_range(0..100) {
            0..55 => {
                let [first, second] = &self.processes;
                let (one, other) = tokio::join!(send(first, &one), send(second, &other));
                for outcome in [one, other] {
                    if let Err(error) = outcome
                        && !is_conflict(&error)
                    {
                        return Err(error);
                    }
                }
            }
            55..70 => {
                self.clock.advance(LATER);
                let [first, second] = &self.processes;
                let (_, sent) = tokio::join!(turn(first), send(second, &other));
                sent.map(drop).or_else(|error| if is_conflict(&error) { Ok(()) } else { Err(error) })?;
            }
            70..82 => {
                let (at, polls) = (self.random.random_range(0..2), self.random.random_range(0..12));
                abandon(send(&self.processes[at], &one), polls).await;
            }
            82..92 => {
                let at = self.random.random_range(0..2);
                self.processes[at] = process(&self.folder, &self.clock).await;
            }
            _ => self.vacuum().await?,
        }
        Ok(())
    }

    /// Nothing may be under way that began before the clock goes on: vacuum leaves young files alone, by that clock.
    async fn vacuum(&mut self) -> Result<(), String> {
        for at in 0..2 {
            assert!(self.processes[at].app.clone().stop().await, "work does not end");
            self.processes[at] = process(&self.folder, &self.clock).await;
        }
        self.clock.advance(Duration::from_secs(2 * 3600));
        for table in ["facts", "v0", "v1", "v2"] {
            send(&self.processes[0], &format!("VACUUM TABLE {table} RETAIN '1 hour'")).await?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), String> {
        for process in &self.processes {
            for index in 0..VIEWS.len() {
                let found = send(process, &format!("VERIFY MATERIALIZED VIEW v{index}")).await?;
                if !found.is_empty() {
                    return Err(format!("v{index} differs from its query: {found:?}"));
                }
            }
            for query in QUERIES {
                self.compare(process, query).await?;
            }
        }
        let twice = send(&self.processes[0], "SELECT id FROM facts GROUP BY id HAVING count(*) > 1").await?;
        if twice.is_empty() { Ok(()) } else { Err(format!("events are there twice: {twice:?}")) }
    }

    /// Both are asked at one version of the table: a lost statement may still commit between.
    async fn compare(&self, process: &Process, query: &str) -> Result<(), String> {
        let version = "SELECT max(version) FROM system.commits WHERE table_name = 'facts'";
        for _ in 0..20 {
            let before = process.sql(version).await?;
            let (rewritten, mut plain) = (send(process, query).await?, process.sql_in(&process.plain, query).await?);
            plain.sort();
            if rewritten == plain {
                return Ok(());
            }
            if before == process.sql(version).await? {
                return Err(format!("{query}: {rewritten:?} instead of {plain:?}"));
            }
        }
        Err(format!("{query}: the table never came to rest"))
    }
}

async fn simulate(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed).await;
    for step in 0..STEPS {
        Box::pin(world.step()).await.map_err(|error| format!("step {step}: {error}"))?;
        world.check().await.map_err(|error| format!("after step {step}: {error}"))?;
    }
    Ok(())
}

#[test]
fn whatever_runs_together_a_view_is_its_query() {
    crate::seeds::run(SEEDS, simulate);
}
