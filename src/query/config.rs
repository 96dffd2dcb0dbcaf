//! `[query]`: limits of the engine.

use crate::base::{ByteSize, Span};
use crate::storage::Locations;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryConfig {
    /// Memory of all running queries together; what does not fit spills.
    pub memory_limit: ByteSize,
    /// Longest run of one statement.
    pub timeout: Span,
    /// Statements running at once; further ones wait.
    pub concurrent: usize,
    /// Statements waiting at most; further ones get ResourceExhausted.
    pub queue_length: usize,
    /// Longest wait for a turn.
    pub queue_wait: Span,
    /// Threads of the CPU runtime; 0 = one per core.
    pub threads: usize,
    /// Folder for spill files; empty = the system's temporary folder.
    pub spill_dir: String,
    pub spill_limit: ByteSize,
    /// Finished statements kept for `system.queries`.
    pub history: usize,
    /// Statements that take as long are logged and marked; zero = none.
    pub slow_after: Span,
    /// Checks of rewritten queries (option `verify` of views) that run at once, each on one thread.
    pub verify_concurrent: usize,
    /// Checks that wait at most; further ones are let go.
    pub verify_waiting: usize,
    /// Longest run of one check.
    pub verify_timeout: Span,
    /// Longest SQL text.
    pub max_sql_size: ByteSize,
    /// Values for `$1` … of one statement.
    pub max_parameters: usize,
    /// Where statements that came through a server may read files from.
    pub allowed_locations: Locations,
}
