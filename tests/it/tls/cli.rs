//! The command line as a client: who it believes, and what it says when it does not.

use std::path::Path;

use tokio::process::Command;

use super::testing::Authority;
use super::{Lab, Server};

/// Runs `adlake sql --url URL …` on `SELECT 7`; returns the exit code and everything it wrote.
async fn sql(lab: &Lab, url: &str, options: &[&str]) -> (Option<i32>, String) {
    run(lab.folder.path(), &[&["sql", "--url", url, "--format", "csv", "-c", "SELECT 7 AS n"], options].concat()).await
}

async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adlake"));
    let output = command.current_dir(folder).args(arguments).stdin(std::process::Stdio::null()).output().await.unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), text)
}

fn url(server: &Server<'_>, scheme: &str) -> String {
    format!("{scheme}://localhost:{}", server.flight().port())
}

#[track_caller]
fn says((code, text): (Option<i32>, String), expected: i32, parts: &[&str]) {
    assert_eq!(code, Some(expected), "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "'{text}' does not say {parts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_over_tls_when_its_signer_is_known() {
    let lab = Lab::new();
    let server = lab.serve(&[]).await;
    let ca = lab.path("ca.pem");
    for scheme in ["grpc+tls", "grpcs", "https"] {
        says(sql(&lab, &url(&server, scheme), &["--ca", &ca]).await, 0, &["n\n7\n"]);
    }
    let secure = url(&server, "grpc+tls");
    says(sql(&lab, &secure, &[]).await, 1, &["nobody this machine trusts", "localhost", "hint: pass --ca FILE"]);
    std::fs::write(lab.path("other.pem"), Authority::new("other").pem()).unwrap();
    says(sql(&lab, &secure, &["--ca", &lab.path("other.pem")]).await, 1, &["nobody this machine trusts"]);
    let by_address = format!("grpc+tls://[::1]:{}", server.flight().port());
    assert_eq!(sql(&lab, &by_address, &["--ca", &ca]).await.0, Some(1));
    says(sql(&lab, &secure, &["--ca", "nowhere.pem"]).await, 1, &["nowhere.pem"]);
    says(sql(&lab, &url(&server, "grpc"), &[]).await, 1, &["speaks TLS", "use grpc+tls://localhost:"]);
    says(sql(&lab, &url(&server, "grpc"), &["--ca", &ca]).await, 2, &["--ca", "grpc+tls://"]);
    let http = format!("https://localhost:{}", server.http().port());
    assert_eq!(sql(&lab, &http, &["--ca", &ca]).await.0, Some(1), "the HTTP port speaks no gRPC");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_shown_to_a_server_that_wants_one() {
    let lab = Lab::new();
    let server = lab.serve_mutual("require").await;
    let (secure, ca) = (url(&server, "grpc+tls"), lab.path("ca.pem"));
    lab.authority.client("good").write(lab.folder.path(), "good");
    Authority::new("the authority").client("stranger").write(lab.folder.path(), "stranger");
    let (good, key) = (lab.path("good.pem"), lab.path("good.key"));
    let shown = ["--ca", &ca, "--client-cert", &good, "--client-key", &key];
    says(sql(&lab, &secure, &shown).await, 0, &["n\n7\n"]);
    says(sql(&lab, &secure, &["--ca", &ca]).await, 1, &["wants to see a certificate", "--client-cert FILE"]);
    let (bad, bad_key) = (lab.path("stranger.pem"), lab.path("stranger.key"));
    let stranger = ["--ca", &ca, "--client-cert", &bad, "--client-key", &bad_key];
    says(sql(&lab, &secure, &stranger).await, 1, &["does not accept the client's certificate", "tls.client_ca"]);
    let mixed = ["--ca", &ca, "--client-cert", &good, "--client-key", &bad_key];
    says(sql(&lab, &secure, &mixed).await, 1, &["cannot be used together"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_servers_certificate_is_said() {
    let lab = Lab::new();
    let ca = lab.path("ca.pem");
    lab.install(&lab.authority.server_of("old", &["localhost"], (2000, 2001)));
    let server = lab.serve(&[]).await;
    says(sql(&lab, &url(&server, "grpc+tls"), &["--ca", &ca]).await, 1, &["has expired", "hint:"]);
    server.stop().await;
    lab.install(&lab.authority.server("elsewhere", &["elsewhere.example.com"]));
    let server = lab.serve(&[]).await;
    says(sql(&lab, &url(&server, "grpc+tls"), &["--ca", &ca]).await, 1, &["is not for 'localhost'", "hint:"]);
    server.stop().await;
    let plain = lab.serve(&[("tls.certificate", ""), ("tls.key", "")]).await;
    says(sql(&lab, &url(&plain, "grpc+tls"), &["--ca", &ca]).await, 1, &["speak", "grpc://"]);
    plain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_loaded_and_rows_are_sent_over_tls() {
    let lab = Lab::new();
    let sql = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
    let server = lab.serve(&[("lake.sql", sql), ("query.allowed_locations", &lab.path("in"))]).await;
    std::fs::create_dir(lab.path("in")).unwrap();
    let (secure, ca) = (url(&server, "grpc+tls"), lab.path("ca.pem"));
    std::fs::write(lab.path("in/a.csv"), "event_id,event_time,ad_id\n1,2026-01-01T00:00:00Z,a\n").unwrap();
    let load = ["load", "--url", &secure, "--ca", &ca, "clicks", "in/a.csv"];
    says(run(lab.folder.path(), &load).await, 0, &["a.csv: loaded 1 rows"]);
    let https = format!("https://localhost:{}", server.http().port());
    for (protocol, url) in [("arrow", &secure), ("grpc", &secure), ("http", &https)] {
        let bench = ["bench", "ingest", "--ca", &ca, "--url", url, "--protocol", protocol];
        let size = ["--connections", "2", "--batch", "50", "--rows", "100"];
        says(run(lab.folder.path(), &[&bench[..], &size].concat()).await, 0, &["100 accepted"]);
    }
    let bench = ["bench", "http", "--ca", &ca, "--url", &https, "--path", "/healthz", "--requests", "10"];
    says(run(lab.folder.path(), &bench).await, 0, &["| 8 | 10 |"]);
    server.stop().await;
}
