//! What comes from the client: whole messages, bounded in size.
//!
//! Each message is cut out by its length before it is decoded, so that a wrong one cannot reach into the next; what does not
//! decode is a breach of the protocol, also where pgwire would panic. So are texts that are not UTF-8 or have no end: pgwire would
//! put other characters in, or go on without.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Buf, BytesMut};
use pgwire::error::PgWireResult;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::{GssEncRequest, SslRequest, Startup};
use pgwire::messages::{DecodeContext, Message, PgWireFrontendMessage, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest first message.
const FIRST_BYTES_MAX: usize = 10_000;
/// A message's type and length.
const HEAD_BYTES: usize = 5;

/// What a connection may begin with.
#[derive(Debug)]
pub(super) enum First {
    Ssl,
    Gss,
    Cancel(CancelRequest),
    Startup(Startup),
}

/// Why no message can be read any more.
#[derive(Debug)]
pub(super) enum Broken {
    Io(io::Error),
    /// What is wrong, for the client.
    Malformed(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the first message and nothing behind it. `None`: closed before.
///
/// # Errors
/// What is no first message of this protocol.
pub(super) async fn first<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<First>, Broken> {
    let mut head = [0; 4];
    match stream.read(&mut head[..1]).await? {
        0 => return Ok(None),
        _ => stream.read_exact(&mut head[1..]).await?,
    };
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if !(8..=FIRST_BYTES_MAX).contains(&length) {
        return Err(Broken::Malformed("this is not PostgreSQL's protocol".to_owned()));
    }
    let mut bytes = BytesMut::zeroed(length);
    bytes[..4].copy_from_slice(&head);
    stream.read_exact(&mut bytes[4..]).await?;
    let is_request = SslRequest::is_ssl_request_packet(&bytes)
        || GssEncRequest::is_gss_enc_request_packet(&bytes)
        || CancelRequest::is_cancel_request_packet(&bytes);
    if !is_request && std::str::from_utf8(&bytes[8..]).is_err() {
        return Err(not_utf8());
    }
    if SslRequest::is_ssl_request_packet(&bytes) {
        return Ok(Some(First::Ssl));
    }
    if GssEncRequest::is_gss_enc_request_packet(&bytes) {
        return Ok(Some(First::Gss));
    }
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    let is_cancel = CancelRequest::is_cancel_request_packet(&bytes);
    let first = match is_cancel {
        true => guarded(|| Ok(CancelRequest::decode(&mut bytes, &context)?.map(First::Cancel)))?,
        false => guarded(|| Ok(Startup::decode(&mut bytes, &context)?.map(First::Startup)))?,
    };
    first.map(Some).ok_or_else(|| Broken::Malformed("the first message is not whole".to_owned()))
}

/// The messages of a client that has said who it is.
pub(super) struct Inbox<R> {
    reader: R,
    buffer: BytesMut,
    bytes_max: usize,
    context: DecodeContext,
}

impl<R: AsyncRead + Unpin> Inbox<R> {
    pub fn new(reader: R, bytes_max: usize) -> Self {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Self { reader, buffer: BytesMut::new(), bytes_max, context }
    }

    /// Whether nothing has come that is not read yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next message and its size. `None`: the client has closed.
    ///
    /// # Errors
    /// [`Broken`]; nothing can be read after it.
    pub async fn next(&mut self) -> Result<Option<(PgWireFrontendMessage, usize)>, Broken> {
        loop {
            if let Some(size) = self.size()?
                && self.buffer.len() >= size
            {
                let mut message = self.buffer.split_to(size);
                check_texts(&message)?;
                let decoded = guarded(|| PgWireFrontendMessage::decode(&mut message, &self.context))?;
                let decoded = decoded.ok_or_else(|| Broken::Malformed("a message is not whole".to_owned()))?;
                return Ok(Some((decoded, size)));
            }
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                };
            }
        }
    }

    /// Of the message that begins the buffer, when so much has come.
    fn size(&self) -> Result<Option<usize>, Broken> {
        if self.buffer.len() < HEAD_BYTES {
            return Ok(None);
        }
        let length = (&self.buffer[1..HEAD_BYTES]).get_u32();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match length {
            0..4 => Err(Broken::Malformed("a message is shorter than its head".to_owned())),
            _ if length > self.bytes_max => {
                let most = self.bytes_max;
                let message =
                    format!("a message has {length} bytes, at most {most} are taken (pgwire.max_message_size)");
                Err(Broken::Malformed(message))
            }
            _ => Ok(Some(length + 1)),
        }
    }
}

/// Looks at the texts of a message, of which it has a head.
fn check_texts(message: &[u8]) -> Result<(), Broken> {
    let (head, body) = message.split_at_checked(HEAD_BYTES).ok_or_else(endless)?;
    match head.first() {
        Some(b'Q') => match behind_text(body)? {
            [] => Ok(()),
            _ => Err(Broken::Malformed("a statement goes on behind its end".to_owned())),
        },
        // Names of statements and portals, statements.
        Some(b'P' | b'B') => behind_text(behind_text(body)?).map(|_| ()),
        Some(b'E') => behind_text(body).map(|_| ()),
        // What it is a name of stands in front.
        Some(b'C' | b'D') => behind_text(body.get(1..).unwrap_or_default()).map(|_| ()),
        _ => Ok(()),
    }
}

/// What stands behind the text, ended by zero, that bytes begin with.
fn behind_text(bytes: &[u8]) -> Result<&[u8], Broken> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or_else(endless)?;
    let (text, rest) = bytes.split_at(end);
    std::str::from_utf8(text).map_err(|_| not_utf8())?;
    Ok(rest.get(1..).unwrap_or_default())
}

