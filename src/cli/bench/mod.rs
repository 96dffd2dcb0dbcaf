//! `adlake bench`: load on a running server, measured from outside.
//!
//! `bench http` asks (GET), `bench ingest` sends rows. Both report rate and latency quantiles. Comparisons with peers are
//! `benches/compare.py`, which calls this.

mod http;
mod ingest;

use super::failure::Failure;

/// What to measure.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum BenchCommand {
    /// GET requests over HTTP: rate and latency quantiles
    Http(http::HttpBench),
    /// Clicks sent over Flight, gRPC or HTTP: accepted events per second, latency of answers
    Ingest(ingest::IngestBench),
}

/// Runs the measurement; returns the report.
///
/// # Errors
/// A server that cannot be reached, answers that make the figures meaningless.
pub async fn run(command: BenchCommand) -> Result<String, Failure> {
    match command {
        BenchCommand::Http(options) => http::run(options).await,
        BenchCommand::Ingest(options) => ingest::run(options).await,
    }
}

/// The smallest value that at least `quantile` of the sorted values do not exceed, in milliseconds (nearest rank).
fn millis_at(sorted_micros: &[u64], quantile: f64) -> f64 {
    let rank = (quantile * sorted_micros.len() as f64).ceil() as usize;
    sorted_micros.get(rank.saturating_sub(1)).map_or(0.0, |micros| *micros as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_rank() {
        let micros: Vec<u64> = (1..=100).map(|value| value * 1_000).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|quantile| millis_at(&micros, quantile)), [50.0, 99.0, 100.0]);
        assert_eq!(millis_at(&[], 0.5), 0.0);
    }
}
