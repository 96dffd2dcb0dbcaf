//! Request bodies: read whole, decompressed, within limits.
//!
//! - one body: `http.max_body_size`, before and after decompression (413);
//! - all bodies in memory together: `http.max_bodies_memory` (429), so that many clients cannot do what one may not;
//! - silence inside a body: 30 s (408).

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use crate::base::{ByteSize, Kind};

/// Longest silence inside a body.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// After a refusal this much more is read and thrown away, so that the client gets to read the answer.
const DISCARD_BYTES_MAX: usize = 64 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);
/// Unit in which memory for bodies is counted.
const BLOCK_BYTES: usize = 16 << 10;

/// The limits, shared by all requests.
#[derive(Clone)]
pub struct BodyLimits {
    size_max: ByteSize,
    memory: ByteSize,
    blocks: Arc<Semaphore>,
}

impl BodyLimits {
    pub fn new(size_max: ByteSize, memory: ByteSize) -> Self {
        let blocks = (memory.as_usize() / BLOCK_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { size_max, memory, blocks: Arc::new(Semaphore::new(blocks)) }
    }

    fn reserve(&self) -> Reservation {
        Reservation { limits: self.clone(), permit: None }
    }
}

/// Memory counted for one body; given back when dropped.
pub struct Reservation {
    limits: BodyLimits,
    permit: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// Makes room for `bytes` in all; never waits, so two bodies cannot wait for each other.
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        if bytes > self.limits.size_max.as_usize() {
            return Err(too_large(self.limits.size_max));
        }
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from(bytes.div_ceil(BLOCK_BYTES).saturating_sub(held)).unwrap_or(u32::MAX);
        if missing == 0 {
            return Ok(());
        }
        let Ok(more) = self.limits.blocks.clone().try_acquire_many_owned(missing) else {
            return Err(no_memory(self.limits.memory));
        };
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

/// A whole, decompressed body. Keep it, not only its bytes, as long as the bytes are in use.
pub struct Received {
    pub bytes: Bytes,
    _reservation: Reservation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// The decompressed body, or the problem to answer: 413 too large, 429 no memory, 415 unknown coding, 400 damaged,
/// 408 stalled.
pub async fn read(headers: &HeaderMap, body: Body, limits: &BodyLimits) -> Result<Received, Problem> {
    let mut stream = body.into_data_stream();
    let received = match coding(headers) {
        Ok(coding) => receive(headers, &mut stream, limits).await.map(|received| (coding, received)),
        Err(problem) => Err(problem),
    };
    match received {
        Ok((Coding::Identity, received)) => Ok(received),
        Ok((coding, received)) => {
            let room = limits.reserve();
            tokio::task::spawn_blocking(move || decompress(coding, &received.bytes, room))
                .await
                .map_err(|_| Problem::new(Kind::Internal, "decompressing the body failed"))?
        }
        Err(problem) => {
            discard(stream).await;
            Err(problem)
        }
    }
}

async fn receive(headers: &HeaderMap, stream: &mut BodyDataStream, limits: &BodyLimits) -> Result<Received, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut reservation = limits.reserve();
    reservation.grow(announced.unwrap_or(0))?;
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(0));
    loop {
        let chunk = match tokio::time::timeout(CHUNK_TIMEOUT, stream.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => return Err(Problem::invalid(format!("the request body ended early: {error}"))),
            Ok(None) => return Ok(Received { bytes: whole.freeze(), _reservation: reservation }),
            Err(_) => {
                let seconds = CHUNK_TIMEOUT.as_secs();
                let problem = Problem::invalid(format!("nothing came of the request body for {seconds} s"));
                return Err(problem.with_status(StatusCode::REQUEST_TIMEOUT));
            }
        };
        reservation.grow(whole.len() + chunk.len())?;
        whole.extend_from_slice(&chunk);
    }
}

/// Reads a body nobody wants, within bounds, so that the client gets to read why.
pub async fn refuse(body: Body) {
    discard(body.into_data_stream()).await;
}

async fn discard(mut stream: BodyDataStream) {
    let drain = async {
        let mut seen = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            seen += chunk.len();
            if seen > DISCARD_BYTES_MAX {
                break;
            }
        }
    };
    // Out of patience: the connection is closed with the answer on its way.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, drain).await;
}

fn coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(Coding::Identity) };
    match value.to_str().unwrap_or("?").trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Coding::Identity),
        "gzip" | "x-gzip" => Ok(Coding::Gzip),
        "zstd" => Ok(Coding::Zstd),
        other => Err(Problem::parameter(
            "content-encoding",
            format!("Content-Encoding '{other}' is not supported; use gzip, zstd or identity"),
        )
        .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
    }
}

