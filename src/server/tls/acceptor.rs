//! How connections of one port begin: with a handshake, or at once.
//!
//! ```text
//! accept ─► a place among the half-open ─► first byte ─ not of TLS ─► given back: Unsecured::PlainText
//!                    │ lost to a newcomer      │
//!                    ▼                         ▼
//!                  close      handshake ─ late, refused, broken off ─► closed (an alert says why), counted
//!                                              │
//!                                              ▼
//!                                           Secured
//! ```
//! Runs on the caller's task: accept loops spawn it.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::CertificateFacts;
use super::reload::Tls;
use crate::base::Stopwatch;
use crate::server::wire::{Wire, encrypted, plain};
use crate::telemetry::metrics;

/// Begins a record of TLS that carries a handshake (RFC 8446, 5.1); no request of HTTP, no preface of HTTP/2 begins like it.
const HANDSHAKE: u8 = 22;

/// What a port speaks once its connection is secured: offered by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/2 and HTTP/1.1.
    Http,
    /// HTTP/2 only.
    Grpc,
    /// PostgreSQL's protocol, version 3.
    Postgres,
}

impl Speaks {
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Self::Grpc => vec![b"h2".to_vec()],
            Self::Postgres => vec![b"postgresql".to_vec()],
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Postgres => "pgwire",
        }
    }
}

/// The beginning of every connection of a port.
#[derive(Clone)]
pub enum Acceptor {
    Plain,
    Tls { tls: Arc<Tls>, speaks: Speaks },
}

/// A connection over which its protocol can begin.
pub struct Secured {
    pub wire: Wire,
    /// The client's, checked.
    pub certificate: Option<Arc<CertificateFacts>>,
}

/// Why there is none.
#[derive(Debug)]
pub enum Unsecured {
    /// The client speaks without TLS. Here it is again, nothing read.
    PlainText(TcpStream),
    /// Closed, counted and logged.
    Ended,
}

/// How a handshake ended otherwise.
enum Failed {
    PlainText(TcpStream),
    /// Nothing was said at all: a look whether the port is open.
    Closed,
    Late,
    Displaced,
    Refused(io::Error),
}

impl Acceptor {
    pub fn new(tls: Option<Arc<Tls>>, speaks: Speaks) -> Self {
        match tls {
            None => Self::Plain,
            Some(tls) => Self::Tls { tls, speaks },
        }
    }

    /// Returns when the connection is secured, or will not be: after `tls.handshake_timeout` at the latest.
    ///
    /// # Errors
    /// [`Unsecured`].
    pub async fn accept(&self, stream: TcpStream) -> Result<Secured, Unsecured> {
        match self {
            Self::Plain => Ok(Secured { wire: plain(stream), certificate: None }),
            Self::Tls { tls, speaks } => Box::pin(secure(tls, *speaks, stream)).await,
        }
    }

    /// Further connections that may be under way here beside those that are through.
    pub fn half_open_max(&self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Tls { tls, .. } => tls.half_open().places(),
        }
    }
}

async fn secure(tls: &Tls, speaks: Speaks, stream: TcpStream) -> Result<Secured, Unsecured> {
    let place = tls.half_open().enter();
    let watch = Stopwatch::start();
    let from = stream.peer_addr().ok();
    let ended = tokio::select! {
        ended = tokio::time::timeout(tls.handshake_timeout(), handshake(tls, speaks, stream)) => {
            ended.unwrap_or(Err(Failed::Late))
        }
        () = place.lost() => Err(Failed::Displaced),
    };
    let outcome = match &ended {
        Ok(_) => "done",
        Err(failed) => failed.as_str(),
    };
    let labels = [("protocol", speaks.as_str()), ("outcome", outcome)];
    metrics().count("tls_handshakes", "TLS handshakes, by how they ended", &labels, 1);
    match ended {
        Ok(stream) => {
            let seconds = watch.elapsed().as_secs_f64();
            metrics().observe_seconds("tls_handshake_seconds", "Time of a handshake that succeeded", &[], seconds);
            Ok(Secured { certificate: client_certificate(&stream), wire: encrypted(stream) })
        }
        Err(Failed::PlainText(stream)) => Err(Unsecured::PlainText(stream)),
        Err(failed) => {
            let error = match &failed {
                Failed::Refused(error) => Some(error),
                Failed::PlainText(_) | Failed::Closed | Failed::Late | Failed::Displaced => None,
            };
            tracing::debug!(?from, outcome, error = error.map(tracing::field::display), "no TLS handshake");
            Err(Unsecured::Ended)
        }
    }
}

