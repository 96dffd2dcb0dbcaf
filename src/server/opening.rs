//! The first moments of a connection: it has to say something in time before anything else is spent on it, and one too
//! many is told so.
//!
//! ```text
//! accepted ─► permit? ─ no ─► turn_away: the protocol's words, read a little, close
//!               │ yes
//!               ▼
//!             open: first bytes, or all of HTTP/2's preface ─► Opened (gives them again) ─► the protocol's server
//!               └ nothing, or a part of the preface, until the time is over ─► close
//! ```
//!
//! Not here: handshakes of TLS, which come before (`tls`); the rest of a request's head (HTTP/1 has a time-out of its own,
//! HTTP/2 its pings).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::wire::Wire;

/// What every HTTP/2 client says first (RFC 9113, 3.4); no request of HTTP/1 begins like this.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause after a failed accept (out of file descriptors), so that accepting does not spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longest time for telling a connection that there is no room, so that refusals cannot pile up.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Input of a refused connection that is read and thrown away.
const REFUSED_INPUT_BYTES_MAX: u64 = 64 * 1024;

/// A connection whose first bytes have come. `kept` lives as long as it: its permit, its number.
pub struct Opened<T> {
    stream: Wire,
    first: [u8; PREFACE.len()],
    /// Of `first`: how much has come, how much was given to the reader.
    come: usize,
    given: usize,
    pub kept: T,
}

/// Waits until it is known which protocol the client speaks.
///
/// # Errors
/// `TimedOut` when it is not known after `patience`; `UnexpectedEof` when the client has closed before.
pub async fn open<T>(mut stream: Wire, patience: Duration, kept: T) -> io::Result<Opened<T>> {
    let mut first = [0; PREFACE.len()];
    let mut come = 0;
    let reading = async {
        while come < first.len() && PREFACE.starts_with(&first[..come]) {
            match stream.read(&mut first[come..]).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                count => come += count,
            }
        }
        Ok(())
    };
    tokio::time::timeout(patience, reading).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Opened { stream, first, come, given: 0, kept })
}

/// Says why there is no room, then closes.
pub async fn turn_away(mut stream: Wire, answer: &[u8]) {
    let write = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        // Closing with unread input would reset the connection and take the answer with it.
        tokio::io::copy(&mut (&mut stream).take(REFUSED_INPUT_BYTES_MAX), &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(REFUSAL_TIMEOUT, write).await {
        tracing::debug!(%error, "refused connection ended early");
    }
}

impl<T: Unpin> AsyncRead for Opened<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given == self.come {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let end = self.come.min(self.given + buf.remaining());
        buf.put_slice(&self.first[self.given..end]);
        self.given = end;
        Poll::Ready(Ok(()))
    }
}

impl<T: Unpin> AsyncWrite for Opened<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A client that has sent `bytes`, and the server's side of it.
    async fn pair(bytes: &[u8]) -> (TcpStream, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(bytes).await.unwrap();
        (client, crate::server::wire::plain(listener.accept().await.unwrap().0))
    }

    async fn check_given_again(bytes: &[u8]) {
        let (mut client, server) = pair(bytes).await;
        let mut opened = open(server, LONG, ()).await.unwrap();
        client.write_all(b" and more").await.unwrap();
        client.shutdown().await.unwrap();
        let mut read = Vec::new();
        opened.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [bytes, b" and more"].concat());
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_again() {
        check_given_again(b"G").await;
        check_given_again(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
        check_given_again(PREFACE).await;
    }

    #[tokio::test]
    async fn silence_and_half_a_preface_are_not_waited_for() {
        for said in [&b""[..], b"P", &PREFACE[..23]] {
            let (_client, server) = pair(said).await;
            let error = open(server, Duration::from_millis(20), ()).await.map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{said:?}");
        }
        let (client, server) = pair(&PREFACE[..3]).await;
        drop(client);
        let error = open(server, LONG, ()).await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
