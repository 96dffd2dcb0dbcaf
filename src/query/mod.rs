//! SQL in, Arrow stream out. Knows no protocol.
//!
//! Layer 3. Imports `rollup`, `catalog`, `auth`, `storage`, `base`, `telemetry`; never `ingest`, `materialize`, `scheduler`.
//!
//! ```text
//! engine ─► statement/ ─► tables (names, snapshots) ─► planner ─► stream ─► Answer
//!              ├─► ddl/ ─► catalog, storage            functions/, system/ are what SQL sees
//!              ├─► advise ─► rollup
//!              └─► Commands (ingest, materialize)      admission, turns, memory, running, runtime hold the limits
//! ```

// what callers see
pub mod answer;
pub mod commands;
pub mod config;
pub mod engine;
pub mod error;
pub mod ipc_compression;
pub mod reach;
pub mod result_endpoints;
pub mod session;
pub mod state;
// a statement's way
mod advise;
mod begin;
mod ddl;
mod digest;
mod fault;
mod inference;
mod literals;
mod params;
mod placeholders;
mod planner;
mod prepared;
mod statement;
mod storable;
mod stream;
mod tables;
mod verification;
mod views;
// who may
mod audit;
mod authorise;
mod leak;
mod protect;
mod shape;
mod viewer;
// what SQL sees
mod functions;
mod postgres;
mod system;
// limits
mod admission;
mod depth;
mod growth;
mod memory;
mod running;
mod runtime;
mod turns;
mod with;

pub use answer::{Answer, Outcome, PinnedQuery, QueryId};
pub use commands::{
    CommandContext, CommandError, Commands, DeleteRows, Progress, VERIFIED_SIDE, WriteReport, explained,
};
pub use config::QueryConfig;
pub use engine::{Engine, EngineParts, Request};
pub use error::QueryError;
pub use ipc_compression::{IPC_COMPRESSION, IpcCompression};
pub use postgres::{Setting, postgres_compatible};
pub use prepared::{Prepared, StatementKind};
pub use reach::Reach;
pub use result_endpoints::{RESULT_ENDPOINTS, ResultEndpoints};
pub use session::{Origin, Params, Session};
pub use state::{
    CertificateRow, IngestRow, ListenerRow, RESTATED_AT, RESTATEMENTS_PATH, SystemState, ViewRow, restatements_schema,
};
pub use verification::VERIFICATIONS_PATH;
pub use views::{
    Behind, MadeOf, PartitionAt, PartitionRun, Pending, absorbed_version, absorbing, as_of, may_hold, pending, rows_at,
    stored_as_of,
};

use statement::query::answer_schema;
