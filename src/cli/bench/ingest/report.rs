//! What a run gave, for people and for programs.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::json;

use super::Protocol;
use super::drive::Tally;
use crate::cli::bench::millis_at;

/// Answers at each end of a run whose latencies are compared.
const EDGE_ANSWERS: usize = 1_000;

/// A finished measurement.
pub struct Run {
    pub protocol: Protocol,
    pub connections: u32,
    pub batch_rows: usize,
    /// Asked for, in rows per second.
    pub rate: Option<f64>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Processor time the generator took, in seconds.
    pub cpu: Option<f64>,
    pub tally: Tally,
}

struct Figures {
    events_per_second: f64,
    p50: f64,
    p99: f64,
    max: f64,
    /// p99 of the first and of the last thousand answers.
    edges: Option<(f64, f64)>,
}

impl Run {
    pub fn markdown(&self) -> String {
        let Figures { events_per_second, p50, p99, max, .. } = self.figures();
        let counts = self.tally.counts;
        let errors: Vec<String> =
            self.tally.errors.iter().map(|(kind, (count, message))| format!("{kind} × {count} ({message})")).collect();
        let errors = if errors.is_empty() { "none".to_owned() } else { errors.join("; ") };
        let cpu = self.cpu.map_or(String::new(), |cpu| {
            format!("; the generator took {:.0} % of a core", cpu / self.elapsed.as_secs_f64() * 100.0)
        });
        format!(
            "| protocol | connections | rows per request | accepted events/s | ack p50 ms | p99 ms | max ms |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n\
             | {} | {} | {} | {events_per_second:.0} | {p50:.1} | {p99:.1} | {max:.1} |\n\n\
             {} accepted, {} duplicates, {} rejected in {:.2} s; errors: {errors}{cpu}",
            self.protocol_name(),
            self.connections,
            self.batch_rows,
            counts.accepted,
            counts.duplicates,
            counts.rejected,
            self.elapsed.as_secs_f64(),
        )
    }

    pub fn json(&self) -> Result<String> {
        let Figures { events_per_second, p50, p99, max, edges } = self.figures();
        let counts = self.tally.counts;
        let errors: serde_json::Map<String, serde_json::Value> =
            self.tally.errors.iter().map(|(kind, (count, _))| (kind.clone(), json!(count))).collect();
        let report = json!({
            "protocol": self.protocol_name(),
            "connections": self.connections,
            "batch_rows": self.batch_rows,
            "rate": self.rate,
            "seconds": self.elapsed.as_secs_f64(),
            "accepted": counts.accepted,
            "duplicates": counts.duplicates,
            "rejected": counts.rejected,
            "requests": self.tally.answered(),
            "events_per_second": events_per_second,
            "ack_ms": { "p50": p50, "p99": p99, "max": max },
            "ack_p99_ms_of_first_1000": edges.map(|(first, _)| first),
            "ack_p99_ms_of_last_1000": edges.map(|(_, last)| last),
            "errors": errors,
            "generator_cpu_seconds": self.cpu,
        });
        Ok(serde_json::to_string(&report)?)
    }

    fn protocol_name(&self) -> String {
        self.protocol.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn figures(&self) -> Figures {
        let mut answers = self.tally.answers.clone();
        answers.sort_unstable();
        let p99 = |part: &[(u64, u64)]| {
            let mut micros: Vec<u64> = part.iter().map(|(_, latency)| *latency).collect();
            micros.sort_unstable();
            millis_at(&micros, 0.99)
        };
        let edges = (answers.len() >= 2 * EDGE_ANSWERS)
            .then(|| (p99(&answers[..EDGE_ANSWERS]), p99(&answers[answers.len() - EDGE_ANSWERS..])));
        let mut micros: Vec<u64> = answers.iter().map(|(_, latency)| *latency).collect();
        micros.sort_unstable();
        Figures {
            events_per_second: self.tally.counts.accepted as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON),
            p50: millis_at(&micros, 0.5),
            p99: millis_at(&micros, 0.99),
            max: millis_at(&micros, 1.0),
            edges,
        }
    }
}

/// Processor time of this process so far; `None` where the system does not tell.
pub fn cpu_seconds() -> Option<f64> {
    /// Clock ticks per second, the same on every Linux (`USER_HZ`).
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields 14 and 15, counted behind the name, which may hold spaces (proc(5)).
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_long_run_are_told_apart() {
        let mut tally = Tally::default();
        tally.counts.accepted = 3_000;
        tally.answers = (0..3_000).map(|at| (at, if at < 1_500 { 1_000 } else { 2_000 })).collect();
        tally.answers.reverse();
        let elapsed = Duration::from_secs(2);
        let run = Run {
            protocol: Protocol::HttpSingle,
            connections: 1,
            batch_rows: 1,
            rate: None,
            elapsed,
            cpu: None,
            tally,
        };
        let report: serde_json::Value = serde_json::from_str(&run.json().unwrap()).unwrap();
        assert_eq!((&report["events_per_second"], &report["protocol"]), (&json!(1500.0), &json!("http-single")));
        assert_eq!(
            (&report["ack_p99_ms_of_first_1000"], &report["ack_p99_ms_of_last_1000"]),
            (&json!(1.0), &json!(2.0))
        );
        assert!(run.markdown().contains("| http-single | 1 | 1 | 1500 |"), "{}", run.markdown());
    }
}
