//! `adlake bench http`: keeps a number of connections busy with GET requests made from a path template.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustls::ClientConfig;
use tokio::task::JoinSet;

use super::millis_at;
use crate::base::Stopwatch;
use crate::cli::connect::{ServerUrl, TlsArgs};
use crate::cli::failure::Failure;

const EXAMPLE: &str = "http://127.0.0.1:8080";

/// Options of `adlake bench http`.
#[derive(Clone, Debug, clap::Args)]
pub struct HttpBench {
    /// Server, such as http://127.0.0.1:8080 or https://ads.example.com:8080
    #[arg(long, default_value = EXAMPLE)]
    url: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// Path and query; {ad} becomes a random ad id, {hour} a random hour 00..22, {next_hour} the hour after it
    #[arg(long, default_value = "/v1/ads/{ad}/aggregated_count")]
    path: String,
    /// Connections kept busy
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Requests in all
    #[arg(long, default_value_t = 10_000)]
    requests: u64,
    /// Ads the ids are drawn from
    #[arg(long, default_value_t = 2_000_000)]
    ads: u32,
    /// Seed of the draw
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the measurement; returns the report as a Markdown table.
///
/// # Errors
/// A server that cannot be reached, or any answer that is not a success: a rate of errors is not a rate.
pub async fn run(options: HttpBench) -> Result<String, Failure> {
    let encryption = ServerUrl::parse(&options.url, EXAMPLE, 8080)?.encryption;
    let client =
        reqwest::Client::builder().pool_max_idle_per_host(options.connections).timeout(Duration::from_secs(60));
    let client = match options.tls.config(encryption, &[b"http/1.1"])? {
        Some(config) => client.use_preconfigured_tls(ClientConfig::clone(&config)),
        None => client,
    };
    let client = client.build().context("cannot make an HTTP client")?;
    let remaining = Arc::new(AtomicU64::new(options.requests));
    let mut workers = JoinSet::new();
    let whole = Stopwatch::start();
    for worker in 0..options.connections as u64 {
        workers.spawn(drive(options.clone(), client.clone(), remaining.clone(), worker));
    }
    let mut micros = Vec::new();
    while let Some(joined) = workers.join_next().await {
        micros.extend(joined.context("a worker failed")??);
    }
    Ok(report(&options, whole.elapsed(), micros))
}

/// Sends requests one after another until none remain; returns their latencies in microseconds.
async fn drive(
    options: HttpBench,
    client: reqwest::Client,
    remaining: Arc<AtomicU64>,
    worker: u64,
) -> Result<Vec<u64>> {
    let mut random = ChaCha8Rng::seed_from_u64(options.seed.wrapping_add(worker));
    let mut micros = Vec::new();
    while remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let hour = random.random_range(0..23);
        let path = options
            .path
            .replace("{ad}", &format!("ad{:08}", random.random_range(0..options.ads)))
            .replace("{hour}", &format!("{hour:02}"))
            .replace("{next_hour}", &format!("{:02}", hour + 1));
        let url = format!("{}{path}", options.url);
        let stopwatch = Stopwatch::start();
        let response = client.get(&url).send().await.with_context(|| format!("cannot reach {url}"))?;
        let status = response.status();
        let body = response.bytes().await.with_context(|| format!("answer of {url} broke off"))?;
        micros.push(stopwatch.elapsed_micros());
        if !status.is_success() {
            bail!("{url} answered {status}: {}", String::from_utf8_lossy(&body));
        }
    }
    Ok(micros)
}

fn report(options: &HttpBench, elapsed: Duration, mut micros: Vec<u64>) -> String {
    micros.sort_unstable();
    let millis = |quantile: f64| millis_at(&micros, quantile);
    let rate = micros.len() as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
    format!(
        "| connections | requests | requests/s | p50 ms | p90 ms | p99 ms | max ms |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n\
         | {} | {} | {rate:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
        options.connections,
        micros.len(),
        millis(0.50),
        millis(0.90),
        millis(0.99),
        millis(1.0),
    )
}
