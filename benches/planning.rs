//! Planning time of a selective query: `LakeTable` against delta-rs's own table provider, on the same Delta table.
//!
//! `cargo run --release --features benches --bin planning` makes tables of 100, 1,000 and 5,000 small files (one hour of clicks each, as ingest
//! leaves them), checkpointed, opens each once with both, checks that both give the same answer, then times planning
//! only (SQL text to physical plan) in alternation and prints medians as a Markdown table. delta-rs is timed in both its
//! forms: the provider `DeltaTable::table_provider` gives, and the one over its eager snapshot, which keeps the file
//! list in memory. Ratios are against the faster of the two. Exits with an error when adlake is not faster everywhere,
//! or less than five times faster at 5,000 files.
//!
//! The allocator is the one `adlake` has, for all three. On a shared machine run it with real-time priority
//! (`chrt -f 20`): delta-rs hands work to other threads, so every neighbour makes it look slower than it is.

#![expect(clippy::print_stdout, reason = "a report for people is what this program is for")]

mod measuring;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adlake::base::Clock;
use adlake::storage::{Lake, LakeLocation, Partitioning, TableSpec, Transform};
use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::prelude::{SessionConfig, SessionContext};
use deltalake_core::DeltaTableBuilder;
use deltalake_core::delta_datafusion::TableProviderBuilder;
use parquet::arrow::ArrowWriter;
use serde_json::json;

use measuring::{Folder, millis};

