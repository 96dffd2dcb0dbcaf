//! `[server]`, `[http]`, `[flight]`, `[pgwire]`.

use crate::base::{ByteSize, Span};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address all ports listen on.
    pub bind: String,
    /// Says that the network itself is safe: then neither TLS nor authentication is asked for beyond loopback.
    pub insecure: bool,
    /// Longest wait for accepted work when stopping.
    pub drain: Span,
    /// Batches of one gRPC `AppendStream` or Flight `DoPut` in work.
    pub append_batches: usize,
    /// Bytes of one such call in work.
    pub append_size: ByteSize,
    /// Bytes of all such calls of a protocol in work.
    pub append_memory: ByteSize,
    /// A read replica: every change is refused.
    pub read_only: bool,
    /// Where a replica sends who wants to write; may be empty.
    pub write_at: String,
    /// Host under which other processes reach this one; empty = `bind`.
    pub advertise: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// 0 takes any free port.
    pub port: u16,
    /// Largest request body, before and after decompression.
    pub max_body_size: ByteSize,
    /// All request bodies in memory together.
    pub max_bodies_memory: ByteSize,
    /// Connections open at once.
    pub max_connections: usize,
    /// Longest wait for a connection's first bytes, and for a request's head.
    pub head_timeout: Span,
    /// Longest silence inside a request's body, and the head start of the whole body.
    pub body_timeout: Span,
    /// Bytes for which a body gets one more second.
    pub body_rate: ByteSize,
    /// Silence of an HTTP/2 connection after which it is pinged.
    pub ping_interval: Span,
    /// Longest wait for the answer.
    pub ping_timeout: Span,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlightConfig {
    pub port: u16,
    pub max_message_size: ByteSize,
    /** prepared statements kept per server */
    pub max_prepared: usize,
    pub session_idle: Span,
    /// Connections open at once.
    pub max_connections: usize,
    /// Longest wait for a connection's HTTP/2 preface.
    pub handshake_timeout: Span,
    /// Silence of a connection after which it is pinged.
    pub ping_interval: Span,
    /// Longest wait for the answer.
    pub ping_timeout: Span,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PgwireConfig {
    /// Whether there is such a port.
    pub enabled: bool,
    /// 0 takes any free port.
    pub port: u16,
    /// Largest message of a client, and all of a connection's that wait for their turn; as much may its prepared statements and
    /// portals keep.
    pub max_message_size: ByteSize,
    /// Prepared statements kept by a connection, and open portals.
    pub max_prepared: usize,
    /// Connections open at once.
    pub max_connections: usize,
    /// Longest wait for a connection to say who it is, and for each step of that.
    pub startup_timeout: Span,
    /// Longest silence of a client between statements, and longest wait for it to read.
    pub idle_timeout: Span,
}
