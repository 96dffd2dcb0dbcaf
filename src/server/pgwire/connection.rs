//! Accepts connections, bounds them, and lets them end.
//!
//! ```text
//! accept ─► a place among the newcomers ─► SSLRequest? ─► TLS ─► first message within pgwire.startup_timeout
//!             │ lost to a later one                                 ├ CancelRequest ─► cancels, close
//!             ▼                                                     ▼ Startup
//!           close                                          opening (who) ─► permit? ─ no ─► 53300, close
//!                                                                             │ yes: no newcomer any more
//!                                                                             ▼
//!                                                                          dialogue     stop signal: no more statements, close
//! ```
//! So who does not say who it is takes the place of newcomers only, and of those the oldest.
//!
//! A server that has TLS takes nothing without it but `CancelRequest`, which libpq before version 17 always sends so; its key
//! is of use for nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::PgwireParts;
use super::cancels::Cancels;
use super::complaint::Complaint;
use super::inbox::{Broken, First, first};
use super::{dialogue, opening};
use crate::server::opening::{ACCEPT_PAUSE, turn_away};
use crate::server::peer::{ConnectionId, Peer};
use crate::server::tls::{Acceptor, CertificateFacts, HalfOpen, Secured, Speaks};
use crate::server::wire::{Wire, plain};
use crate::telemetry::metrics;

/// Begins a handshake of TLS, for clients that do not ask before.
const HANDSHAKE: u8 = 22;
/// Answers to requests for encryption.
const TAKEN: &[u8] = b"S";
const NOT_TAKEN: &[u8] = b"N";
/// Requests for encryption before a client has to go on without.
const REQUESTS_MAX: usize = 3;

/// What every connection needs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Door {
    pub parts: PgwireParts,
    pub cancels: Cancels,
    acceptor: Acceptor,
    newcomers: HalfOpen,
    permits: Arc<Semaphore>,
    permits_total: usize,
    next: Arc<AtomicU64>,
}

/// A connection whose first message has come.
struct Begun {
    wire: Wire,
    certificate: Option<Arc<CertificateFacts>>,
    first: First,
}

