//! What goes to the client: put together here, sent when there is enough of it or when the client waits for it.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::ParameterStatus;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::complaint::{Severity, notice};

/// Bytes after which what there is is sent.
pub(super) const BYTES_AHEAD: usize = 64 * 1024;
/// Room for more than that is given back: one large row is no reason to keep as much for as long as the connection.
const BYTES_KEPT_MAX: usize = 4 * BYTES_AHEAD;

/// The way to one client.
pub(super) struct Outbox<W> {
    writer: W,
    buffer: BytesMut,
    /// Longest wait for the client to read.
    patience: Duration,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub fn new(writer: W, patience: Duration) -> Self {
        Self { writer, buffer: BytesMut::new(), patience }
    }

    /// # Errors
    /// A message that is too large for the protocol.
    pub fn put(&mut self, message: PgWireBackendMessage) -> io::Result<()> {
        message.encode(&mut self.buffer).map_err(io::Error::other)
    }

    pub fn put_notice(&mut self, severity: Severity, sqlstate: &str, message: &str) -> io::Result<()> {
        self.put(PgWireBackendMessage::NoticeResponse(notice(severity, sqlstate, message)))
    }

    pub fn put_parameter(&mut self, name: &str, value: &str) -> io::Result<()> {
        self.put(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value.to_owned())))
    }

    /// For rows, which are written in place.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Sends when enough has come together.
    ///
    /// # Errors
    /// As [`Outbox::flush`].
    pub async fn flush_some(&mut self) -> io::Result<()> {
        match self.buffer.len() >= BYTES_AHEAD {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Sends everything.
    ///
    /// # Errors
    /// A connection that is gone; `TimedOut` for a client that does not read.
    pub async fn flush(&mut self) -> io::Result<()> {
        let sending = async {
            self.writer.write_all(&self.buffer).await?;
            self.writer.flush().await
        };
        let sent = tokio::time::timeout(self.patience, sending).await;
        self.buffer.clear();
        if self.buffer.capacity() > BYTES_KEPT_MAX {
            self.buffer = BytesMut::new();
        }
        sent.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Sends everything and closes.
    pub async fn close(&mut self) {
        let closing = async {
            self.flush().await?;
            self.writer.shutdown().await
        };
        if let Err(error) = closing.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn much_is_sent_at_once_and_its_room_given_back() {
        let mut outbox = Outbox::new(Vec::<u8>::new(), Duration::from_secs(60));
        outbox.buffer().resize(BYTES_AHEAD - 1, 7);
        outbox.flush_some().await.unwrap();
        assert!(outbox.writer.is_empty());
        outbox.buffer().resize(2 * BYTES_KEPT_MAX, 7);
        outbox.flush_some().await.unwrap();
        assert_eq!(outbox.writer.len(), 2 * BYTES_KEPT_MAX);
        assert!(outbox.buffer.is_empty() && outbox.buffer.capacity() <= BYTES_KEPT_MAX);
    }
}
