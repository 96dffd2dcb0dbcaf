//! SQL in, Arrow stream out. Knows no protocol.
//!
//! Layer 3. Imports `catalog`, `auth`, `storage`, `base`, `telemetry`; never `ingest`, `materialize`, `scheduler`.

pub mod answer;
pub mod commands;
pub mod config;
pub mod engine;
pub mod error;
pub mod session;

pub use answer::{Answer, Outcome, QueryId};
pub use commands::{CommandContext, CommandError, Commands, Progress, WriteReport};
pub use config::QueryConfig;
pub use engine::{Engine, EngineParts, PinnedQuery, Prepared, Request, StatementKind};
pub use error::QueryError;
pub use session::{Origin, Params, Session};
