//! `adlake bench ingest`: clicks for the table of `sql/tables/clicks.sql`, as many as the server takes or at a given rate.
//!
//! ```text
//! templates (encoded once) ─► per batch: copy, fresh ids and times ─► wire: arrow │ grpc │ http ─► answer ─► tally ─► report
//!                                 pace: as fast as answers come, or at fixed moments
//! ```
//! The generator shares the machine with the server, so a batch costs it a copy and two fixed-width fields per row.
//! With `--rate`, latency counts from the moment a batch was to be sent, not from when there was time to (no coordinated
//! omission). Only rows the server says it accepted are counted.

mod arrow;
mod drive;
mod grpc;
mod http;
mod report;
mod template;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;

use crate::base::Clock;
use crate::cli::connect::{Dialer, ServerUrl, TlsArgs};
use crate::cli::failure::Failure;
use drive::{Pace, Tally, drive};
use report::Run;
use template::{Form, Ids, Templates};

/// Different batches that are sent in turn.
const TEMPLATES: usize = 4;

/// How rows travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// Flight DoPut
    Arrow,
    /// AppendStream with typed clicks
    Grpc,
    /// NDJSON over HTTP
    Http,
    /// One JSON object per HTTP request
    HttpSingle,
}

/// Options of `adlake bench ingest`.
#[derive(Clone, Debug, clap::Args)]
pub struct IngestBench {
    /// Server, such as http://127.0.0.1:8080 or grpc://127.0.0.1:50051, with TLS https:// or grpc+tls:// [default: these, by protocol]
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    #[arg(long, value_enum, default_value = "grpc")]
    protocol: Protocol,
    /// Table with the columns of clicks
    #[arg(long, default_value = "clicks")]
    table: String,
    /// Connections [default: 4; http-single: 256]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Option<u32>,
    /// Rows per request [default: 1000; arrow: 10000; http-single: always 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: Option<u32>,
    /// Requests of one connection that wait for an answer at once; HTTP: always 1 [default: 4]
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    in_flight: u32,
    /// How long to send
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Stop after this many rows, if that is sooner
    #[arg(long)]
    rows: Option<u64>,
    /// Rows per second, sent at fixed moments whatever the answers [default: as fast as they are answered]
    #[arg(long)]
    rate: Option<f64>,
    /// Number the requests: every connection is a producer
    #[arg(long)]
    producers: bool,
    /// Makes event ids; the same seed sends the same ids again [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

impl IngestBench {
    fn batch_rows(&self) -> usize {
        match self.protocol {
            Protocol::HttpSingle => 1,
            Protocol::Arrow => self.batch.unwrap_or(10_000) as usize,
            Protocol::Grpc | Protocol::Http => self.batch.unwrap_or(1_000) as usize,
        }
    }

    fn connection_count(&self) -> u32 {
        self.connections.unwrap_or(if self.protocol == Protocol::HttpSingle { 256 } else { 4 })
    }

    fn dialer(&self) -> Result<Dialer, Failure> {
        let (example, port) = match self.protocol {
            Protocol::Arrow | Protocol::Grpc => ("grpc://127.0.0.1:50051", 50051),
            Protocol::Http | Protocol::HttpSingle => ("http://127.0.0.1:8080", 8080),
        };
        let url = ServerUrl::parse(self.url.as_deref().unwrap_or(example), example, port)?;
        match self.protocol {
            Protocol::Arrow | Protocol::Grpc => Dialer::grpc(url, &self.tls),
            Protocol::Http | Protocol::HttpSingle => Dialer::http(url, &self.tls),
        }
    }
}

/// What a connection needs to make its requests.
struct Sender {
    table: String,
    templates: Arc<Templates>,
    ids: Ids,
    clock: Clock,
    /// Of a numbering connection.
    producer: Option<String>,
    sent: u64,
}

impl Sender {
    /// The number of the next request, counted from 0.
    fn next_number(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }
}

/// Runs the measurement.
///
/// # Errors
/// A server that cannot be reached or breaks off, a run in which nothing was accepted.
pub async fn run(options: IngestBench) -> Result<String, Failure> {
    if !(options.seconds > 0.0 && options.seconds.is_finite())
        || options.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0)
    {
        return Err(Failure::usage("--seconds and --rate must be above 0"));
    }
    let clock = Clock::system();
    let dialer = options.dialer()?;
    let seed = options.seed.unwrap_or_else(|| clock.now().micros().unsigned_abs());
    let batch_rows = options.batch_rows();
    let form = match options.protocol {
        Protocol::Arrow => Form::Arrow,
        Protocol::Grpc => Form::Protobuf,
        Protocol::Http => Form::Ndjson,
        Protocol::HttpSingle => Form::Json,
    };
    let templates = Arc::new(Templates::new(form, TEMPLATES, batch_rows, &options.table, clock.now())?);
    let count = options.connection_count();
    let sender = |index: u32| Sender {
        table: options.table.clone(),
        templates: templates.clone(),
        ids: Ids::new(seed, u64::from(index)),
        clock: clock.clone(),
        producer: options.producers.then(|| format!("bench-{seed}-{index}")),
        sent: 0,
    };
    let mut wires = Vec::with_capacity(count as usize);
    for index in 0..count {
        wires.push(Connection::open(options.protocol, &dialer, sender(index)).await?);
    }
    let sending = Duration::from_secs_f64(options.seconds);
    let batches = options.rows.map(|rows| rows.div_ceil(batch_rows as u64));
    let pace = Arc::new(Pace::start(sending, batches, options.rate.map(|rate| rate / batch_rows as f64)));
    let cpu_before = report::cpu_seconds();
    let mut workers = JoinSet::new();
    for wire in wires {
        let (pace, window) = (pace.clone(), options.in_flight as usize);
        workers.spawn(async move {
            match wire {
                Connection::Arrow(wire) => drive(wire, &pace, window).await,
                Connection::Grpc(wire) => drive(wire, &pace, window).await,
                Connection::Http(wire) => drive(wire, &pace, 1).await,
            }
        });
    }
    let mut tally = Tally::default();
    while let Some(joined) = workers.join_next().await {
        tally.add(joined.context("a connection failed")??);
    }
    let elapsed = pace.elapsed();
    let cpu = report::cpu_seconds().zip(cpu_before).map(|(after, before)| after - before);
    let run =
        Run { protocol: options.protocol, connections: count, batch_rows, rate: options.rate, elapsed, cpu, tally };
    if run.tally.answered() == 0 {
        let why = run.tally.first_error().unwrap_or("no request was sent");
        return Err(Failure::new(format!("nothing was answered: {why}")));
    }
    if options.json { Ok(run.json()?) } else { Ok(run.markdown()) }
}

/// An open connection of some protocol.
enum Connection {
    Arrow(arrow::Wire),
    Grpc(grpc::Wire),
    Http(http::Wire),
}

impl Connection {
    async fn open(protocol: Protocol, dialer: &Dialer, sender: Sender) -> Result<Self, Failure> {
        Ok(match protocol {
            Protocol::Arrow => Self::Arrow(arrow::Wire::open(dialer, sender).await?),
            Protocol::Grpc => Self::Grpc(grpc::Wire::open(dialer, sender).await?),
            Protocol::Http | Protocol::HttpSingle => Self::Http(http::Wire::open(dialer, sender).await?),
        })
    }
}
