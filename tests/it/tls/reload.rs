//! Certificates replaced while the server runs.

use rustls::version::TLS13;
use serde_json::json;

use super::{Lab, Raw};

const LAST_ERROR: &str = "SELECT DISTINCT last_error IS NOT NULL, certificate_subject FROM system.listeners";

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_get_the_new_certificate_and_old_ones_live_on() {
    let lab = Lab::new();
    let server = lab.serve(&[("tls.reload_interval", "1 hour")]).await;
    let raw = Raw::new(&lab, &[&TLS13]);
    let before = raw.shown(server.http()).await;
    let client = server.client(None);
    let healthz = async || client.get(server.url("/healthz")).send().await.unwrap().status();
    assert_eq!(healthz().await, 200);

    let second = lab.authority.server("second", &["localhost", "127.0.0.1"]);
    lab.install(&second);
    assert_eq!(raw.shown(server.http()).await, before, "nobody has looked yet");
    server.running.app.reload_certificates().await;
    assert_eq!(raw.shown(server.http()).await, second.der());
    assert_eq!(raw.shown(server.flight()).await, second.der());
    assert_eq!(healthz().await, 200, "over the connection from before");

    std::fs::write(lab.path("server.key"), "not a key").unwrap();
    server.running.app.reload_certificates().await;
    assert_eq!(raw.shown(server.http()).await, second.der(), "bad files change nothing");
    assert_eq!(server.rows(LAST_ERROR).await, json!([[true, "CN=second"]]));
    let why = server.rows("SELECT DISTINCT last_error FROM system.listeners").await;
    assert!(why[0][0].as_str().unwrap().contains("tls.key"), "{why}");

    let third = lab.authority.server("third", &["localhost", "127.0.0.1"]);
    lab.install(&third);
    server.running.app.reload_certificates().await;
    assert_eq!(raw.shown(server.flight()).await, third.der());
    assert_eq!(server.rows(LAST_ERROR).await, json!([[false, "CN=third"]]));
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_looked_at_by_themselves() {
    let lab = Lab::new();
    let server = lab.serve(&[("tls.reload_interval", "10 ms")]).await;
    let raw = Raw::new(&lab, &[&TLS13]);
    let second = lab.authority.server("second", &["localhost"]);
    lab.install(&second);
    while raw.shown(server.http()).await != second.der() {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_be_a_client_changes_with_the_file() {
    let lab = Lab::new();
    let server = lab.serve_mutual("require").await;
    let good = lab.authority.client("good");
    let status = async |own| {
        let reply = server.client(Some(own)).get(server.url("/healthz")).send().await;
        reply.ok().map(|reply| reply.status().as_u16())
    };
    assert_eq!(status(&good).await, Some(200));
    let others = super::Authority::new("others");
    std::fs::write(lab.path("ca.pem"), others.pem()).unwrap();
    server.running.app.reload_certificates().await;
    assert_eq!(status(&good).await, None);
    assert_eq!(status(&others.client("new")).await, Some(200));
    server.stop().await;
}
