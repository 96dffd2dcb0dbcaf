//! The edge: protocols. Each decodes, calls the core, encodes.
//!
//! Layer 6. Imports `query`, `ingest`, `catalog`, `auth`, `base`; one protocol never imports another.

pub mod appends;
pub mod arrow_payload;
pub mod audit;
pub mod config;
pub mod encode;
pub mod error;
pub mod flight_sql;
pub mod gate;
pub mod grpc;
pub mod http;
pub mod opening;
pub mod peer;
pub mod pgwire;
pub mod tls;
pub mod wire;

pub use config::{FlightConfig, HttpConfig, PgwireConfig, ServerConfig};
pub use gate::Gate;
pub use tls::{ClientAuth, Tls, TlsConfig, TlsStatus};
