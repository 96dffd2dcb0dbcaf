//! TLS on every port, with certificates made for each test: what is served, to whom, and what is not.

mod cli;
mod hostile;
mod protocols;
mod reload;
#[path = "../../../src/server/tls/testing.rs"]
#[expect(dead_code, reason = "unit tests use more of it")]
mod testing;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adlake::app::{App, AppError, Running};
use adlake::base::{Clock, Timestamp};
use adlake::config;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use tempfile::TempDir;
use testing::{Authority, Made};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// 2026-01-02, where the servers of these tests stand; their clients live in the present.
const NOW: Timestamp = Timestamp(1_767_323_045_000_000);

/// A folder with a server's certificate in it, and who has signed it.
struct Lab {
    folder: TempDir,
    authority: Authority,
}

impl Lab {
    fn new() -> Self {
        // Other tests may have installed it before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let lab = Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new("the authority") };
        std::fs::write(lab.path("ca.pem"), lab.authority.pem()).unwrap();
        lab.install(&lab.authority.server("first", &["localhost", "127.0.0.1"]));
        lab
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Puts the files where the server looks for them.
    fn install(&self, made: &Made) {
        made.write(self.folder.path(), "server");
    }

    async fn try_serve(&self, settings: &[(&str, &str)]) -> Result<Server<'_>, AppError> {
        let (location, certificate, key) = (self.path("lake"), self.path("server.pem"), self.path("server.key"));
        let fixed = [
            ("lake.location", location.as_str()),
            ("lake.sql", ""),
            ("http.port", "0"),
            ("flight.port", "0"),
            ("tls.certificate", certificate.as_str()),
            ("tls.key", key.as_str()),
        ];
        let pairs = fixed.into_iter().chain(settings.iter().copied());
        let overrides: Vec<(String, String)> = pairs.map(|(key, value)| (key.into(), value.into())).collect();
        let loaded = config::load(None, &[], &overrides).unwrap();
        let app = App::open(loaded, Clock::manual(NOW)).await.unwrap();
        app.serve().await.map(|running| Server { running, lab: self })
    }

    async fn serve(&self, settings: &[(&str, &str)]) -> Server<'_> {
        self.try_serve(settings).await.unwrap()
    }

    /// With certificates of clients.
    async fn serve_mutual(&self, client_auth: &str) -> Server<'_> {
        self.serve(&[("tls.client_ca", &self.path("ca.pem")), ("tls.client_auth", client_auth)]).await
    }

    /// Why a server does not start.
    async fn refused(&self, settings: &[(&str, &str)]) -> String {
        self.try_serve(settings).await.map(|_| ()).unwrap_err().message
    }
}

struct Server<'a> {
    running: Running,
    lab: &'a Lab,
}

impl Server<'_> {
    fn http(&self) -> SocketAddr {
        self.running.addresses.http
    }

    fn flight(&self) -> SocketAddr {
        self.running.addresses.flight
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.http().port())
    }

    /// An HTTP client that believes the authority and shows `own`.
    fn client(&self, own: Option<&Made>) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.lab.authority.pem().as_bytes()).unwrap();
        let builder = reqwest::Client::builder().tls_built_in_root_certs(false).add_root_certificate(root);
        let builder = builder.redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(60));
        let builder = match own {
            Some(made) => {
                let pem = format!("{}{}", made.certificate, made.key);
                builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap())
            }
            None => builder,
        };
        builder.build().unwrap()
    }

    async fn sql(&self, sql: &str) -> Value {
        let request = self.client(None).post(self.url("/v1/sql")).json(&json!({ "sql": sql }));
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 200, "{sql}");
        reply.json().await.unwrap()
    }

    async fn rows(&self, sql: &str) -> Value {
        self.sql(sql).await["rows"].take()
    }

    /// A gRPC channel that believes the authority and shows `own`.
    async fn channel(&self, own: Option<&Made>) -> Result<Channel, tonic::transport::Error> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(tonic::transport::Certificate::from_pem(self.lab.authority.pem()))
            .domain_name("localhost");
        let tls = match own {
            Some(made) => tls.identity(tonic::transport::Identity::from_pem(&made.certificate, &made.key)),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", self.flight())).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await
    }

    async fn stop(self) {
        assert!(self.running.app.stop().await, "did not stop in time");
    }
}

/// A client of rustls, without a protocol above.
struct Raw {
    config: ClientConfig,
}

impl Raw {
    fn new(lab: &Lab, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let mut roots = RootCertStore::empty();
        let pem = lab.authority.pem();
        let root = <CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(versions);
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // Every connection sees the certificate anew.
        config.resumption = rustls::client::Resumption::disabled();
        Self { config }
    }

    fn speaking(mut self, alpn: &[&str]) -> Self {
        self.config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(self.config.clone())).connect(name, stream).await
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self, address: SocketAddr) -> CertificateDer<'static> {
        let stream = self.connect(address).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}