pub(super) async fn run(parts: PgwireParts, listener: TcpListener) {
    let (tasks, stop) = (parts.tasks.clone(), parts.tasks.stop_signal());
    let total = u32::try_from(parts.config.max_connections).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 3);
    let permits = Arc::new(Semaphore::new(total as usize));
    let door = Door {
        acceptor: Acceptor::new(parts.tls.clone(), Speaks::Postgres),
        newcomers: HalfOpen::new(total as usize),
        cancels: Cancels::default(),
        permits: permits.clone(),
        permits_total: total as usize,
        next: Arc::default(),
        parts,
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn("pgwire connection", Box::pin(door.clone().enter(stream)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // All permits back: every connection has ended.
    let _all = permits.acquire_many(total).await;
}

impl Door {
    /// One connection, from its first byte to its end.
    async fn enter(self, stream: TcpStream) {
        let stop = self.parts.tasks.stop_signal();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let address = stream.peer_addr().ok();
        let place = self.newcomers.enter();
        let patience = self.parts.config.startup_timeout.duration();
        let begun = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = place.lost() => return,
            begun = tokio::time::timeout(patience, self.begin(stream)) => begun,
        };
        let Ok(Some(Begun { wire, certificate, first })) = begun else {
            return metrics().count(
                "pgwire_connections_silent",
                "Connections closed before their first message",
                &[],
                1,
            );
        };
        let startup = match first {
            First::Startup(startup) => startup,
            First::Cancel(request) => {
                // Clients wait for the connection to close.
                if let Some(key) = request.secret_key.as_i32() {
                    self.cancels.cancel(request.pid, key);
                }
                return;
            }
            First::Ssl | First::Gss => return,
        };
        let connection = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let peer = Peer { connection, address, certificate };
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = place.lost() => return,
            opened = Box::pin(opening::open(&self, wire, startup, &peer)) => opened,
        };
        let Some(opened) = opened else { return };
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            metrics().count("pgwire_connections_refused", "Connections refused for want of room", &[], 1);
            let most = self.parts.config.max_connections;
            let message = format!("all {most} connections are in use (pgwire.max_connections); try again later");
            return refuse(opened.wire, &Complaint::fatal("53300", message)).await;
        };
        drop(place);
        let open_count = self.permits_total.saturating_sub(self.permits.available_permits());
        let about = "Open connections of PostgreSQL's protocol when the last one was accepted";
        metrics().set("pgwire_connections", about, &[], open_count as f64);
        dialogue::run(self.parts, opened).await;
        drop(permit);
    }

    /// `None`: nothing to go on with.
    async fn begin(&self, stream: TcpStream) -> Option<Begun> {
        match &self.acceptor {
            Acceptor::Plain => begin_plain(plain(stream)).await,
            Acceptor::Tls { .. } => self.begin_tls(stream).await,
        }
    }

    async fn begin_tls(&self, mut stream: TcpStream) -> Option<Begun> {
        let mut byte = [0];
        let is_direct = stream.peek(&mut byte).await.ok()? == 1 && byte[0] == HANDSHAKE;
        let mut asked = is_direct;
        for _ in 0..REQUESTS_MAX {
            if asked {
                break;
            }
            match first(&mut stream).await {
                Ok(Some(First::Ssl)) => {
                    stream.write_all(TAKEN).await.ok()?;
                    asked = true;
                }
                Ok(Some(First::Gss)) => stream.write_all(NOT_TAKEN).await.ok()?,
                Ok(Some(cancel @ First::Cancel(_))) => {
                    return Some(Begun { wire: plain(stream), certificate: None, first: cancel });
                }
                Ok(Some(First::Startup(_))) => {
                    let complaint = Complaint::fatal("28000", "this port speaks TLS; connect with sslmode=require");
                    refuse(plain(stream), &complaint).await;
                    return None;
                }
                other => return turned_away(plain(stream), other).await,
            }
        }
        if !asked {
            return None;
        }
        let Secured { mut wire, certificate } = self.acceptor.accept(stream).await.ok()?;
        match first(&mut wire).await {
            Ok(Some(begin @ (First::Startup(_) | First::Cancel(_)))) => Some(Begun { wire, certificate, first: begin }),
            other => turned_away(wire, other).await,
        }
    }
}

async fn begin_plain(mut wire: Wire) -> Option<Begun> {
    for _ in 0..REQUESTS_MAX {
        match first(&mut wire).await {
            Ok(Some(First::Ssl | First::Gss)) => wire.write_all(NOT_TAKEN).await.ok()?,
            Ok(Some(first)) => return Some(Begun { wire, certificate: None, first }),
            other => return turned_away(wire, other).await,
        }
    }
    None
}

/// Tells a client that speaks another protocol; who has only closed is told nothing.
async fn turned_away(wire: Wire, read: Result<Option<First>, Broken>) -> Option<Begun> {
    match read {
        Ok(Some(_)) => refuse(wire, &Complaint::fatal("08P01", "encryption was asked for twice")).await,
        Err(Broken::Malformed(message)) => refuse(wire, &Complaint::fatal("08P01", message)).await,
        Ok(None) => {}
        Err(Broken::Io(error)) => tracing::debug!(%error, "a connection ended before its first message"),
    }
    None
}

/// Says why, then closes; bounded in time.
pub(super) async fn refuse(wire: Wire, complaint: &Complaint) {
    let mut bytes = bytes::BytesMut::new();
    match PgWireBackendMessage::ErrorResponse(complaint.message(None)).encode(&mut bytes) {
        Ok(()) => turn_away(wire, &bytes).await,
        Err(error) => tracing::debug!(%error, "a refusal cannot be written"),
    }
}

/// Sends bytes at once.
pub(super) async fn send<W: AsyncWrite + Unpin>(
    wire: &mut W,
    messages: Vec<PgWireBackendMessage>,
) -> std::io::Result<()> {
    let mut bytes = bytes::BytesMut::new();
    for message in messages {
        message.encode(&mut bytes).map_err(std::io::Error::other)?;
    }
    wire.write_all(&bytes).await?;
    wire.flush().await
}
