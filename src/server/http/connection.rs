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
