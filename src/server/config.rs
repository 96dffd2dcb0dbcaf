//! `[server]`, `[http]`, `[flight]`.
use crate::base::{ByteSize, Span};
use serde::Deserialize;
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address all ports listen on.
    pub bind: String,
    /// Must be true to listen beyond loopback: there is no authentication yet.
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
}
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlightConfig {
    pub port: u16,
    pub max_message_size: ByteSize,
    /** prepared statements kept per server */
    pub max_prepared: usize,
    pub session_idle: Span,
}
