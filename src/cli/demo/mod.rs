//! `adlake demo`: everything once, on generated traffic, in one command.
//!
//! ```text
//! open lake ─► apply sql/ ─► start servers ─► generate a day that ends now ─► load ─► refresh ─► five examples ─► serve on
//! ```
//! Run again it finds the traffic and loads nothing. Killed half-way and run again it loads the rest: events have the same
//! ids whatever day they are moved to, so nothing is counted twice (DED-1).

mod catalog;
mod examples;
mod facts;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::app::{App, Running};
use crate::base::Timestamp;
use crate::config::Config;
use crate::ingest::LoadRequest;

use super::args::{DemoArgs, Global};
use super::failure::{Exit, Failure};
use super::generate::{DAY_MICROS, Day, FileKind, Kinds, Traffic, World, write_files};
use super::load::{load_into, sentence};
use super::meter::{self, Display, Meter};
use super::out;
use super::serve::{Signals, addresses, stop};
use super::settings::{self, LogUse};

const ADS: u32 = 400;
const USERS: u32 = 20_000;
const MINUTE_MICROS: i64 = 60_000_000;

/// Runs the demo; returns after Ctrl-C, or with `--exit` after the examples.
///
/// # Errors
/// What keeps a server from starting, a load or an example that fails.
pub async fn run(global: &Global, args: &DemoArgs) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let loaded = settings::load(global, &args.serve, LogUse::Quiet)?;
    let location = loaded.config.lake.location.clone();
    check_definitions(&loaded.config.lake.sql)?;
    check_plain_text(&loaded.config)?;
    let app = settings::open_app(loaded).await?;
    let running = Box::pin(app.serve()).await.map_err(settings::app_failure)?;
    out::say(&format!(
        "adlake {} demo: lake {location}\n{}",
        env!("CARGO_PKG_VERSION"),
        addresses(&running.addresses)
    ))?;
    let show = Box::pin(show(&running, args));
    let shown = tokio::select! {
        shown = show => shown,
        () = signals.next() => Err(Failure::interrupted("interrupted; run the demo again to finish it")),
    };
    if shown.is_err() || args.exit {
        running.app.stop().await;
        return shown.map(|()| Exit::Done);
    }
    out::say("\nServing until Ctrl-C.")?;
    signals.next().await;
    stop(running.app, &mut signals).await
}

/// The demo is nothing without the definitions, which `serve` does without.
fn check_definitions(folder: &str) -> Result<(), Failure> {
    if Path::new(folder).is_dir() {
        return Ok(());
    }
    let failure = Failure::usage(format!("no folder of SQL definitions at '{folder}'"));
    Err(failure.with_hint("run the demo in the repository, or pass --sql DIR"))
}

/// The examples are requests anybody can repeat, without files that say whom to believe.
fn check_plain_text(config: &Config) -> Result<(), Failure> {
    match config.tls.is_on() {
        Ok(false) => Ok(()),
        Ok(true) | Err(_) => Err(Failure::usage("the demo speaks plain text, and tls.certificate is set")
            .with_hint("leave the tls keys out, or use `adlake serve`")),
    }
}

async fn show(running: &Running, args: &DemoArgs) -> Result<(), Failure> {
    let app = &running.app;
    if facts::is_loaded(app).await? {
        out::say("\nTraffic is loaded already, nothing changed. A new --lake gives traffic up to now.")?;
    } else {
        load_all(app, args).await?;
    }
    let facts = facts::facts(app).await?;
    examples::run(running, &facts).await?;
    let (flight, http) = (running.addresses.flight, running.addresses.http);
    Ok(out::say(&format!(
        "\nConnect\n  Python   adbc_driver_flightsql.dbapi.connect(\"grpc://{flight}\", autocommit=True)\n  \
           JDBC     jdbc:arrow-flight-sql://{flight}/?useEncryption=false   (org.apache.arrow:flight-sql-jdbc-driver)\n  \
           REPL     adlake sql --url grpc://{flight}\n  HTTP     http://{http}/openapi.json"
    ))?)
}

async fn load_all(app: &App, args: &DemoArgs) -> Result<(), Failure> {
    let folder = Scratch::new()?;
    let end = app.clock.now().micros().div_euclid(MINUTE_MICROS) * MINUTE_MICROS;
    let traffic = Traffic {
        world: World::new(args.seed, ADS, USERS),
        day: Day::new(Timestamp(end - DAY_MICROS), DAY_MICROS),
        rows: args.rows,
        late: 0.02,
        duplicates: 0.01,
    };
    out::say(&format!(
        "\nGenerating a day of traffic: {ADS} ads, {} impressions and what follows from them",
        args.rows
    ))?;
    let written = write_files(traffic, Kinds::All, FileKind::Parquet, folder.0.clone()).await?;
    let mut files = catalog::write(&folder.0)?;
    // Conversions last: they are what says that all is there.
    let order = ["campaigns", "budgets", "impressions", "clicks", "conversions"];
    for table in order {
        files.extend(written.files.iter().filter(|(name, _)| *name == table).cloned());
    }
    for (table, path) in files {
        load_one(app, table, &path).await?;
    }
    let started = crate::base::Stopwatch::start();
    super::repl::run_quietly(app, "REFRESH MATERIALIZED VIEW clicks_by_ad_minute").await?;
    Ok(out::say(&format!("  clicks_by_ad_minute refreshed in {:.1} s", started.elapsed().as_secs_f64()))?)
}

async fn load_one(app: &App, table: &str, path: &Path) -> Result<(), Failure> {
    let request = LoadRequest {
        table: table.to_owned(),
        from: vec![path.to_string_lossy().into_owned()],
        format: None,
        map: Vec::new(),
        time_format: None,
        max_rejects: Some(0),
        header: true,
        delimiter: None,
        within: None,
    };
    let meter = Arc::new(Meter::default());
    let work = load_into(app, request, &meter, CancellationToken::new());
    for file in meter::watch(work, &meter, &mut Display::of_load(table)).await? {
        let line = sentence(&file);
        let line = line.rsplit_once('/').map_or(line.as_str(), |(_, name)| name);
        out::say(&format!("  {line}"))?;
    }
    Ok(())
}

/// A temporary folder, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("adlake-demo-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up: it is in its temporary folder.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}
