//! Request bodies: read whole, decompressed, within limits.
//!
//! - one body: `http.max_body_size`, before and after decompression (413);
//! - all bodies in memory together: `http.max_bodies_memory` (429), so that many clients cannot do what one may not. What
//!   counts is memory taken by bytes that have come, never what a head announces;
//! - silence inside a body: `http.body_timeout` (408);
//! - slowness: the whole body within that time and one second for every `http.body_rate` bytes that have come (408).

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use crate::base::{ByteSize, Kind, Span, Stopwatch};
use crate::telemetry::metrics;

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
    pace: Pace,
    blocks: Arc<Semaphore>,
}

/// How slowly a body may come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Longest silence, and the head start of the whole body.
    pub patience: Duration,
    /// Bytes for which a body gets one more second.
    pub rate: ByteSize,
}

impl Pace {
    /// Time for a body of which `bytes` have come.
    fn allowed(&self, bytes: usize) -> Duration {
        self.patience.saturating_add(Duration::from_secs(bytes as u64 / self.rate.bytes().max(1)))
    }
}

impl BodyLimits {
    pub fn new(size_max: ByteSize, memory: ByteSize, pace: Pace) -> Self {
        let blocks = (memory.as_usize() / BLOCK_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { size_max, memory, pace, blocks: Arc::new(Semaphore::new(blocks)) }
    }

    /// Room for one body, which becomes `expected` bytes long if that is known.
    fn collect(&self, expected: Option<usize>) -> Collected {
        let reservation = Reservation { limits: self.clone(), permit: None };
        Collected { bytes: Vec::new(), expected: expected.unwrap_or(self.size_max.as_usize()), reservation }
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

/// A body as far as it has come; all of its memory is reserved.
struct Collected {
    bytes: Vec<u8>,
    expected: usize,
    reservation: Reservation,
}

impl Collected {
    /// Takes more of the body. While it grows, what was there is in memory twice for as long as copying it takes.
    fn push(&mut self, more: &[u8]) -> Result<(), Problem> {
        let size_max = self.reservation.limits.size_max;
        let length = self.bytes.len() + more.len();
        if length > size_max.as_usize() {
            return Err(too_large(size_max));
        }
        if length > self.bytes.capacity() {
            let capacity = grown(self.bytes.capacity(), length, self.expected);
            self.reservation.grow(capacity)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    fn whole(self) -> Received {
        Received { bytes: self.bytes.into(), _reservation: self.reservation }
    }
}

/// The next size of a buffer that has to hold `length` bytes: at least double, and no more than is expected.
fn grown(capacity: usize, length: usize, expected: usize) -> usize {
    capacity.saturating_mul(2).max(BLOCK_BYTES).min(expected).max(length)
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
/// 408 stalled or too slow.
pub async fn read(headers: &HeaderMap, body: Body, limits: &BodyLimits) -> Result<Received, Problem> {
    let mut stream = body.into_data_stream();
    let received = match coding(headers) {
        Ok(coding) => receive(headers, &mut stream, limits).await.map(|received| (coding, received)),
        Err(problem) => Err(problem),
    };
    match received {
        Ok((Coding::Identity, received)) => Ok(received),
        Ok((coding, received)) => {
            let plain = limits.collect(None);
            tokio::task::spawn_blocking(move || decompress(coding, &received.bytes, plain))
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
    if announced.is_some_and(|bytes| bytes > limits.size_max.as_usize()) {
        return Err(too_large(limits.size_max));
    }
    let mut body = limits.collect(announced);
    let watch = Stopwatch::start();
    loop {
        let left = limits.pace.allowed(body.bytes.len()).saturating_sub(watch.elapsed());
        if left.is_zero() {
            return Err(too_slow(limits.pace));
        }
        let chunk = match tokio::time::timeout(left.min(limits.pace.patience), stream.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => return Err(Problem::invalid(format!("the request body ended early: {error}"))),
            Ok(None) => return Ok(body.whole()),
            Err(_) => return Err(too_slow(limits.pace)),
        };
        body.push(&chunk)?;
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

fn decompress(coding: Coding, bytes: &[u8], mut plain: Collected) -> Result<Received, Problem> {
    let (name, mut decoder): (_, Box<dyn Read + '_>) = match coding {
        Coding::Identity => ("identity", Box::new(bytes)),
        Coding::Gzip => ("gzip", Box::new(flate2::read::MultiGzDecoder::new(bytes))),
        Coding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
            ("zstd", Box::new(decoder.map_err(|error| damaged("zstd", &error))?))
        }
    };
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = decoder.read(&mut block).map_err(|error| damaged(name, &error))?;
        if count == 0 {
            return Ok(plain.whole());
        }
        plain.push(&block[..count])?;
    }
}

fn too_slow(pace: Pace) -> Problem {
    metrics().count("http_bodies_slow", "Requests refused: their body came too slowly", &[], 1);
    let Pace { patience, rate } = pace;
    let patience = Span(patience);
    let detail = format!(
        "the request body came too slowly: nothing for {patience} (http.body_timeout), or later than that and one second for \
         every {rate} (http.body_rate)"
    );
    Problem::invalid(detail).with_status(StatusCode::REQUEST_TIMEOUT)
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

    const PACE: Pace = Pace { patience: Duration::from_secs(60), rate: ByteSize(1 << 10) };

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
        let limits = BodyLimits::new(ByteSize(limit), ByteSize(1 << 20), PACE);
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
        let limits = BodyLimits::new(ByteSize(1 << 20), ByteSize(1 << 20), PACE);
        let send = async |bytes: usize| read(&HeaderMap::new(), Body::from(vec![b'x'; bytes]), &limits).await;
        let first = send(700 << 10).await.map_err(|problem| problem.status());
        assert_eq!(send(700 << 10).await.err().map(|problem| problem.status()), Some(429));
        assert!(send(200 << 10).await.is_ok());
        drop(first);
        assert!(send(700 << 10).await.is_ok());
    }

    /// As `read` does it, and then keeps what it has.
    fn half_sent(limits: &BodyLimits, announced: usize, come: usize) -> Result<Collected, u16> {
        let mut body = limits.collect(Some(announced));
        body.push(&vec![0; come]).map_err(|problem| problem.status())?;
        Ok(body)
    }

    #[tokio::test]
    async fn what_is_announced_takes_no_memory() {
        let limits = BodyLimits::new(ByteSize(1 << 20), ByteSize(1 << 20), PACE);
        let blocks = limits.blocks.available_permits();
        let slow: Vec<_> = (0..32).map(|_| half_sent(&limits, 1 << 20, 1)).collect();
        assert_eq!(limits.blocks.available_permits(), blocks - slow.iter().flatten().count());
        assert!(read(&HeaderMap::new(), Body::from(vec![0; 256 << 10]), &limits).await.is_ok());
        let announced = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from((1 << 20) + 1))]);
        let refused = read(&announced, Body::empty(), &limits).await.err();
        assert_eq!(refused.map(|problem| problem.status()), Some(413));
    }

    #[test]
    fn what_is_allocated_is_counted() {
        let limits = BodyLimits::new(ByteSize(1 << 20), ByteSize(1 << 20), PACE);
        let mut body = limits.collect(None);
        for _ in 0..100 {
            body.push(&[0; 3_000]).unwrap();
            let held = body.reservation.permit.as_ref().unwrap().num_permits() * BLOCK_BYTES;
            assert!(body.bytes.capacity() <= held && held <= body.bytes.len() * 2 + BLOCK_BYTES);
        }
        assert_eq!(grown(0, 10, 1 << 20), BLOCK_BYTES);
        assert_eq!(grown(0, 10, 10), 10, "a short body takes what it needs");
        assert_eq!(grown(1 << 19, (1 << 19) + 1, 700_000), 700_000);
        assert_eq!(grown(BLOCK_BYTES, 1 << 19, 100), 1 << 19, "more than was expected");
    }

    async fn received(body: Body, pace: Pace) -> Result<Bytes, u16> {
        let limits = BodyLimits::new(ByteSize(1 << 20), ByteSize(1 << 20), pace);
        let received = receive(&HeaderMap::new(), &mut body.into_data_stream(), &limits).await;
        received.map(|received| received.bytes).map_err(|problem| problem.status())
    }

    #[tokio::test]
    async fn silence_and_slowness_are_cut_off() {
        let pace = Pace { patience: Duration::from_millis(20), rate: ByteSize(1 << 20) };
        let silent = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        assert_eq!(received(Body::from_stream(silent), pace).await, Err(408));
        // Never silent, and never an end.
        let drip = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::new()));
        assert_eq!(received(Body::from_stream(drip), pace).await, Err(408));
        assert_eq!(received(Body::from("abc"), pace).await, Ok(Bytes::from_static(b"abc")));
    }

    #[test]
    fn a_body_has_a_head_start_and_a_second_for_every_so_many_bytes() {
        let pace = Pace { patience: Duration::from_secs(30), rate: ByteSize(1 << 10) };
        assert_eq!(pace.allowed(0), Duration::from_secs(30));
        assert_eq!(pace.allowed(1_023), Duration::from_secs(30), "a byte a second is not enough");
        assert_eq!(pace.allowed(64 << 10), Duration::from_secs(94));
        assert_eq!(Pace { rate: ByteSize(0), ..pace }.allowed(1), Duration::from_secs(31));
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
