//! SQL in, Arrow stream out. Knows no protocol.
//!
//! Layer 3. Imports `catalog`, `auth`, `storage`, `base`, `telemetry`; never `ingest`, `materialize`, `scheduler`.
//!
//! ```text
//! engine ─► statement/ ─► tables (names, snapshots) ─► planner ─► stream ─► Answer
//!              ├─► ddl/ ─► catalog, storage            functions/, system/ are what SQL sees
//!              └─► Commands (ingest, materialize)      admission, running, runtime hold the limits
//! ```

// what callers see
pub mod answer;
pub mod commands;
pub mod config;
pub mod engine;
pub mod error;
pub mod session;
pub mod state;
// a statement's way
mod ddl;
mod fault;
mod params;
mod placeholders;
mod planner;
mod statement;
mod stream;
mod tables;
// what SQL sees
mod functions;
mod system;
// limits
mod admission;
mod depth;
mod running;
mod runtime;

pub use answer::{Answer, Outcome, QueryId};
pub use commands::{CommandContext, CommandError, Commands, Progress, WriteReport};
pub use config::QueryConfig;
pub use engine::{Engine, EngineParts, PinnedQuery, Prepared, Request, StatementKind};
pub use error::QueryError;
pub use session::{Origin, Params, Session};
pub use state::{IngestRow, SystemState};

use statement::query::answer_schema;
