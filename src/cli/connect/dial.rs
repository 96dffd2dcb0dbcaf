//! Opens connections: TCP, then TLS when the URL asks for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tonic::transport::{Channel, Endpoint};

use super::{ServerUrl, TlsArgs, explain};
use crate::cli::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a server to say what it does not like.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(3);
/// Flow-control window: calls are then bound by the server and the disk, not by round trips.
const WINDOW: u32 = 8 << 20;

/// The client's side of a connection.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Opens connections to one server. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    pub url: ServerUrl,
    config: Option<Arc<ClientConfig>>,
}

impl Dialer {
    /// For connections over which gRPC is spoken.
    ///
    /// # Errors
    /// Files of `args` that cannot be used.
    pub fn grpc(url: ServerUrl, args: &TlsArgs) -> Result<Self, Failure> {
        let config = args.config(url.encryption, &[b"h2"])?;
        Ok(Self { url, config })
    }

    /// For connections over which HTTP/1.1 is spoken.
    ///
    /// # Errors
    /// Files of `args` that cannot be used.
    pub fn http(url: ServerUrl, args: &TlsArgs) -> Result<Self, Failure> {
        let config = args.config(url.encryption, &[b"http/1.1"])?;
        Ok(Self { url, config })
    }

    /// One connection.
    ///
    /// # Errors
    /// As the system or rustls says it; [`explain`] makes words of it.
    pub async fn dial(&self) -> io::Result<Stream> {
        let connecting = async {
            let stream = TcpStream::connect((self.url.host.as_str(), self.url.port)).await?;
            stream.set_nodelay(true)?;
            let Some(config) = &self.config else { return Ok(Either::Left(stream)) };
            let name = ServerName::try_from(self.url.host.clone()).map_err(io::Error::other)?;
            let secured = TlsConnector::from(config.clone()).connect(name, stream).await?;
            Ok(Either::Right(Box::new(secured)))
        };
        let late =
            || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()));
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| late())?
    }

    /// What a connection is told after its handshake, before anything is said over it: a client of TLS 1.3 learns only then
    /// that its certificate is not taken. HTTP/2 keeps no more than the text of that, so it is asked for again, without HTTP/2,
    /// when a call has failed. `None`: the server waits to be spoken to, as it should.
    pub async fn refusal(&self) -> Option<io::Error> {
        let listening = async { self.dial().await?.read_u8().await };
        match tokio::time::timeout(LISTEN_TIMEOUT, listening).await {
            Ok(Err(error)) => Some(error),
            Ok(Ok(_)) | Err(_) => None,
        }
    }

    /// A gRPC channel, connected; it connects again by itself. `adjusted` sets what is particular to the caller.
    ///
    /// # Errors
    /// A server that cannot be reached or believed, in words.
    pub async fn channel(&self, adjusted: impl FnOnce(Endpoint) -> Endpoint) -> Result<Channel, Failure> {
        // The scheme is the transport's way to ask for TLS of its own; this connector has it already.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.url.authority()))?
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let dialer = self.clone();
        let connector = tower::service_fn(move |_| {
            let dialer = dialer.clone();
            async move { dialer.dial().await.map(TokioIo::new) }
        });
        let connected = adjusted(endpoint).connect_with_connector(connector).await;
        connected.map_err(|error| explain(&self.url, &error))
    }
}
