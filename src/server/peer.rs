//! Who is at the other end, as far as the connection itself tells. In the extensions of every request, HTTP and gRPC.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::tls::CertificateFacts;

/// Which connection a request came through; never used twice in one process by one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub connection: ConnectionId,
    /// `None` when it was gone before it could be asked for.
    pub address: Option<SocketAddr>,
    /// The certificate that the client has shown, checked against `tls.client_ca`: who has its key. `None` without mTLS.
    pub certificate: Option<Arc<CertificateFacts>>,
}

impl Peer {
    /// The address without its port.
    pub fn host(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip().to_canonical())
    }
}
