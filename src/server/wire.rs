//! The bytes of a connection, encrypted or not: to a protocol it makes no difference.

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// The server's side of a connection.
pub type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

pub fn plain(stream: TcpStream) -> Wire {
    Either::Left(stream)
}

pub fn encrypted(stream: TlsStream<TcpStream>) -> Wire {
    Either::Right(Box::new(stream))
}
