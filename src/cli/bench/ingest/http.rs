//! `POST /v1/tables/{table}/rows` over a kept-open HTTP/1.1 connection, written and read directly: with 15,000 requests per
//! second a general client would take as much of the machine as the server under test.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Sender;
use super::drive::{self, Answer, Counts, Refusal};
use crate::cli::connect::{Dialer, Stream, explain};
use crate::cli::failure::Failure;

/// One connection; a request at a time.
pub struct Wire {
    sender: Sender,
    stream: Stream,
    host: String,
    content_type: &'static str,
    received: BytesMut,
    number: u64,
}

#[derive(Deserialize)]
struct Report {
    accepted: u64,
    duplicates: u64,
    rejected: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Problem {
    kind: String,
    detail: String,
}

/// The head of a response.
#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    /// Of the head itself.
    bytes: usize,
    body_bytes: usize,
    retry_after: Option<Duration>,
}

impl Wire {
    pub async fn open(dialer: &Dialer, sender: Sender) -> Result<Self, Failure> {
        let stream = dialer.dial().await.map_err(|error| explain(&dialer.url, &error))?;
        let content_type = match sender.templates.get(0).rows.num_rows() {
            1 => "application/json",
            _ => "application/x-ndjson",
        };
        Ok(Self { sender, stream, host: dialer.url.authority(), content_type, received: BytesMut::new(), number: 0 })
    }

    fn take_answer(&mut self) -> Result<Option<Answer>> {
        let Some(head) = head(&self.received)? else { return Ok(None) };
        if self.received.len() < head.bytes + head.body_bytes {
            return Ok(None);
        }
        self.received.advance(head.bytes);
        let body = self.received.split_to(head.body_bytes);
        let outcome = if head.status == 200 {
            let report: Report = serde_json::from_slice(&body).context("an answer that is not the server's JSON")?;
            let Report { accepted, duplicates, rejected } = report;
            Ok(Counts { accepted, duplicates, rejected: rejected.len() as u64 })
        } else {
            let problem: Problem = serde_json::from_slice(&body).with_context(|| {
                format!("status {} without a problem: {}", head.status, String::from_utf8_lossy(&body))
            })?;
            Err(Refusal { kind: problem.kind, message: problem.detail, retry_after: head.retry_after })
        };
        Ok(Some(Answer { number: self.number, outcome }))
    }
}

/// The head of the response that `bytes` begin with; `None` when more must come.
fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).context("a response head that is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let mut found =
        Head { status: status.context("not an HTTP response")?, bytes: end + 4, body_bytes: 0, retry_after: None };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            found.body_bytes = value.parse().context("a bad content-length")?;
        } else if name.eq_ignore_ascii_case("retry-after") {
            found.retry_after = value.parse().ok().map(Duration::from_secs);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("a chunked answer, which the server does not send for rows");
        }
    }
    Ok(Some(found))
}

impl drive::Wire for Wire {
    async fn send(&mut self) -> Result<u64> {
        let sender = &mut self.sender;
        let number = sender.next_number();
        let body = sender.templates.fill(number, &mut sender.ids, sender.clock.now());
        let mut request = Vec::with_capacity(body.len() + 256);
        write!(
            request,
            "POST /v1/tables/{}/rows HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
            sender.table,
            self.host,
            self.content_type,
            body.len()
        )?;
        if let Some(producer) = &sender.producer {
            write!(request, "adlake-producer-id: {producer}\r\nadlake-sequence: {number}\r\n")?;
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(&body);
        self.stream.write_all(&request).await.context("the server closed the connection")?;
        self.number = number;
        Ok(number)
    }

    async fn receive(&mut self) -> Result<Answer> {
        loop {
            if let Some(answer) = self.take_answer()? {
                return Ok(answer);
            }
            if self.stream.read_buf(&mut self.received).await.context("the connection broke")? == 0 {
                bail!("the server closed the connection with a request unanswered");
            }
        }
    }

    fn numbers(&self) -> bool {
        self.sender.producer.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let text = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 12\r\nretry-after: 2\r\n\r\n{}";
        assert_eq!(head(&text[..40]).unwrap(), None);
        let wanted =
            Head { status: 429, bytes: text.len() - 2, body_bytes: 12, retry_after: Some(Duration::from_secs(2)) };
        assert_eq!(head(text).unwrap(), Some(wanted));
        assert!(head(b"garbage\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