fn endless() -> Broken {
    Broken::Malformed("a text in a message has no end".to_owned())
}

fn not_utf8() -> Broken {
    Broken::Malformed("a text in a message is not UTF-8, the only encoding there is".to_owned())
}

/// What `decode` makes of a message that came whole.
fn guarded<T>(decode: impl FnOnce() -> PgWireResult<T>) -> Result<T, Broken> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(error)) => Err(Broken::Malformed(error.to_string())),
        Err(_) => Err(Broken::Malformed("a message ends before what it announces".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(bytes: &[u8]) -> Result<Option<PgWireFrontendMessage>, Broken> {
        Ok(Inbox::new(bytes, 100).next().await?.map(|(message, _)| message))
    }

    #[tokio::test]
    async fn messages_are_read_one_by_one() {
        let both = b"Q\0\0\0\x0dSELECT 1\0S\0\0\0\x04";
        let mut inbox = Inbox::new(&both[..], 100);
        let (first, size) = inbox.next().await.unwrap().unwrap();
        assert!(matches!(first, PgWireFrontendMessage::Query(query) if query.query == "SELECT 1"));
        assert_eq!(size, 14);
        assert!(matches!(inbox.next().await.unwrap(), Some((PgWireFrontendMessage::Sync(_), 5))));
        assert!(inbox.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_lies_about_its_size_is_refused() {
        for wrong in [
            &b"Q\0\0\0\x03"[..],
            b"Q\x7f\0\0\0",
            b"Q\xff\xff\xff\xff",
            b"\xff\0\0\0\x04",
            // A value of 100 bytes in a message of 20, and 65535 parameters in none.
            b"B\0\0\0\x14\0\0\0\0\0\x01\0\0\0\x64abcdef",
            b"B\0\0\0\x0a\0\0\xff\xff\0\0",
            b"D\0\0\0\x04",
            b"E\0\0\0\x05\0",
        ] {
            assert!(matches!(told(wrong).await, Err(Broken::Malformed(_))), "{wrong:?}");
        }
        assert!(matches!(told(b"Q\0\0\0\x0dSEL").await, Err(Broken::Io(_))));
    }

    #[tokio::test]
    async fn texts_are_whole_and_utf8() {
        for wrong in [
            &b"Q\0\0\0\x0cSELECT 1"[..],
            b"Q\0\0\0\x0eSELECT 1\0x",
            b"Q\0\0\0\x0eSELECT '\xff\0",
            b"P\0\0\0\x0c\xff\0SELECT",
            b"P\0\0\0\x0aa\0b\xff\0\0",
            b"P\0\0\0\x07a\0b",
            b"B\0\0\0\x0a\0\xff\0\0\0\0",
            b"D\0\0\0\x07S\xff\0",
            b"C\0\0\0\x07Sa\xff",
            b"E\0\0\0\x0a\xff\0\0\0\0\0",
        ] {
            assert!(matches!(told(wrong).await, Err(Broken::Malformed(_))), "{wrong:?}");
        }
        let fine = told("Q\0\0\0\x0fSELECT 'é\0".as_bytes()).await.unwrap();
        assert!(matches!(fine, Some(PgWireFrontendMessage::Query(query)) if query.query == "SELECT 'é"));
        let startup = b"\0\0\0\x11\0\x03\0\0user\0a\xff\0\0";
        assert!(matches!(first(&mut &startup[..]).await, Err(Broken::Malformed(_))));
    }

    #[tokio::test]
    async fn what_is_another_protocol_is_told_apart() {
        for other in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\0\0\x07\0\0\0", b"\0\0\0\x08\0\x02\0\0"] {
            assert!(matches!(first(&mut &other[..]).await, Err(Broken::Malformed(_))), "{other:?}");
        }
        assert!(matches!(first(&mut &b"\0\0\0\x08\x04\xd2\x16\x2f"[..]).await, Ok(Some(First::Ssl))));
    }
}
