//! What rewriting costs: time from SQL text to running plan with 50 materialized views defined, rewriting on and off.
//!
//! `cargo run --release --features benches --bin rewriting` fills a lake of its own with clicks of five days, defines 50 views of them
//! (grains of time by sets of columns), refreshes them, adds clicks that none has absorbed, checks that both ways answer the
//! same, then times planning in alternation and prints medians as a Markdown table. Exits with an error when rewriting adds
//! more than two milliseconds to any query.
//!
//! Timed is `Engine::execute` until it returns the stream of rows, which is dropped unread: parsing, pinning, planning and the
//! start of the plan.

#![expect(clippy::print_stdout, reason = "a report for people is what this program is for")]

mod measuring;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adlake::app::App;
use adlake::base::Clock;
use adlake::query::{Origin, Outcome, Request, Session};
use anyhow::{Context, Result, ensure};
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;

use measuring::{Folder, millis};

const VIEWS: usize = 50;
const ROWS: u64 = 50_000;
const ROUNDS: usize = 201;
const WARM_UP: usize = 20;
const OVERHEAD_MAX: Duration = Duration::from_millis(2);

const GRAINS: [Option<&str>; 4] = [Some("minute"), Some("hour"), Some("day"), None];
const COLUMNS: [&str; 4] = ["ad_id", "campaign_id", "country", "device"];

/// What is asked, and whether a view covers it.
const QUERIES: [(&str, &str, bool); 5] = [
    ("one key, no filter", "SELECT country, count(*), sum(price_micros) FROM clicks GROUP BY country", true),
    (
        "by hour, two filters",
        "SELECT date_trunc('hour', event_time) AS hour, count(*), avg(price_micros) FROM clicks WHERE country = 'KR' \
         AND event_time >= TIMESTAMPTZ '2026-11-02T00:00:00Z' AND event_time < TIMESTAMPTZ '2026-11-04T00:00:00Z' GROUP BY 1",
        true,
    ),
    (
        "range that cuts a minute",
        "SELECT ad_id, sum(price_micros) FROM clicks WHERE event_time >= TIMESTAMPTZ '2026-11-02T00:00:30Z' \
         AND event_time < TIMESTAMPTZ '2026-11-04T00:00:00Z' GROUP BY ad_id ORDER BY 2 DESC LIMIT 10",
        true,
    ),
    ("not covered: another key", "SELECT user_id, count(*) FROM clicks GROUP BY user_id", false),
    (
        "not covered: a filter",
        "SELECT country, count(*) FROM clicks WHERE price_micros > 500 AND event_time >= TIMESTAMPTZ '2026-11-02T00:00:00Z' \
         GROUP BY country",
        false,
    ),
];

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = Folder::create("rewriting")?;
    let server = Server::over(folder.path()).await?;
    server.fill().await?;
    println!("| query, {VIEWS} views defined | rewriting off | rewriting on | overhead |");
    println!("|---|---:|---:|---:|");
    let mut worst = Duration::ZERO;
    for (name, sql, is_covered) in QUERIES {
        server.check(sql, is_covered).await?;
        let [off, on] = server.time(sql).await?;
        let overhead = on.saturating_sub(off);
        worst = worst.max(overhead);
        println!("| {name} | {} | {} | **{}** |", millis(off), millis(on), millis(overhead));
    }
    ensure!(worst <= OVERHEAD_MAX, "rewriting adds {}, more than {}", millis(worst), millis(OVERHEAD_MAX));
    Ok(())
}

struct Server {
    app: App,
    /// Queries tables without views, and with them.
    sessions: [Arc<Session>; 2],
}

impl Server {
    async fn over(folder: &Path) -> Result<Self> {
        let location = folder.join("lake").display().to_string();
        let overrides = [("lake.location".to_owned(), location), ("lake.sql".to_owned(), String::new())];
        let app = App::open(adlake::config::load(None, &[], &overrides)?, Clock::system()).await?;
        let session = || Session::new("bench", "bench", Origin::Internal);
        let server = Self { app, sessions: [session(), session()] };
        server.rows(&server.sessions[0], "SET adlake.rewrite = off").await?;
        Ok(server)
    }

    async fn rows(&self, session: &Arc<Session>, sql: &str) -> Result<Vec<RecordBatch>> {
        let answer = self.app.engine.execute(Request::new(sql, session)).await.with_context(|| sql.to_owned())?;
        match answer.outcome {
            Outcome::Rows(rows) => Ok(rows.try_collect().await?),
            Outcome::Done { .. } => Ok(Vec::new()),
        }
    }

    async fn run(&self, sql: &str) -> Result<()> {
        self.rows(&self.sessions[1], sql).await.map(drop)
    }

