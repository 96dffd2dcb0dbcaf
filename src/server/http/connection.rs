//! Accepts connections, bounds them, and lets them end.
//!
//! ```text
//! accept ─► permit? ─ no ─► 503, close
//!             │ yes
//!             ▼
//!           HTTP/1.1 or h2c ─► router        stop signal: close the listener, finish what was asked, close
//! ```
//!
//! Limits: connections (`http.max_connections`), 30 s for a request's head (also the longest an idle connection is
//! kept), 128 concurrent streams of one HTTP/2 connection, and `server.drain` for what still runs when stopping.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{PROBLEM_JSON, Problem};
use crate::base::{Kind, Tasks};
use crate::telemetry::metrics;

/// Longest wait for a request's head; an idle connection is closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const STREAMS_MAX: u32 = 128;
/// Pause after a failed accept (out of file descriptors), so the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Input of a refused connection that is read and thrown away.
const REFUSED_INPUT_BYTES_MAX: u64 = 64 * 1024;

/// What the accept loop needs to know.
pub struct Limits {
    pub connections_max: usize,
    pub drain: Duration,
}

/// Serves `router` on `listener` until `tasks` stops, then until every accepted request is answered or `drain` is over.
pub async fn run(router: Router, listener: TcpListener, limits: Limits, tasks: &Tasks) -> io::Result<()> {
    let stop = tasks.stop_signal();
    let total = u32::try_from(limits.connections_max).unwrap_or(u32::MAX).max(1);
    let permits = Arc::new(Semaphore::new(total as usize));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match permits.clone().try_acquire_owned() {
            Ok(permit) => {
                show_connections(total as usize - permits.available_permits());
                let connection = serve_one(stream, router.clone(), limits.drain, tasks.clone(), permit);
                tasks.spawn("http connection", connection);
            }
            Err(_) => {
                tasks.spawn("http refusal", refuse(stream, limits.connections_max));
            }
        }
    }
    drop(listener);
    // All permits back: every connection has ended.
    let _all = permits.acquire_many(total).await;
    Ok(())
}

async fn serve_one(stream: TcpStream, router: Router, drain: Duration, tasks: Tasks, permit: OwnedSemaphorePermit) {
    let _permit = permit;
    let stop = tasks.stop_signal();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(HEAD_TIMEOUT)
        .keep_alive_timeout(HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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

/// Says why, then closes; bounded so that refusals cannot pile up.
async fn refuse(mut stream: TcpStream, connections_max: usize) {
    metrics().count("http_connections_refused", "Connections refused for want of room", &[], 1);
    let id = uuid::Uuid::now_v7().to_string();
    let detail = format!("all {connections_max} connections are in use (http.max_connections); try again later");
    let body = Problem::new(Kind::Unavailable, detail).document(&id).to_string();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\nretry-after: 1\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let write = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with unread input would reset the connection and take the answer with it.
        tokio::io::copy(&mut (&mut stream).take(REFUSED_INPUT_BYTES_MAX), &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(1), write).await {
        tracing::debug!(%error, "refused connection ended early");
    }
}

fn show_connections(count: usize) {
    metrics().set("http_connections", "Open HTTP connections when the last one was accepted", &[], count as f64);
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::BufReader;
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

    async fn start(connections_max: usize, drain: Duration) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (arrived.clone(), release.clone());
        let slow = move || async move {
            tell.notify_one();
            wait.notified().await;
            "done"
        };
        let router = Router::new().route("/", get(|| async { "hello" })).route("/wait", get(slow));
        let tasks = Tasks::new();
        let inner = tasks.clone();
        let ended = tasks.spawn("test server", async move {
            run(router, listener, Limits { connections_max, drain }, &inner).await.unwrap();
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
        let server = start(10, Duration::from_secs(60)).await;
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
        assert!(server.tasks.stop(Duration::from_secs(60)).await);
        assert_eq!(rest(&mut asked).await, "");
    }

    #[tokio::test]
    async fn a_connection_too_many_is_told_why() {
        let server = start(1, Duration::from_secs(60)).await;
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