const FILE_COUNTS: [u64; 3] = [100, 1_000, 5_000];
const ROUNDS: usize = 41;
const WARM_UP: usize = 5;
const ROWS_PER_FILE: i64 = 8;
const ADS: i64 = 1_000;
const HOUR: i64 = 3_600_000_000;
/// 2024-01-01T00:00:00Z
const START: i64 = 1_704_067_200_000_000;
const WANTED_RATIO_AT_MOST_FILES: f64 = 5.0;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<()> {
    println!("| files | adlake | delta-rs | delta-rs, eager | ratio |");
    println!("|---:|---:|---:|---:|---:|");
    let mut failures = String::new();
    for files in FILE_COUNTS {
        let [ours, plain, eager] = compare(files).await?;
        let ratio = plain.min(eager).as_secs_f64() / ours.as_secs_f64();
        println!("| {files} | {} | {} | {} | {ratio:.1} × |", millis(ours), millis(plain), millis(eager));
        let wanted = if files == 5_000 { WANTED_RATIO_AT_MOST_FILES } else { 1.0 };
        if ratio < wanted {
            writeln!(failures, "{files} files: {ratio:.1} × is less than {wanted:.1} ×")?;
        }
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}

/// Medians of planning: adlake, delta-rs, delta-rs with its eager snapshot.
async fn compare(files: u64) -> Result<[Duration; 3]> {
    let folder = Folder::create("planning")?;
    let location = LakeLocation::Folder(folder.path().to_owned());
    let config = adlake::config::load(None, &[], &[])?.config.storage;
    let lake = Lake::open(&location, &config, Clock::system()).await?;
    let table = lake.create_table(&spec()).await?;
    let table_folder = folder.path().join("tables/clicks");
    fill(&table_folder, files)?;

    let url = url::Url::from_directory_path(table_folder.canonicalize()?).ok().context("folder as URL")?;
    let delta = DeltaTableBuilder::from_url(url.clone())?.load().await?;
    deltalake_core::checkpoints::create_checkpoint(&delta, None).await?;
    // Opened again, so that it reads the checkpoint.
    let delta = DeltaTableBuilder::from_url(url)?.load().await?;
    let eager = TableProviderBuilder::default()
        .with_log_store(delta.log_store())
        .with_eager_snapshot(delta.snapshot()?.snapshot().clone())
        .await?;
    let snapshot = table.refresh().await?;
    ensure!(snapshot.file_count() as u64 == files, "{} of {files} files known", snapshot.file_count());

    let contexts = [context(snapshot.provider())?, context(delta.table_provider().await?)?, context(eager)?];
    for context in &contexts {
        lake.register(&context.runtime_env());
        delta.update_datafusion_session(&context.state())?;
    }
    let sql = query(files);
    let mut answers = Vec::new();
    for context in &contexts {
        answers.push(pretty_format_batches(&context.sql(&sql).await?.collect().await?)?.to_string());
    }
    let [ours, theirs @ ..] = answers.as_slice() else { unreachable!("three contexts") };
    ensure!(theirs.iter().all(|answer| answer == ours), "answers differ:\n{}", answers.join("\n"));
    time_planning(&contexts, &sql).await
}

async fn time_planning(contexts: &[SessionContext; 3], sql: &str) -> Result<[Duration; 3]> {
    let mut times: [Vec<Duration>; 3] = Default::default();
    for round in 0..WARM_UP + ROUNDS {
        for (context, times) in contexts.iter().zip(&mut times) {
            let start = Instant::now();
            let plan = context.sql(sql).await?.create_physical_plan().await?;
            let time = start.elapsed();
            drop(plan);
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

#[expect(clippy::disallowed_methods, reason = "no engine here: the provider alone is measured")]
fn context(provider: Arc<dyn TableProvider>) -> Result<SessionContext> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_table("clicks", provider)?;
    Ok(context)
}

/// One hour in the middle, one ad.
fn query(files: u64) -> String {
    let from = START + i64::try_from(files / 2).unwrap_or(0) * HOUR;
    let time = |micros: i64| {
        let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
        time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    format!(
        "SELECT count(*), sum(price_micros), min(country) FROM clicks \
         WHERE event_time >= TIMESTAMP '{}' AND event_time < TIMESTAMP '{}' AND ad_id = 125",
        time(from),
        time(from + HOUR)
    )
}

fn spec() -> TableSpec {
    TableSpec {
        path: "clicks".to_owned(),
        columns: Arc::new(Schema::new(vec![
            Field::new("event_id", DataType::Utf8, false),
            Field::new("event_time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
            Field::new("ad_id", DataType::Int64, false),
            Field::new("user_id", DataType::Int64, true),
            Field::new("country", DataType::Utf8, true),
            Field::new("device", DataType::Utf8, true),
            Field::new("price_micros", DataType::Int64, true),
        ])),
        event_time: Some("event_time".to_owned()),
        event_key: Some("event_id".to_owned()),
        partition_by: vec![Partitioning { column: "event_time".to_owned(), transform: Transform::Day }],
        sort_by: vec!["ad_id".to_owned(), "event_time".to_owned()],
        bloom_columns: Vec::new(),
    }
}

/// Writes `files` Parquet files and one commit that adds them.
fn fill(table: &Path, files: u64) -> Result<()> {
    let mut lines = String::new();
    for number in 0..i64::try_from(files)? {
        let rows = hour(number)?;
        let day = chrono::DateTime::from_timestamp_micros(START + number * HOUR).context("time")?;
        let partition = format!("event_time_day={}", day.format("%Y-%m-%d"));
        std::fs::create_dir_all(table.join(&partition))?;
        let path = format!("{partition}/part-{number:05}.parquet");
        let mut writer = ArrowWriter::try_new(std::fs::File::create(table.join(&path))?, rows.schema(), None)?;
        writer.write(&rows)?;
        writer.close()?;
        let add = json!({"add": {
            "path": path,
            "partitionValues": {"event_time_day": day.format("%Y-%m-%d").to_string()},
            "size": std::fs::metadata(table.join(&path))?.len(),
            "modificationTime": 1_704_067_200_000_i64,
            "dataChange": true,
            "stats": stats(number)?.to_string(),
            "tags": {"adlake.sortedBy": "ad_id,event_time"},
        }});
        writeln!(lines, "{add}")?;
    }
    writeln!(lines, "{}", json!({"commitInfo": {"timestamp": 1_704_067_200_000_i64, "operation": "WRITE"}}))?;
    std::fs::write(table.join("_delta_log/00000000000000000001.json"), lines)?;
    Ok(())
}

fn ads() -> impl Iterator<Item = i64> + Clone {
    (0..ROWS_PER_FILE).map(|row| row * ADS / ROWS_PER_FILE)
}

fn event_time(file: i64, row: i64) -> i64 {
    START + file * HOUR + row * (HOUR / ROWS_PER_FILE)
}

/// The clicks of one hour, sorted by ad.
fn hour(file: i64) -> Result<RecordBatch> {
    let rows = || 0..ROWS_PER_FILE;
    let text = |value: &'static str| -> ArrayRef { Arc::new(rows().map(|_| Some(value)).collect::<StringArray>()) };
    let times = rows().map(|row| Some(event_time(file, row))).collect::<TimestampMicrosecondArray>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows().map(|row| Some(format!("{file:06}-{row}"))).collect::<StringArray>()),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(ads().map(Some).collect::<Int64Array>()),
        Arc::new(rows().map(|row| Some(file * 31 + row)).collect::<Int64Array>()),
        text("KR"),
        text("ios"),
        Arc::new(rows().map(|row| Some(1_000 * row)).collect::<Int64Array>()),
    ];
    Ok(RecordBatch::try_new(spec().columns, columns)?)
}

/// What delta-rs would write of [`hour`].
fn stats(file: i64) -> Result<serde_json::Value> {
    let last = ROWS_PER_FILE - 1;
    let time = |row| -> Result<String> {
        let time = chrono::DateTime::from_timestamp_micros(event_time(file, row)).context("time")?;
        Ok(time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
    };
    let side = |row: i64| -> Result<serde_json::Value> {
        Ok(json!({
            "event_id": format!("{file:06}-{row}"), "event_time": time(row)?, "ad_id": row * ADS / ROWS_PER_FILE,
            "user_id": file * 31 + row, "country": "KR", "device": "ios", "price_micros": 1_000 * row,
        }))
    };
    let names = ["event_id", "event_time", "ad_id", "user_id", "country", "device", "price_micros"];
    let nulls: serde_json::Map<String, serde_json::Value> =
        names.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
    Ok(json!({"numRecords": ROWS_PER_FILE, "minValues": side(0)?, "maxValues": side(last)?, "nullCount": nulls}))
}
