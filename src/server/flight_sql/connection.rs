//! TCP connections: bounded, each with a number: a client that sends neither token nor cookie has its connection as its
//! session.
//!
//! ```text
//! accept ─► TLS, when the server has it ─ plain text ─► GOAWAY with the reason, close
//!             │ secured
//!             ▼
//!           permit? ─ no ─► GOAWAY with the reason, close
//!             │ yes
//!             ▼
//!           HTTP/2's preface within flight.handshake_timeout ─► gRPC       closed ─► its own session is forgotten
//! ```
//!
//! After the preface the transport's pings (`flight.ping_interval`) find out whether the client is still there.

use super::session::Sessions;
use crate::base::Tasks;
use crate::server::opening::{ACCEPT_PAUSE, Opened, open, turn_away};
use crate::server::peer::{ConnectionId, Peer};
use crate::server::tls::{Acceptor, Secured, Unsecured};
use crate::server::wire::{Wire, plain};
use crate::telemetry::metrics;
use futures::{Stream, StreamExt};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Connected;

/// Refusals told at the same time; beyond them connections wait to be accepted.
const REFUSALS_MAX: usize = 64;

/// The limits of the port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub connections_max: usize,
    pub handshake_timeout: Duration,
}

/// The port and how its connections begin.
pub(super) struct Entrance {
    pub listener: TcpListener,
    pub acceptor: Acceptor,
}

/// What belongs to one connection.
pub(super) struct Member {
    peer: Peer,
    sessions: Arc<Sessions>,
    _permit: OwnedSemaphorePermit,
}

/// Where connections come in.
struct Door {
    acceptor: Acceptor,
    limits: Limits,
    permits: Arc<Semaphore>,
    next: AtomicU64,
    sessions: Arc<Sessions>,
    tasks: Tasks,
}

/// The connections of `entrance` that speak HTTP/2, numbered, without Nagle's delay.
pub(super) fn accept(
    entrance: Entrance,
    sessions: Arc<Sessions>,
    limits: Limits,
    tasks: &Tasks,
) -> impl Stream<Item = io::Result<Opened<Member>>> + Send + use<> {
    let Entrance { listener, acceptor } = entrance;
    let connections_max = limits.connections_max.clamp(1, Semaphore::MAX_PERMITS);
    let limits = Limits { connections_max, ..limits };
    let permits = Arc::new(Semaphore::new(connections_max));
    let at_once = connections_max.saturating_add(REFUSALS_MAX).saturating_add(acceptor.half_open_max());
    let next = AtomicU64::new(1);
    let door = Arc::new(Door { acceptor, limits, permits, next, sessions, tasks: tasks.clone() });
    let accepted = TcpListenerStream::new(listener).then(|accepted| async {
        if accepted.is_err() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        accepted
    });
    let entering = accepted.map(move |accepted| {
        let door = door.clone();
        async move {
            match accepted {
                Ok(stream) => door.enter(stream).await.map(Ok),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    Some(Err(error))
                }
            }
        }
    });
    entering.buffer_unordered(at_once).filter_map(futures::future::ready)
}