fn decompress(coding: Coding, bytes: &[u8], mut reservation: Reservation) -> Result<Received, Problem> {
    let (name, mut decoder): (_, Box<dyn Read + '_>) = match coding {
        Coding::Identity => ("identity", Box::new(bytes)),
        Coding::Gzip => ("gzip", Box::new(flate2::read::MultiGzDecoder::new(bytes))),
        Coding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
            ("zstd", Box::new(decoder.map_err(|error| damaged("zstd", &error))?))
        }
    };
    let mut plain = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = decoder.read(&mut block).map_err(|error| damaged(name, &error))?;
        if count == 0 {
            return Ok(Received { bytes: plain.into(), _reservation: reservation });
        }
        reservation.grow(plain.len() + count)?;
        plain.extend_from_slice(&block[..count]);
    }
}

fn no_memory(memory: ByteSize) -> Problem {
    let detail =
        format!("request bodies already fill {memory} (http.max_bodies_memory); send this again a little later");
    Problem::new(Kind::ResourceExhausted, detail)
}

fn damaged(name: &str, error: &std::io::Error) -> Problem {
    Problem::parameter("content-encoding", format!("the request body is not whole, valid {name}: {error}"))
}

fn too_large(limit: ByteSize) -> Problem {
    let detail = format!(
        "the request body is larger than {limit} (http.max_body_size, counted before and after decompression); send it in parts"
    );
    Problem::new(Kind::ResourceExhausted, detail).with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

/// The media type of the body among `allowed`, without parameters; 415 names what is allowed.
pub fn content_type<'a>(headers: &HeaderMap, allowed: &[&'a str]) -> Result<&'a str, Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    allowed.iter().copied().find(|name| name.eq_ignore_ascii_case(essence)).ok_or_else(|| {
        let what =
            if essence.is_empty() { "no Content-Type was sent".into() } else { format!("Content-Type '{essence}'") };
        Problem::parameter("content-type", format!("{what}; this takes {}", allowed.join(" or ")))
            .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn headers(coding: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        headers
    }

    async fn status(coding: &'static str, bytes: Vec<u8>, limit: u64) -> Result<Bytes, u16> {
        let limits = BodyLimits::new(ByteSize(limit), ByteSize(1 << 20));
        let received = read(&headers(coding), Body::from(bytes), &limits).await;
        assert_eq!(limits.blocks.available_permits(), (1 << 20) / BLOCK_BYTES - usize::from(received.is_ok()));
        received.map(|received| received.bytes).map_err(|problem| problem.status())
    }

    #[tokio::test]
    async fn decompresses_within_the_limit() {
        assert_eq!(status("gzip", gzip(b"abc"), 100).await, Ok(Bytes::from_static(b"abc")));
        let packed = zstd::encode_all(&b"abc"[..], 1).unwrap();
        assert_eq!(status("zstd", packed, 100).await, Ok(Bytes::from_static(b"abc")));
        assert_eq!(status("identity", b"abc".to_vec(), 3).await, Ok(Bytes::from_static(b"abc")));
    }

    #[tokio::test]
    async fn refuses_bombs_damage_and_unknown_codings() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert!(bomb.len() < 4096);
        assert_eq!(status("gzip", bomb, 4096).await, Err(413));
        assert_eq!(status("zstd", zstd::encode_all(&vec![0; 1 << 20][..], 1).unwrap(), 4096).await, Err(413));
        assert_eq!(status("identity", vec![0; 4097], 4096).await, Err(413));
        let mut cut = gzip(b"some text that is cut off");
        cut.truncate(20);
        assert_eq!(status("gzip", cut, 4096).await, Err(400));
        assert_eq!(status("gzip", b"no gzip".to_vec(), 4096).await, Err(400));
        assert_eq!(status("zstd", b"no zstd".to_vec(), 4096).await, Err(400));
        assert_eq!(status("br", b"x".to_vec(), 4096).await, Err(415));
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let limits = BodyLimits::new(ByteSize(1 << 20), ByteSize(1 << 20));
        let send = async |bytes: usize| read(&HeaderMap::new(), Body::from(vec![b'x'; bytes]), &limits).await;
        let first = send(700 << 10).await.map_err(|problem| problem.status());
        assert_eq!(send(700 << 10).await.err().map(|problem| problem.status()), Some(429));
        assert!(send(200 << 10).await.is_ok());
        drop(first);
        assert!(send(700 << 10).await.is_ok());
    }

    #[test]
    fn content_type_ignores_case_and_parameters() {
        let mut headers = HeaderMap::new();
        let allowed = ["application/json", "application/x-ndjson"];
        assert_eq!(content_type(&headers, &allowed).unwrap_err().status(), 415);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("Application/JSON; charset=utf-8"));
        assert_eq!(content_type(&headers, &allowed).unwrap(), "application/json");
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(content_type(&headers, &allowed).unwrap_err().detail().contains("application/x-ndjson"));
    }
}
