//! Clients that lie, stay silent or ask for too much.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Server, one, state};

async fn said(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// `Startup` of user ann.
const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0ann\0\0";

/// `Startup` of user ann with a setting.
fn startup_with(name: &str, value: &str) -> Vec<u8> {
    let body = [&b"\0\x03\0\0user\0ann\0"[..], name.as_bytes(), b"\0", value.as_bytes(), b"\0\0"].concat();
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &body].concat()
}

#[tokio::test]
async fn what_is_not_the_protocol_is_refused() {
    let server = Server::start().await;
    for other in [&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], b"\x16\x03\x01\0\0\0\0\0", b"\0\0\0\x08\0\x02\0\0"] {
        assert!(said(&server, other).await.contains("08P01"), "{other:?}");
    }
    let begin = |message: &[u8]| [STARTUP, message].concat();
    for wrong in [
        &b"Q\0\0\0\x0eSELECT '\xff\0"[..],
        b"Q\x7f\0\0\0",
        b"B\0\0\0\x0a\0\0\xff\xff\0\0",
        b"\xff\0\0\0\x04",
        b"p\0\0\0\x06a\0",
    ] {
        assert!(said(&server, &begin(wrong)).await.contains("08P01"), "{wrong:?}");
    }
    assert_eq!(one(&server.client().await, "SELECT 1").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn what_a_client_asks_for_when_it_connects_is_so_or_it_is_told() {
    let server = Server::start().await;
    for (name, value, sqlstate) in [
        ("default_transaction_read_only", "maybe", "C22023"),
        ("client_encoding", "LATIN1", "C0A000"),
        ("default_transaction_isolation", "serializable", "C0A000"),
    ] {
        assert!(said(&server, &startup_with(name, value)).await.contains(sqlstate), "{name}");
    }
    let read_only = [&startup_with("default_transaction_read_only", "T")[..], b"X\0\0\0\x04"].concat();
    assert!(said(&server, &read_only).await.contains("default_transaction_read_only\0on\0"));
    server.stop().await;
}

#[tokio::test]
async fn silence_and_crowds_are_bounded() {
    let server = Server::with(&[("pgwire.startup_timeout", "100ms")]).await;
    assert_eq!(said(&server, b"").await, "");
    server.stop().await;

    let server = Server::with(&[("pgwire.max_connections", "2")]).await;
    let (first, second) = (server.client().await, server.client().await);
    assert_eq!(state(server.try_client("user=ann").await.map(|_| ())), "53300");
    drop((first, second));
    server.stop().await;

    let server = Server::with(&[("pgwire.idle_timeout", "100ms")]).await;
    assert!(said(&server, STARTUP).await.contains("57P05"));
    server.stop().await;
}

#[tokio::test]
async fn too_much_is_refused_and_too_many_statements_are() {
    let settings = [("pgwire.max_message_size", "10 KiB"), ("pgwire.max_prepared", "3")];
    let server = Server::with(&settings).await;
    let client = server.client().await;
    let kept = [
        client.prepare("SELECT 1").await.unwrap(),
        client.prepare("SELECT 2").await.unwrap(),
        client.prepare("SELECT 3").await.unwrap(),
    ];
    assert_eq!(state(client.prepare("SELECT 4").await.map(|_| ())), "53400");
    drop(kept);
    let large = format!("SELECT '{}'", "x".repeat(20_000));
    assert_eq!(state(client.simple_query(&large).await), "08P01");
    server.stop().await;

    let server = Server::with(&[("query.max_sql_size", "1 KiB")]).await;
    let client = server.client().await;
    assert_eq!(state(client.simple_query(&"SELECT 1;".repeat(1000)).await), "42000");
    assert_eq!(one(&client, "SELECT 1").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn what_a_connection_keeps_is_weighed() {
    let server = Server::with(&[("pgwire.max_message_size", "10 KiB"), ("query.max_sql_size", "8 KiB")]).await;
    let client = server.client().await;
    let long = |number: u32| format!("SELECT {number} /* {} */", "x".repeat(4000));
    let kept = [client.prepare(&long(1)).await.unwrap(), client.prepare(&long(2)).await.unwrap()];
    assert_eq!(state(client.prepare(&long(3)).await.map(|_| ())), "53200");
    drop(kept);
    let third = client.prepare(&long(3)).await.unwrap();
    assert_eq!(client.query_one(&third, &[]).await.unwrap().get::<_, i64>(0), 3);
    let longer = format!("SELECT 1 /* {} */", "x".repeat(9000));
    assert_eq!(state(client.prepare(&longer).await.map(|_| ())), "42000", "query.max_sql_size");
    server.stop().await;
}

#[tokio::test]
async fn what_hides_its_depth_ends_nothing() {
    let server = Server::start().await;
    let client = server.client().await;
    for end in ["'a]'", "1"] {
        let deep = format!("SELECT version(), q'[', {}1, {end}", "1+".repeat(30_000));
        // It may be an answer or an error; what it must not be is the end of the process.
        let _ = client.simple_query(&deep).await;
        let _ = client.prepare(&deep).await;
    }
    assert_eq!(one(&client, "SELECT 1").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let server = Server::start().await;
    let client = server.client().await;
    server.stop().await;
    assert!(client.simple_query("SELECT 1").await.is_err());
}
