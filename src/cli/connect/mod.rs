//! The way to a server: its URL, the certificates that decide whom to believe, the connection, and what is said when there
//! is none.
//!
//! ```text
//! grpc://host:port ─► ServerUrl ─┬─► dial ─► TCP ─► TLS, when the URL asks for it ─► stream ─► channel (gRPC)
//!      --ca, --client-cert ──────┘                        └ explain: untrusted, expired, another name, speaks no TLS …
//! ```

mod dial;
mod explain;
mod trust;
mod url;

pub use dial::{Dialer, Stream};
pub use explain::{explain, speaks_tls};
pub use trust::TlsArgs;
pub use url::{Encryption, ServerUrl};
