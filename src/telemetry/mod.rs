//! Log and metrics. Layer 0: imports only `base`.
//!
//! Metrics are made by name where they are counted; [`metrics`] holds the one registry, which `/metrics` prints.

pub mod log;
pub mod metrics;

pub use metrics::{Metrics, metrics};
