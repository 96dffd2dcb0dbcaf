//! What this process has done for each view since it started: the last refresh, failures in a row, when the next is due.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::{MaterializeError, RefreshReport};
use crate::base::{Timestamp, chain};
use crate::telemetry::metrics;

/// Of one view.
#[derive(Clone, Debug, Default)]
pub(super) struct ViewState {
    pub last_refresh_at: Option<Timestamp>,
    pub last_took: Option<Duration>,
    pub last_rows_in: Option<u64>,
    pub last_rows_out: Option<u64>,
    /// Refreshes that failed since the last one that did not.
    pub failures: u32,
    pub last_error: Option<String>,
    pub next_refresh_at: Option<Timestamp>,
}

/// Of all views, by name.
#[derive(Default)]
pub(super) struct States(Mutex<HashMap<String, ViewState>>);

impl States {
    pub fn of(&self, view: &str) -> ViewState {
        self.0.lock().get(view).cloned().unwrap_or_default()
    }

    /// Takes note of a refresh that has ended.
    pub fn refreshed(
        &self,
        view: &str,
        outcome: &Result<RefreshReport, MaterializeError>,
        now: Timestamp,
        took: Duration,
    ) {
        let labels = [("view", view)];
        let mut states = self.0.lock();
        let state = states.entry(view.to_owned()).or_default();
        state.last_refresh_at = Some(now);
        state.last_took = Some(took);
        match outcome {
            Ok(report) => {
                state.failures = 0;
                state.last_error = None;
                state.last_rows_in = Some(report.source_rows);
                state.last_rows_out = Some(report.rows);
                metrics().count("view_rows_in", "Source rows worked through by refreshes", &labels, report.source_rows);
                metrics().count("view_rows_out", "Rows written by refreshes", &labels, report.rows);
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                state.last_error = Some(chain(error));
                metrics().count("view_refresh_failures", "Refreshes that failed", &labels, 1);
            }
        }
    }

    pub fn set_next(&self, view: &str, next: Option<Timestamp>) {
        self.0.lock().entry(view.to_owned()).or_default().next_refresh_at = next;
    }

    /// Forgets views that are gone.
    pub fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().retain(|view, _| is_there(view));
    }
}
