//! Accepts connections, bounds them, and lets them end.
//!
//! ```text
//! accept ─► TLS, when the server has it ─ plain text ─► 400, close
//!             │ secured
//!             ▼
//!           permit? ─ no ─► 503, close
//!             │ yes
//!             ▼
//!           first bytes? ─ not in time ─► close
//!             │ yes
//!             ▼
//!           HTTP/1.1 or HTTP/2 ─► router     stop signal: close the listener, finish what was asked, close
//! ```
//!
//! Limits: connections (`http.max_connections`), `http.head_timeout` for the first bytes and for a request's head (also
//! the longest an idle connection of HTTP/1 is kept), `http.ping_interval` and `http.ping_timeout` for HTTP/2, 128
//! concurrent streams of one HTTP/2 connection, and `server.drain` for what still runs when stopping.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::Layer;

use super::problem::{PROBLEM_JSON, Problem};
use crate::base::{Kind, Tasks};
use crate::server::opening::{ACCEPT_PAUSE, open, turn_away};
use crate::server::peer::{ConnectionId, Peer};
use crate::server::tls::{Acceptor, Secured, Unsecured};
use crate::server::wire::{Wire, plain};
use crate::telemetry::metrics;

const STREAMS_MAX: u32 = 128;

/// What the accept loop needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections_max: usize,
    /// Longest wait for the first bytes and for a request's head; an idle connection of HTTP/1 is closed after it.
    pub head_timeout: Duration,
    /// Silence of an HTTP/2 connection after which it is pinged, and the longest wait for the answer.
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub drain: Duration,
}

/// A port and how its connections begin.
pub struct Entrance {
    pub listener: TcpListener,
    pub acceptor: Acceptor,
}

/// What every connection needs. Cheap to clone.
#[derive(Clone)]
struct Door {
    router: Router,
    acceptor: Acceptor,
    limits: Limits,
    permits: Arc<Semaphore>,
    next: Arc<AtomicU64>,
    tasks: Tasks,
}

/// Serves `router` at `entrance` until `tasks` stops, then until every accepted request is answered or `drain` is over.
pub async fn run(router: Router, entrance: Entrance, limits: Limits, tasks: &Tasks) -> io::Result<()> {
    let Entrance { listener, acceptor } = entrance;
    let stop = tasks.stop_signal();
    let total = u32::try_from(limits.connections_max).unwrap_or(u32::MAX).max(1);
    let limits = Limits { connections_max: total as usize, ..limits };
    let permits = Arc::new(Semaphore::new(total as usize));
    let door = Door { router, acceptor, limits, permits: permits.clone(), next: Arc::default(), tasks: tasks.clone() };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn("http connection", door.clone().enter(stream));
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
    Ok(())
}

impl Door {
    /// One connection, from its first byte to its end.
    async fn enter(self, stream: TcpStream) {
        let stop = self.tasks.stop_signal();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let address = stream.peer_addr().ok();
        let secured = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            secured = self.acceptor.accept(stream) => secured,
        };
        let Secured { wire, certificate } = match secured {
            Ok(secured) => secured,
            Err(Unsecured::PlainText(stream)) => return ask_for_tls(stream).await,
            Err(Unsecured::Ended) => return,
        };
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return refuse(wire, self.limits.connections_max).await;
        };
        show_connections(self.limits.connections_max - self.permits.available_permits());
        let connection = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        self.serve(wire, Peer { connection, address, certificate }).await;
        drop(permit);
    }

    async fn serve(self, wire: Wire, peer: Peer) {
        let Limits { head_timeout, drain, .. } = self.limits;
        let stop = self.tasks.stop_signal();
        // HTTP/1's own time-out starts only when it is known that HTTP/1 is spoken.
        let opened = tokio::select! {
            opened = open(wire, head_timeout, ()) => opened,
            () = stop.cancelled() => return,
        };
        let stream = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if error.kind() == io::ErrorKind::TimedOut {
                    metrics().count("http_connections_silent", "Connections closed: they said nothing in time", &[], 1);
                }
                tracing::debug!(%error, "a connection ended before its first request");
                return;
            }
        };
        let service = TowerToHyperService::new(Extension(peer).layer(self.router));
        let builder = protocol(self.limits);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(drain, connection.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        tracing::warn!("a request did not end in time and was cut off");
                        return;
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended with an error");
        }
    }
}

fn protocol(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    builder
}

/// Says why, then closes; bounded so that refusals cannot pile up.
async fn refuse(wire: Wire, connections_max: usize) {
    metrics().count("http_connections_refused", "Connections refused for want of room", &[], 1);
    let detail = format!("all {connections_max} connections are in use (http.max_connections); try again later");
    let problem = Problem::new(Kind::Unavailable, detail);
    turn_away(wire, answer("503 Service Unavailable", "retry-after: 1\r\n", &problem).as_bytes()).await;
}