    async fn fill(&self) -> Result<()> {
        self.run(
            "CREATE TABLE clicks (event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, ad_id VARCHAR NOT NULL, \
             campaign_id VARCHAR, user_id VARCHAR, country VARCHAR, device VARCHAR, price_micros BIGINT) WITH (event_time='event_time', \
             event_key='event_id', partition_by='day(event_time)', sort_by='ad_id, event_time')",
        )
        .await?;
        self.run(&clicks(0, ROWS)).await?;
        for (index, (grain, columns)) in keys().take(VIEWS).enumerate() {
            self.run(&view(index, grain, &columns)).await?;
            self.run(&format!("REFRESH MATERIALIZED VIEW v{index}")).await?;
        }
        self.run(&clicks(ROWS, 500)).await
    }

    /// Both ways answer the same; a view is used when one covers.
    async fn check(&self, sql: &str, is_covered: bool) -> Result<()> {
        let mut answers = Vec::new();
        for session in &self.sessions {
            let text = pretty_format_batches(&self.rows(session, sql).await?)?.to_string();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            answers.push(lines);
        }
        ensure!(answers[0] == answers[1], "answers differ: {sql}");
        let plan = self.rows(&self.sessions[1], &format!("EXPLAIN {sql}")).await?;
        let uses_view = pretty_format_batches(&plan)?.to_string().contains("rollup.");
        ensure!(uses_view == is_covered, "a view answers: {uses_view}, expected {is_covered}: {sql}");
        Ok(())
    }

    /// Medians without and with rewriting.
    async fn time(&self, sql: &str) -> Result<[Duration; 2]> {
        let mut times: [Vec<Duration>; 2] = Default::default();
        for round in 0..WARM_UP + ROUNDS {
            for (session, times) in self.sessions.iter().zip(&mut times) {
                let request = Request::new(sql, session);
                let start = Instant::now();
                let answer = self.app.engine.execute(request).await?;
                let time = start.elapsed();
                let Outcome::Rows(rows) = answer.outcome else { continue };
                // To its end: an abandoned plan would still run when the next one is timed.
                let _read: Vec<RecordBatch> = rows.try_collect().await?;
                if round >= WARM_UP {
                    times.push(time);
                }
            }
        }
        Ok(times.map(|mut times| {
            times.sort_unstable();
            times.get(times.len() / 2).copied().unwrap_or_default()
        }))
    }
}

/// `count` clicks from number `from` on.
fn clicks(from: u64, count: u64) -> String {
    format!(
        "INSERT INTO clicks SELECT CAST(value AS VARCHAR), to_timestamp(1793491200 + value * 8 % 432000), \
         concat('ad', CAST(value * 7 % 400 AS VARCHAR)), concat('c', CAST(value % 40 AS VARCHAR)), \
         concat('u', CAST(value * 13 % 9000 AS VARCHAR)), CASE value % 3 WHEN 0 THEN 'KR' WHEN 1 THEN 'US' ELSE 'JP' END, \
         CASE value % 2 WHEN 0 THEN 'ios' ELSE 'android' END, value % 1000 FROM generate_series({from}, {})",
        from + count - 1
    )
}

/// Grains of time by sets of columns, the coarsest sets last.
fn keys() -> impl Iterator<Item = (Option<&'static str>, Vec<&'static str>)> {
    let sets = (0..1_usize << COLUMNS.len()).map(|set| {
        let chosen = COLUMNS.iter().enumerate().filter(move |(index, _)| set & (1 << index) != 0);
        chosen.map(|(_, column)| *column).collect::<Vec<_>>()
    });
    sets.flat_map(|columns| GRAINS.map(|grain| (grain, columns.clone())))
        .filter(|(grain, columns)| grain.is_some() || !columns.is_empty())
}

fn view(index: usize, grain: Option<&str>, columns: &[&str]) -> String {
    let time = grain.map(|grain| (format!("date_trunc('{grain}', event_time)"), format!(" AS {grain}")));
    let shown = time.iter().map(|(key, name)| format!("{key}{name}"));
    let shown = shown.chain(columns.iter().map(|column| (*column).to_owned())).collect::<Vec<_>>().join(", ");
    let keys = time.iter().map(|(key, _)| key.clone());
    let keys = keys.chain(columns.iter().map(|column| (*column).to_owned())).collect::<Vec<_>>().join(", ");
    format!(
        "CREATE MATERIALIZED VIEW v{index} WITH (refresh='manual') AS SELECT {shown}, count(*) AS clicks, \
         sum(price_micros) AS spend, avg(price_micros) AS price FROM clicks GROUP BY {keys}"
    )
}
