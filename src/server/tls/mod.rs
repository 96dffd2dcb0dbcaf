//! TLS and mTLS, the same for every port: which files say who the server is, how a connection begins, what is known of who
//! is at the other end.
//!
//! ```text
//! start:  config ─► files (read, checked, said what is wrong) ─► identity ─┐
//! serving: reload (every tls.reload_interval, and at SIGHUP) ─► identity ──┤ new connections take the newest
//!                                                                          ▼
//! accepted ─► acceptor: first byte ─► handshake, bounded in time and number ─► Secured (stream, client's certificate)
//!                          └ plain text: given back, to be told in the protocol's words
//! ```
//! A connection that is not through its handshake holds no place among `http.max_connections` or `flight.max_connections`;
//! it holds one of `tls.max_handshakes`, and who has waited longest for his loses it to a newcomer (`half_open`).
//!
//! Not here: what a connection says next (each protocol's `connection`), who may do what (auth).

mod acceptor;
mod config;
mod error;
mod facts;
mod files;
mod half_open;
mod identity;
mod reload;
#[cfg(test)]
mod testing;

pub use acceptor::{Acceptor, Secured, Speaks, Unsecured};
pub use config::{ClientAuth, TlsConfig};
pub use error::TlsError;
pub use facts::CertificateFacts;
pub use half_open::HalfOpen;
pub use reload::{Tls, TlsStatus};