async fn handshake(tls: &Tls, speaks: Speaks, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failed> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) => return Err(Failed::Closed),
        Ok(_) if first[0] != HANDSHAKE => return Err(Failed::PlainText(stream)),
        Ok(_) => {}
        Err(error) => return Err(Failed::Refused(error)),
    }
    let identity = tls.identity();
    // A copy shares everything but the list of protocols.
    let mut config = ServerConfig::clone(&identity.server);
    config.alpn_protocols = speaks.alpn();
    TlsAcceptor::from(Arc::new(config)).accept(stream).await.map_err(Failed::Refused)
}

/// The certificate that the client has shown. One that rustls has taken and we cannot read is no identity.
fn client_certificate(stream: &TlsStream<TcpStream>) -> Option<Arc<CertificateFacts>> {
    let (_, connection) = stream.get_ref();
    let own: &CertificateDer<'_> = connection.peer_certificates()?.first()?;
    match CertificateFacts::read(own) {
        Ok(facts) => Some(Arc::new(facts)),
        Err(error) => {
            tracing::warn!(error, "a client's certificate cannot be read; it counts as none");
            None
        }
    }
}

impl Failed {
    fn as_str(&self) -> &'static str {
        match self {
            Self::PlainText(_) => "plain_text",
            Self::Closed => "closed",
            Self::Late => "late",
            Self::Displaced => "displaced",
            Self::Refused(_) => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::RootCertStore;
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::super::testing::{Authority, Made};
    use super::*;
    use crate::base::Clock;

    /// What is known of a client that shows `own` to a server that asks.
    async fn seen(authority: &Authority, own: &Made) -> Option<Arc<CertificateFacts>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        authority.server("s", &["localhost"]).write(folder.path(), "s");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let section = format!(
            "certificate = '{path}/s.pem'\nkey = '{path}/s.key'\nclient_ca = '{path}/ca.pem'\nclient_auth = 'require'\n\
             min_version = '1.2'\nhandshake_timeout = '1m'\nmax_handshakes = 1\nreload_interval = '1m'"
        );
        let tls = Tls::load(&toml::from_str(&section).unwrap(), &Clock::system()).await.unwrap();
        let acceptor = Acceptor::new(tls, Speaks::Grpc);

        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client =
            builder.with_root_certificates(roots).with_client_auth_cert(vec![own.der()], own.key_der()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let connecting = connector.connect(ServerName::try_from("localhost").unwrap(), stream);
        let accepting = async { acceptor.accept(listener.accept().await.unwrap().0).await.ok() };
        let (connected, accepted) = tokio::join!(connecting, accepting);
        let (mut connected, mut accepted) = (connected.unwrap(), accepted.unwrap());
        connected.write_all(b"hello").await.unwrap();
        connected.shutdown().await.unwrap();
        let mut heard = String::new();
        tokio::time::timeout(Duration::from_secs(60), accepted.wire.read_to_string(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, "hello");
        accepted.certificate
    }

    #[tokio::test]
    async fn who_shows_a_certificate_is_known_by_it() {
        let authority = Authority::new("a");
        let facts = seen(&authority, &authority.client("the pipeline")).await.unwrap();
        assert_eq!((facts.subject.as_str(), facts.common_name.as_deref()), ("CN=the pipeline", Some("the pipeline")));
    }
}
