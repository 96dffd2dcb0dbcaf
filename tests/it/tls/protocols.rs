//! Honest clients: every protocol over TLS, certificates of clients, what a server refuses to start with.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use reqwest::{Client, StatusCode};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

use super::testing::Authority;
use super::{Lab, Raw, Server};
use crate::grpc::client::append_request::Payload;
use crate::grpc::client::ingest_client::IngestClient;
use crate::grpc::client::{AppendRequest, Click, Clicks};

const CLICKS: &str = "CREATE TABLE clicks (event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL) \
                      WITH (event_time='event_time', event_key='event_id')";

async fn one(channel: Channel) -> i64 {
    let mut client = FlightSqlServiceClient::new(channel);
    let info = client.execute("SELECT count(*) FROM clicks".to_owned(), None).await.unwrap();
    let rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    let batches: Vec<_> = rows.try_collect().await.unwrap();
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_is_served_and_ports_are_listed() {
    let lab = Lab::new();
    let server = lab.serve(&[]).await;
    server.sql(CLICKS).await;
    let row = json!([{"event_id": "1", "event_time": "2026-01-01T00:00:00Z"}]);
    let sent = server.client(None).post(server.url("/v1/tables/clicks/rows")).json(&row).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    let click = Click { event_id: Some("2".into()), event_time: Some(1_767_225_600_000_000), ..Click::default() };
    let payload = Some(Payload::Clicks(Clicks { rows: vec![click] }));
    let request = AppendRequest { table: "clicks".into(), payload, ..AppendRequest::default() };
    let channel = server.channel(None).await.unwrap();
    assert_eq!(IngestClient::new(channel.clone()).append(request).await.unwrap().into_inner().accepted, 1);
    assert_eq!(one(channel).await, 2);

    let (http, flight) = (server.http().to_string(), server.flight().to_string());
    let columns =
        "protocol, address, encryption, client_auth, certificate_subject, certificate_names, loaded_at, last_error";
    let listed = server.rows(&format!("SELECT {columns} FROM system.listeners ORDER BY protocol DESC")).await;
    let rest = ["tls", "none", "CN=first", "localhost, 127.0.0.1", "2026-01-02T03:04:05Z"];
    let row = |protocol: &str, address: &str| {
        let mut row = vec![json!(protocol), json!(address)];
        row.extend(rest.map(|value| json!(value)));
        row.push(json!(null));
        row
    };
    assert_eq!(listed, json!([row("http", &http), row("grpc", &flight)]));
    let until = server.rows("SELECT DISTINCT not_before, not_after FROM system.listeners").await;
    assert_eq!(until, json!([["2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"]]));
    let urls = server.rows("SELECT http, grpc FROM system.leases WHERE name = 'ingest-clicks'").await;
    assert_eq!(urls, json!([[format!("https://{http}"), format!("grpc+tls://{flight}")]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_table_is_named_with_its_scheme() {
    let lab = Lab::new();
    let owner = lab.serve(&[]).await;
    owner.sql(CLICKS).await;
    let row = json!([{"event_id": "1", "event_time": "2026-01-01T00:00:00Z"}]);
    let sent = owner.client(None).post(owner.url("/v1/tables/clicks/rows")).json(&row).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    let other = lab.serve(&[]).await;
    let sent = other.client(None).post(other.url("/v1/tables/clicks/rows")).json(&row).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::TEMPORARY_REDIRECT);
    let location = sent.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("https://{}/v1/tables/clicks/rows", owner.http()));
    let followed = owner.client(None).post(location).json(&row).send().await.unwrap();
    assert_eq!(followed.json::<serde_json::Value>().await.unwrap()["duplicates"], 1);
    other.stop().await;
    owner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spoken_is_agreed_upon_in_the_handshake() {
    let lab = Lab::new();
    let server = lab.serve(&[]).await;
    let agreed = async |address, offered: &[&str]| {
        let stream = Raw::new(&lab, &[&TLS12, &TLS13]).speaking(offered).connect(address).await.unwrap();
        stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap())
    };
    assert_eq!(agreed(server.http(), &["h2", "http/1.1"]).await.as_deref(), Some("h2"));
    assert_eq!(agreed(server.http(), &["http/1.1"]).await.as_deref(), Some("http/1.1"));
    assert_eq!(agreed(server.http(), &[]).await, None);
    assert_eq!(agreed(server.flight(), &["http/1.1", "h2"]).await.as_deref(), Some("h2"));
    let refused = Raw::new(&lab, &[&TLS13]).speaking(&["http/1.1"]).connect(server.flight()).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");

    let mut plain_http = Raw::new(&lab, &[&TLS13]).connect(server.http()).await.unwrap();
    plain_http.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    plain_http.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(plain_http);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_version_is_the_configured_one() {
    let lab = Lab::new();
    let server = lab.serve(&[]).await;
    assert!(Raw::new(&lab, &[&TLS12]).connect(server.http()).await.is_ok());
    server.stop().await;
    let strict = lab.serve(&[("tls.min_version", "1.3")]).await;
    for address in [strict.http(), strict.flight()] {
        let refused = Raw::new(&lab, &[&TLS12]).connect(address).await.unwrap_err();
        assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
        assert!(Raw::new(&lab, &[&TLS13]).connect(address).await.is_ok());
    }
    strict.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_refuse_who_is_signed_by_another_has_expired_or_another_name() {
    let lab = Lab::new();
    let server = lab.serve(&[]).await;
    let stranger = Lab::new();
    for address in [server.http(), server.flight()] {
        let refused = Raw::new(&stranger, &[&TLS13]).connect(address).await.unwrap_err();
        // Both authorities have one name, so the stranger looks for its own signature.
        assert!(refused.to_string().contains("BadSignature"), "{refused}");
    }
    server.stop().await;
    lab.install(&lab.authority.server("elsewhere", &["elsewhere.example.com"]));
    let server = lab.serve(&[]).await;
    let refused = Raw::new(&lab, &[&TLS13]).connect(server.http()).await.unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
    server.stop().await;
    // A warning for the operator; the decision is the client's.
    lab.install(&lab.authority.server_of("old", &["localhost"], (2000, 2001)));
    let server = lab.serve(&[]).await;
    let refused = Raw::new(&lab, &[&TLS13]).connect(server.http()).await.unwrap_err();
    assert!(refused.to_string().contains("expired"), "{refused}");
    server.stop().await;
}

/// Status of a request over HTTP; `None` when there was no connection.
async fn asked(server: &Server<'_>, client: &Client) -> Option<StatusCode> {
    client.get(server.url("/healthz")).send().await.ok().map(|reply| reply.status())
}

async fn called(server: &Server<'_>, own: Option<&super::Made>) -> bool {
    let Ok(channel) = server.channel(own).await else { return false };
    FlightSqlServiceClient::new(channel).execute("SELECT 1".to_owned(), None).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_have_to_show_a_certificate_when_that_is_required() {
    let lab = Lab::new();
    let server = lab.serve_mutual("require").await;
    let stranger = Authority::new("the authority").client("stranger");
    let expired = lab.authority.client_of("old", (2000, 2026));
    let not_for_clients = lab.authority.server("a server", &["localhost"]);
    let good = lab.authority.client("good");
    for refused in [None, Some(&stranger), Some(&expired), Some(&not_for_clients)] {
        assert_eq!(asked(&server, &server.client(refused)).await, None);
        assert!(!called(&server, refused).await);
    }
    assert_eq!(asked(&server, &server.client(Some(&good))).await, Some(StatusCode::OK));
    assert!(called(&server, Some(&good)).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_certificate_may_be_left_out_but_not_be_wrong() {
    let lab = Lab::new();
    let server = lab.serve_mutual("request").await;
    let stranger = Authority::new("the authority").client("stranger");
    let good = lab.authority.client("good");
    assert_eq!(asked(&server, &server.client(None)).await, Some(StatusCode::OK));
    assert!(called(&server, None).await && called(&server, Some(&good)).await);
    assert_eq!(asked(&server, &server.client(Some(&stranger))).await, None);
    assert!(!called(&server, Some(&stranger)).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_what_it_should_does_not_start() {
    let lab = Lab::new();
    let says = |message: &str, parts: &[&str]| {
        assert!(parts.iter().all(|part| message.contains(part)), "'{message}' does not say {parts:?}");
    };
    says(&lab.refused(&[("tls.key", "/nowhere.key")]).await, &["tls.key '/nowhere.key'", "there is no such file"]);
    says(&lab.refused(&[("tls.key", "")]).await, &["tls.certificate is set and tls.key is not"]);
    says(&lab.refused(&[("tls.client_auth", "require")]).await, &["tls.client_auth", "tls.client_ca"]);
    lab.authority.server("other", &[]).write(lab.folder.path(), "other");
    says(&lab.refused(&[("tls.key", &lab.path("other.key"))]).await, &["does not belong to", "CN=first"]);
    // Encrypted is not enough.
    says(&lab.refused(&[("server.bind", "0.0.0.0")]).await, &["no authentication", "server.insecure"]);
    lab.serve(&[("server.bind", "0.0.0.0"), ("server.insecure", "true")]).await.stop().await;
}

/// Bytes of PostgreSQL's protocol: a request for TLS, and who user ann is.
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0ann\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn postgres_clients_ask_for_tls_or_begin_with_it_and_are_not_served_without() {
    let lab = Lab::new();
    let server = lab.serve(&[("pgwire.enabled", "true"), ("pgwire.port", "0")]).await;
    let address = server.running.addresses.pgwire.unwrap();
    let greeted = async |stream: &mut TlsStream<TcpStream>| {
        stream.write_all(STARTUP).await.unwrap();
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"R\0\0\0\x08\0\0\0\0", "signed in");
    };

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(SSL_REQUEST).await.unwrap();
    let mut taken = [0];
    stream.read_exact(&mut taken).await.unwrap();
    assert_eq!(&taken, b"S");
    let raw = Raw::new(&lab, &[&TLS13, &TLS12]);
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(raw.config.clone())).connect(name, stream).await.unwrap();
    greeted(&mut stream).await;

    let direct = Raw::new(&lab, &[&TLS13]).speaking(&["postgresql"]);
    greeted(&mut direct.connect(address).await.unwrap()).await;

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(STARTUP).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("speaks TLS"), "{answer:?}");

    // What was sent in front of the handshake is no part of what is said behind it.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[SSL_REQUEST, STARTUP].concat()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.contains(&b'R'), "{answer:?}");
    server.stop().await;
}