/// For a client that speaks plain text to a server that speaks TLS.
async fn ask_for_tls(stream: TcpStream) {
    let problem = Problem::new(Kind::InvalidArgument, "this port speaks TLS; use https://");
    turn_away(plain(stream), answer("400 Bad Request", "", &problem).as_bytes()).await;
}

/// A whole response of HTTP/1.1, after which the connection is closed.
fn answer(status: &str, headers: &str, problem: &Problem) -> String {
    let id = uuid::Uuid::now_v7().to_string();
    let body = problem.document(&id).to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n{headers}x-request-id: {id}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn show_connections(count: usize) {
    metrics().set("http_connections", "Open HTTP connections when the last one was accepted", &[], count as f64);
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    struct Server {
        address: SocketAddr,
        tasks: Tasks,
        /// Told when a request has reached the handler of `/wait`.
        arrived: Arc<Notify>,
        /// Lets it answer.
        release: Arc<Notify>,
        ended: JoinHandle<()>,
    }

    const LONG: Duration = Duration::from_secs(60);
    const LIMITS: Limits =
        Limits { connections_max: 10, head_timeout: LONG, ping_interval: LONG, ping_timeout: LONG, drain: LONG };

    async fn start(connections_max: usize, drain: Duration) -> Server {
        start_with(Limits { connections_max, drain, ..LIMITS }).await
    }

    async fn start_with(limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (arrived.clone(), release.clone());
        let slow = move || async move {
            tell.notify_one();
            wait.notified().await;
            "done"
        };
        let who = async |Extension(peer): Extension<Peer>| format!("{:?} {:?}", peer.address, peer.connection);
        let router =
            Router::new().route("/", get(|| async { "hello" })).route("/wait", get(slow)).route("/who", get(who));
        let tasks = Tasks::new();
        let inner = tasks.clone();
        let ended = tasks.spawn("test server", async move {
            let entrance = Entrance { listener, acceptor: Acceptor::Plain };
            run(router, entrance, limits, &inner).await.unwrap();
        });
        Server { address, tasks, arrived, release, ended }
    }

    async fn send(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    /// Everything until the server closes.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn stopping_answers_what_was_asked_and_refuses_the_rest() {
        let server = start(10, LONG).await;
        let mut asked = send(server.address, "/wait").await;
        server.arrived.notified().await;
        let mut idle = send(server.address, "/").await;
        let mut first = [0; 12];
        idle.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");

        server.tasks.stop_signal().cancel();
        assert!(rest(&mut idle).await.ends_with("hello"), "an idle connection is closed");
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.ended.is_finished());
        server.release.notify_one();
        assert!(rest(&mut asked).await.ends_with("done"));
        server.ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut_off_after_the_drain_time() {
        let server = start(10, Duration::from_millis(20)).await;
        let mut asked = send(server.address, "/wait").await;
        server.arrived.notified().await;
        assert!(server.tasks.stop(LONG).await);
        assert_eq!(rest(&mut asked).await, "");
    }

    #[tokio::test]
    async fn connections_that_say_nothing_or_half_of_it_are_closed() {
        let server = start_with(Limits { head_timeout: Duration::from_millis(50), ..LIMITS }).await;
        for said in ["", "PRI * HTTP/2.0\r\n\r\nSM", "GET / HTTP/1.1\r\nhost: x\r\n"] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            assert!(!rest(&mut stream).await.contains("200"), "{said}");
        }
    }

    #[tokio::test]
    async fn a_request_knows_its_other_end() {
        let server = start(10, LONG).await;
        for number in 0..2 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            let answer = rest(&mut stream).await;
            let wanted = format!("{:?} ConnectionId({number})", Some(stream.local_addr().unwrap()));
            assert!(answer.ends_with(&wanted), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_client_of_http_2_that_answers_no_ping_is_let_go() {
        let short = Duration::from_millis(20);
        let server = start_with(Limits { ping_interval: short, ping_timeout: short, ..LIMITS }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // Preface and empty settings (RFC 9113, 3.4); then it reads, and says nothing more.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut frames = Vec::new();
        stream.read_to_end(&mut frames).await.unwrap();
        const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0];
        assert!(frames.windows(PING.len()).any(|window| window == PING), "{frames:?}");
    }

    #[tokio::test]
    async fn a_connection_too_many_is_told_why() {
        let server = start(1, LONG).await;
        let mut kept = send(server.address, "/wait").await;
        server.arrived.notified().await;
        let refused = rest(&mut send(server.address, "/").await).await;
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(refused.contains("http.max_connections"), "{refused}");
        server.release.notify_one();
        let mut line = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut BufReader::new(&mut kept), &mut line).await.unwrap();
        assert!(line.contains("200"));
    }
}