impl Door {
    /// The connection, once it has spoken; `None` when there is no room or it does not speak in time.
    async fn enter(&self, stream: TcpStream) -> Option<Opened<Member>> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let address = stream.peer_addr().ok();
        let Secured { wire, certificate } = match self.secure(stream).await? {
            Ok(secured) => secured,
            Err(Unsecured::PlainText(stream)) => {
                turn_away(plain(stream), &goaway("this port speaks TLS; use grpc+tls://")).await;
                return None;
            }
            Err(Unsecured::Ended) => return None,
        };
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            self.refuse(wire).await;
            return None;
        };
        let open_count = self.limits.connections_max - self.permits.available_permits();
        metrics().set(
            "flight_connections",
            "Open gRPC connections when the last one was accepted",
            &[],
            open_count as f64,
        );
        let connection = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let peer = Peer { connection, address, certificate };
        let member = Member { peer, sessions: self.sessions.clone(), _permit: permit };
        match open(wire, self.limits.handshake_timeout, member).await {
            Ok(opened) => Some(opened),
            Err(error) => {
                if error.kind() == io::ErrorKind::TimedOut {
                    metrics().count("flight_connections_silent", "gRPC connections closed: no preface in time", &[], 1);
                }
                tracing::debug!(%error, "a connection has not spoken HTTP/2");
                None
            }
        }
    }

    /// A handshake is a computation: it has a task of its own, because all of this stream is polled by one. `None` when the
    /// server stops.
    async fn secure(&self, stream: TcpStream) -> Option<Result<Secured, Unsecured>> {
        if let Acceptor::Plain = self.acceptor {
            return Some(self.acceptor.accept(stream).await);
        }
        let (tell, told) = oneshot::channel();
        let (acceptor, stop) = (self.acceptor.clone(), self.tasks.stop_signal());
        self.tasks.spawn("grpc handshake", async move {
            tokio::select! {
                // Nobody is there to hear it when the server stops.
                secured = acceptor.accept(stream) => drop(tell.send(secured)),
                () = stop.cancelled() => {}
            }
        });
        told.await.ok()
    }

    async fn refuse(&self, wire: Wire) {
        metrics().count("flight_connections_refused", "gRPC connections refused for want of room", &[], 1);
        let count = self.limits.connections_max;
        turn_away(wire, &goaway(&format!("all {count} connections are in use (flight.max_connections)"))).await;
    }
}

/// HTTP/2 for "there is no room": empty settings, then GOAWAY with `reason` as debug data (RFC 9113, 6.5 and 6.8).
fn goaway(reason: &str) -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ENHANCE_YOUR_CALM: u32 = 0xb;
    let length = u32::try_from(reason.len()).unwrap_or_default() + 8;
    let last_stream = 0_u32;
    let mut bytes = SETTINGS.to_vec();
    bytes.extend_from_slice(&length.to_be_bytes()[1..]);
    bytes.extend_from_slice(&[7, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&last_stream.to_be_bytes());
    bytes.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
    bytes.extend_from_slice(reason.as_bytes());
    bytes
}

impl Connected for Opened<Member> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.kept.peer.clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.sessions.connection_closed(self.peer.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, Span};
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn incoming(
        listener: TcpListener,
        limits: Limits,
    ) -> impl Stream<Item = io::Result<Opened<Member>>> + Send + Unpin {
        let sessions = Arc::new(Sessions::new(Span::from_secs(60), Clock::system()));
        Box::pin(accept(Entrance { listener, acceptor: Acceptor::Plain }, sessions, limits, &Tasks::new()))
    }

    async fn speaking(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(PREFACE).await.unwrap();
        client
    }

    #[tokio::test]
    async fn silent_connections_are_closed_and_hold_up_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming =
            incoming(listener, Limits { connections_max: 2, handshake_timeout: Duration::from_millis(20) });
        let mut silent = TcpStream::connect(address).await.unwrap();
        let _honest = speaking(address).await;
        assert_eq!(incoming.next().await.unwrap().unwrap().connect_info().connection, ConnectionId(2));
        let mut nothing = [0];
        tokio::select! {
            _ = incoming.next() => panic!("nobody else has spoken"),
            read = silent.read(&mut nothing) => assert_eq!(read.unwrap(), 0),
        }
    }

    #[tokio::test]
    async fn a_connection_too_many_is_told_why() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming =
            incoming(listener, Limits { connections_max: 1, handshake_timeout: Duration::from_secs(60) });
        let _first = speaking(address).await;
        let first = incoming.next().await.unwrap().unwrap();
        let (mut second, mut told) = (speaking(address).await, Vec::new());
        tokio::select! {
            _ = incoming.next() => panic!("there was no room"),
            read = second.read_to_end(&mut told) => assert!(read.is_ok()),
        }
        let told = String::from_utf8_lossy(&told);
        assert!(told.ends_with("all 1 connections are in use (flight.max_connections)"), "{told}");
        drop((first, second));
        let _third = speaking(address).await;
        assert_eq!(incoming.next().await.unwrap().unwrap().connect_info().connection, ConnectionId(2));
    }
}
