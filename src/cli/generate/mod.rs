//! `adlake generate`: a deterministic day of ad traffic, as files or as lines at a given rate.
//!
//! Which ad is shown follows Zipf's law, when follows a daily curve; a share of events comes late or twice; impressions lead
//! to clicks and clicks to conversions, with prices in whole micros. The same arguments give the same bytes.
//! Not here: loading what was generated (`adlake load`).

mod columns;
mod day;
mod files;
mod plans;
mod stream;
mod traffic;
mod world;
mod zipf;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use indicatif::HumanCount;

use crate::base::{Clock, Timestamp};

use super::failure::{Exit, Failure};
use super::meter::{self, Display, Meter};
use super::out;

pub use day::Day;
pub use files::{Written, write};
pub use traffic::{Kind, Tally, Traffic};
pub use world::World;

/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// Which kinds of events to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// One kind, drawn directly.
    One(Kind),
    /// Impressions with the clicks and conversions that follow, and the campaigns and budgets behind them.
    All,
}

/// `--kind`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindChoice {
    Clicks,
    Impressions,
    Conversions,
    /// Impressions (--rows of them), the clicks and conversions that follow, campaigns and budgets
    All,
}

/// `--format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FileKind {
    #[default]
    Parquet,
    Ndjson,
}

impl FileKind {
    fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Ndjson => "ndjson",
        }
    }
}

#[derive(Args, Clone, Debug)]
pub struct GenerateArgs {
    /// Rows of the kind (with all: of impressions), duplicates included [default: 1000000; with --rate: no end]
    #[arg(long, value_name = "N")]
    pub rows: Option<u64>,
    /// Different ads, ad00000000 and up; popularity follows Zipf's law
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub ads: u32,
    /// Different users
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub users: u32,
    /// The same seed, with the same other arguments, gives the same bytes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The day of the events (UTC), such as 2026-11-01 [default: today]
    #[arg(long, value_name = "DATE")]
    pub day: Option<NaiveDate>,
    /// What to generate [default: all; to standard output: clicks]
    #[arg(long, value_enum)]
    pub kind: Option<KindChoice>,
    /// Folder for files such as clicks-0000.parquet; without it, NDJSON goes to standard output
    #[arg(long, value_name = "DIR", conflicts_with = "rate")]
    pub out: Option<PathBuf>,
    /// Format of files
    #[arg(long, value_enum, default_value_t, requires = "out")]
    pub format: FileKind,
    /// Events per second on standard output, each with the time it is written
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000_000), conflicts_with = "day")]
    pub rate: Option<u32>,
    /// Share of rows that are an earlier event again
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    pub duplicates: f64,
    /// Share of events that come up to six hours late
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, value_parser = share)]
    pub late: f64,
}

const ROWS: u64 = 1_000_000;
/// The world of [`clicks`].
const CLICKED_ADS: u32 = 2_000_000;
const CLICKING_USERS: u32 = 10_000_000;

/// Generates, and says on standard error what.
///
/// # Errors
/// Arguments that do not go together, a folder that cannot be written.
pub async fn run(args: &GenerateArgs) -> Result<Exit, Failure> {
    let clock = Clock::system();
    let choice = args.kind.unwrap_or(if args.out.is_some() { KindChoice::All } else { KindChoice::Clicks });
    let kinds = match choice {
        KindChoice::Clicks => Kinds::One(Kind::Clicks),
        KindChoice::Impressions => Kinds::One(Kind::Impressions),
        KindChoice::Conversions => Kinds::One(Kind::Conversions),
        KindChoice::All => Kinds::All,
    };
    let midnight = clock.now().micros().div_euclid(DAY_MICROS) * DAY_MICROS;
    let start = args.day.map_or(midnight, |day| day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros());
    let traffic = Traffic {
        world: World::new(args.seed, args.ads, args.users),
        day: Day::new(Timestamp(start), DAY_MICROS),
        rows: args.rows.unwrap_or(if args.rate.is_some() { u64::MAX } else { ROWS }),
        late: args.late,
        duplicates: args.duplicates,
    };
    match (&args.out, kinds) {
        (Some(folder), kinds) => {
            let written = write_files(traffic, kinds, args.format, folder.clone()).await?;
            out::note(&summary(&written));
        }
        (None, Kinds::One(kind)) => stream::run(&traffic, kind, args.rate, &clock)?,
        (None, Kinds::All) => {
            let failure = Failure::usage("--kind all makes several tables and needs --out DIR");
            return Err(failure.with_hint("or choose one kind for standard output, such as --kind clicks"));
        }
    }
    Ok(Exit::Done)
}

/// Writes files beside showing progress.
///
/// # Errors
/// As [`write`].
pub async fn write_files(
    traffic: Traffic,
    kinds: Kinds,
    format: FileKind,
    folder: PathBuf,
) -> Result<Written, Failure> {
    let meter = Arc::new(Meter::default());
    let counted = meter.clone();
    let work = tokio::task::spawn_blocking(move || write(&traffic, kinds, format, &folder, &counted));
    meter::watch(work, &meter, &mut Display::of_statement()).await?
}

/// A number of clicks of today, for whoever sends them.
///
/// # Errors
/// None that can happen.
pub fn clicks(seed: u64, row_count: usize, now: Timestamp) -> Result<RecordBatch, ArrowError> {
    let rows = row_count as u64;
    let world = World::new(seed, CLICKED_ADS, CLICKING_USERS);
    let traffic = Traffic { world, day: Day::new(now, DAY_MICROS), rows, late: 0.0, duplicates: 0.0 };
    let mut source = traffic::Source::new(&traffic, Kind::Clicks, 0, 0..rows);
    let events: Vec<_> = std::iter::from_fn(|| source.draw_at(Some(now))).map(|(event, _)| event).collect();
    columns::batch(Kind::Clicks, &events)
}

/// One line per kind.
pub fn summary(written: &Written) -> String {
    let line = |(name, tally): (&str, Tally)| {
        let Tally { rows, duplicates, late } = tally;
        let (rows, duplicates, late) = (HumanCount(rows), HumanCount(duplicates), HumanCount(late));
        format!("{name}: {rows} rows, {duplicates} of them duplicates, {late} late")
    };
    let all = [("impressions", written.impressions), ("clicks", written.clicks), ("conversions", written.conversions)];
    let lines: Vec<_> = all.into_iter().filter(|(_, tally)| tally.rows > 0).map(line).collect();
    format!("{}\n{} files", lines.join("\n"), written.files.len())
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("'{text}' is not a number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("'{text}' is not between 0 and 1")) }
}
