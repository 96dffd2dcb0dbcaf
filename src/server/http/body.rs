//! Request bodies: read whole, decompressed, within `http.max_body_size` on both sides of the decompression.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::problem::Problem;
use crate::base::{ByteSize, Kind};

/// Longest silence inside a body.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// After a refusal this much more is read and thrown away, so that the client gets to read the answer.
const DISCARD_BYTES_MAX: usize = 64 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// The decompressed body, or the problem to answer: 413 too large, 415 unknown coding, 400 damaged, 408 stalled.
pub async fn read(headers: &HeaderMap, body: Body, limit: ByteSize) -> Result<Bytes, Problem> {
    let mut stream = body.into_data_stream();
    let received = match coding(headers) {
        Ok(coding) => receive(headers, &mut stream, limit).await.map(|bytes| (coding, bytes)),
        Err(problem) => Err(problem),
    };
    let (coding, bytes) = match received {
        Ok(received) => received,
        Err(problem) => {
            discard(stream).await;
            return Err(problem);
        }
    };
    match coding {
        Coding::Identity => Ok(bytes),
        Coding::Gzip | Coding::Zstd => tokio::task::spawn_blocking(move || decompress(coding, &bytes, limit))
            .await
            .map_err(|_| Problem::new(Kind::Internal, "decompressing the body failed"))?,
    }
}

async fn receive(headers: &HeaderMap, stream: &mut BodyDataStream, limit: ByteSize) -> Result<Bytes, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit.bytes()) {
        return Err(too_large(limit));
    }
    let mut whole = BytesMut::with_capacity(usize::try_from(announced.unwrap_or(0)).unwrap_or(0));
    loop {
        let chunk = match tokio::time::timeout(CHUNK_TIMEOUT, stream.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => return Err(Problem::invalid(format!("the request body ended early: {error}"))),
            Ok(None) => return Ok(whole.freeze()),
            Err(_) => {
                let seconds = CHUNK_TIMEOUT.as_secs();
                let problem = Problem::invalid(format!("nothing came of the request body for {seconds} s"));
                return Err(problem.with_status(StatusCode::REQUEST_TIMEOUT));
            }
        };
        if whole.len() + chunk.len() > limit.as_usize() {
            return Err(too_large(limit));
        }
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

fn decompress(coding: Coding, bytes: &[u8], limit: ByteSize) -> Result<Bytes, Problem> {
    let (name, decoder): (_, Box<dyn Read + '_>) = match coding {
        Coding::Identity => return Ok(Bytes::copy_from_slice(bytes)),
        Coding::Gzip => ("gzip", Box::new(flate2::read::MultiGzDecoder::new(bytes))),
        Coding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
            ("zstd", Box::new(decoder.map_err(|error| damaged("zstd", &error))?))
        }
    };
    let mut plain = Vec::new();
    // One byte more than allowed tells a body of the limit's size from a larger one.
    decoder.take(limit.bytes().saturating_add(1)).read_to_end(&mut plain).map_err(|error| damaged(name, &error))?;
    if plain.len() as u64 > limit.bytes() {
        return Err(too_large(limit));
    }
    Ok(plain.into())
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
        read(&headers(coding), Body::from(bytes), ByteSize(limit)).await.map_err(|problem| problem.status())
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
