//! The metrics registry: counters, gauges and histograms by name and labels, printed as OpenMetrics text.
//!
//! Every name is printed with [`PREFIX`] in front, which callers leave out: `count("queries", …)` is `adlake_queries_total`.
//! Labels name tables, protocols and outcomes, never users' data. Look-ups take a lock, so count per batch, not per row.

use std::collections::HashMap;
use std::fmt::Error;
use std::sync::{LazyLock, atomic::AtomicU64};

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = Vec<(String, String)>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// In front of every name.
const PREFIX: &str = "adlake";

/// All metrics of the process.
#[derive(Default)]
pub struct Metrics(Mutex<State>);

struct State {
    registry: Registry,
    counters: HashMap<&'static str, Family<Labels, Counter>>,
    gauges: HashMap<&'static str, Family<Labels, Gauge<f64, AtomicU64>>>,
    histograms: HashMap<&'static str, Histograms>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            registry: Registry::with_prefix(PREFIX),
            counters: HashMap::new(),
            gauges: HashMap::new(),
            histograms: HashMap::new(),
        }
    }
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

/// The registry of this process.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// From 100 µs to about 100 s, doubling.
fn seconds_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 20))
}

impl Metrics {
    /// Adds to the counter `name` (printed as `adlake_<name>_total`).
    pub fn count(&self, name: &'static str, help: &str, pairs: &[(&str, &str)], by: u64) {
        let mut state = self.0.lock();
        let State { registry, counters, .. } = &mut *state;
        let family = counters.entry(name).or_insert_with(|| {
            let family = Family::default();
            registry.register(name, help, family.clone());
            family
        });
        family.get_or_create(&labels(pairs)).inc_by(by);
    }

    /// Sets the gauge `name`.
    pub fn set(&self, name: &'static str, help: &str, pairs: &[(&str, &str)], value: f64) {
        let mut state = self.0.lock();
        let State { registry, gauges, .. } = &mut *state;
        let family = gauges.entry(name).or_insert_with(|| {
            let family = Family::default();
            registry.register(name, help, family.clone());
            family
        });
        family.get_or_create(&labels(pairs)).set(value);
    }

    /// Records one duration in the histogram `name`, in seconds.
    pub fn observe_seconds(&self, name: &'static str, help: &str, pairs: &[(&str, &str)], seconds: f64) {
        let mut state = self.0.lock();
        let State { registry, histograms, .. } = &mut *state;
        let family = histograms.entry(name).or_insert_with(|| {
            let family = Family::new_with_constructor(seconds_histogram as fn() -> Histogram);
            registry.register(name, help, family.clone());
            family
        });
        family.get_or_create(&labels(pairs)).observe(seconds);
    }

    /// The whole registry in OpenMetrics text format.
    ///
    /// # Errors
    /// Only when a metric cannot be formatted.
    pub fn render(&self) -> Result<String, Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.lock().registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_with_one_name_share_a_family() {
        let metrics = Metrics::default();
        metrics.count("rows_committed", "rows", &[("table", "clicks")], 2);
        metrics.count("rows_committed", "rows", &[("table", "clicks")], 3);
        let text = metrics.render().unwrap_or_default();
        assert!(text.contains("\nadlake_rows_committed_total{table=\"clicks\"} 5"), "{text}");
    }

    #[test]
    fn every_kind_of_metric_has_the_prefix() {
        let metrics = Metrics::default();
        metrics.count("queries", "queries", &[], 1);
        metrics.set("connections", "connections", &[], 2.0);
        metrics.observe_seconds("query_seconds", "seconds", &[], 0.5);
        let text = metrics.render().unwrap_or_default();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(samples.len() > 3 && samples.iter().all(|sample| sample.starts_with("adlake_")), "{text}");
    }
}
