//! Clients that are not honest, or not what they should be: silent, half-hearted, old, or without TLS.

use std::net::SocketAddr;

use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Lab, Raw, Server};

/// What the server says to `bytes` until it closes; a reset ends it too.
async fn said(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _closed_or_reset = stream.read_to_end(&mut answer).await;
    answer
}

async fn both_answer(server: &Server<'_>) {
    let reply = server.client(None).get(server.url("/healthz")).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    server.channel(None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_nobody_out() {
    let lab = Lab::new();
    let places = [
        ("tls.max_handshakes", "10"),
        ("tls.handshake_timeout", "1 hour"),
        ("http.max_connections", "5"),
        ("flight.max_connections", "5"),
    ];
    let server = lab.serve(&places).await;
    let mut silent = Vec::new();
    for number in 0..100 {
        let address = if number % 2 == 0 { server.http() } else { server.flight() };
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Some begin a handshake.
        stream.write_all(&[22, 3, 1][..number % 4]).await.unwrap();
        silent.push(stream);
    }
    both_answer(&server).await;
    // All but the last of them have lost their places.
    for stream in &mut silent[..80] {
        assert_eq!(rest(stream).await, b"");
    }
    drop(silent);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_takes_too_long_is_given_up() {
    let lab = Lab::new();
    let server = lab.serve(&[("tls.handshake_timeout", "500 ms")]).await;
    for address in [server.http(), server.flight()] {
        for begun in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1, 0]] {
            assert_eq!(said(address, begun).await, b"", "{begun:?}");
        }
    }
    both_answer(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_half_a_handshake() {
    let lab = Lab::new();
    let server = lab.serve(&[("tls.handshake_timeout", "1 hour"), ("server.drain", "1 minute")]).await;
    let (http, flight) = (server.http(), server.flight());
    let mut waiting = [TcpStream::connect(http).await.unwrap(), TcpStream::connect(flight).await.unwrap()];
    for stream in &mut waiting {
        stream.write_all(&[22, 3, 1]).await.unwrap();
    }
    server.stop().await;
    for stream in &mut waiting {
        assert_eq!(rest(stream).await, b"");
    }
}

/// A ClientHello of TLS 1.1 (RFC 4346, 7.4.1.2) with the cipher suites of its time.
fn tls_1_1_hello() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0, 0x2f, 0, 0x35, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_are_refused() {
    // Of handshakes that fail, or of the version: both are fatal (RFC 8446, section 6.2).
    const FATAL: [&[u8]; 2] = [&[2, 40], &[2, 70]];
    let lab = Lab::new();
    let server = lab.serve(&[]).await;
    for address in [server.http(), server.flight()] {
        let answer = said(address, &tls_1_1_hello()).await;
        assert_eq!(answer.first(), Some(&21), "{answer:?}");
        assert!(answer.get(5..).is_some_and(|alert| FATAL.contains(&alert)), "{answer:?}");
    }
    // SSL 2, which has no such alert.
    assert!(!said(server.http(), &[0x80, 0x2e, 1, 0, 2, 0, 0x15]).await.starts_with(&[22]));
    both_answer(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_told_that_tls_is_spoken() {
    let lab = Lab::new();
    let server = lab.serve(&[]).await;
    let answer = said(server.http(), b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("this port speaks TLS; use https://"), "{answer}");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let answer = said(server.flight(), preface).await;
    assert!(answer.ends_with(b"this port speaks TLS; use grpc+tls://"), "{}", String::from_utf8_lossy(&answer));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_a_plain_port_ends_soon() {
    let lab = Lab::new();
    let server = lab.serve(&[("tls.certificate", ""), ("tls.key", "")]).await;
    for address in [server.http(), server.flight()] {
        assert!(Raw::new(&lab, &[&TLS13]).connect(address).await.is_err());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_why_over_tls() {
    let lab = Lab::new();
    let server = lab.serve(&[("http.max_connections", "1"), ("flight.max_connections", "1")]).await;
    let raw = Raw::new(&lab, &[&TLS13]);
    let http = (server.http(), &b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"[..], "http.max_connections");
    let flight =
        (server.flight(), &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], "flight.max_connections");
    for (address, request, words) in [http, flight] {
        let mut kept = raw.connect(address).await.unwrap();
        kept.write_all(request).await.unwrap();
        assert!(kept.read(&mut [0; 512]).await.unwrap() > 0, "answered, so it has a place");
        let mut told = Vec::new();
        raw.connect(address).await.unwrap().read_to_end(&mut told).await.unwrap();
        assert!(String::from_utf8_lossy(&told).contains(words), "{told:?}");
        drop(kept);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_that_answers_no_ping_is_let_go() {
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0];
    let lab = Lab::new();
    let plain = [("tls.certificate", ""), ("tls.key", "")];
    let pings = [("flight.ping_interval", "20 ms"), ("flight.ping_timeout", "20 ms")];
    let server = lab.serve(&[plain, pings].concat()).await;
    let frames = said(server.flight(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(frames.windows(PING.len()).any(|window| window == PING), "{frames:?}");
    server.stop().await;
}
