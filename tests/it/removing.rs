//! Rows that go: DELETE of some rows, retention.

use std::time::Duration;

use adlake::base::Span;
use adlake::storage::Subject;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::process::Process;

/// Which rows of a table with columns `ts`, `k` and `n` go.
#[derive(Clone, Debug)]
pub struct Removed {
    condition: String,
}

impl Removed {
    /// Those of a day, counted from 2017-10-30.
    pub fn day(day: i64) -> Self {
        Self { condition: since(day, "1 day") }
    }
}

fn since(day: i64, length: &str) -> String {
    let start = format!("TIMESTAMPTZ '2017-10-30T00:00:00Z' + INTERVAL '{day} days'");
    format!("ts >= {start} AND ts < {start} + INTERVAL '{length}'")
}

/// Rows here and there, whole files, all of them.
pub fn removed() -> impl Strategy<Value = Removed> {
    let of_day = (0_i64..9, proptest::sample::select(vec!["1 hour", "9 hours", "1 day", "3 days"]));
    let condition = prop_oneof![
        3 => of_day.prop_map(|(day, length)| since(day, length)),
        3 => (-2_i64..3).prop_map(|n| format!("n = {n}")),
        1 => (0_i64..9, -2_i64..3).prop_map(|(day, n)| format!("n <> {n} AND {}", since(day, "2 days"))),
        1 => Just("n IS NULL".to_owned()),
        1 => Just("k = 'x'".to_owned()),
        1 => Just("ts < TIMESTAMPTZ '2017-11-03T12:00:00Z'".to_owned()),
        1 => Just("TRUE".to_owned()),
    ];
    condition.prop_map(|condition| Removed { condition })
}

pub async fn remove(process: &Process, name: &str, removed: &Removed) {
    process.run(&format!("DELETE FROM {name} WHERE {}", removed.condition)).await;
}

/// Rows older than so many hours go.
#[derive(Clone, Copy, Debug)]
pub struct Retained {
    hours: u64,
}

impl Retained {
    pub fn hours(hours: u64) -> Self {
        Self { hours }
    }
}

/// Cut-offs, from 2017-11-07 noon: 1990, and days of the first week of November 2017.
pub fn retained() -> impl Strategy<Value = Retained> {
    let hours = prop_oneof![Just(243_000_u64), Just(188), Just(156), Just(132), Just(84)];
    hours.prop_map(|hours| Retained { hours })
}

/// What the maintenance job does to a table with that retention.
pub async fn retain(process: &Process, name: &str, retained: Retained) {
    // Retention is looked at once a minute.
    process.clock.advance(Duration::from_secs(61));
    let path = process.app.catalog.snapshot().relation(name).unwrap().table_path.clone().unwrap();
    let subject = Subject { path, retention: Some(Span::from_secs(retained.hours * 3600)) };
    process.app.maintainer.turn(&subject, &CancellationToken::new()).await;
}
