//! Why a connection could not be made or broke off, in words, with what to do.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Encryption, ServerUrl};
use crate::cli::failure::Failure;

const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// A failure that names the server and what was wrong with the connection.
pub fn explain(url: &ServerUrl, error: &(dyn Error + 'static)) -> Failure {
    let Some(tls) = tls_error(error) else {
        let cut_off = url.encryption == Encryption::Tls && io_kind(error) == Some(io::ErrorKind::UnexpectedEof);
        let failure = Failure::new(format!("cannot connect to {url}: {}", innermost(error)));
        return failure.with_hint(match cut_off {
            true => {
                "the server closed the connection instead of speaking TLS; does it? Plain text is grpc:// or http://"
            }
            false => "is `adlake serve` running there? It prints its addresses when it starts",
        });
    };
    let (reason, hint) = in_words(url, tls);
    Failure::new(format!("cannot connect to {url}: {reason}")).with_hint(hint)
}

/// What is wrong, and what to do about it.
fn in_words(url: &ServerUrl, error: &rustls::Error) -> (String, String) {
    let host = &url.host;
    let (reason, hint) = match error {
        rustls::Error::InvalidCertificate(wrong) => return certificate_in_words(host, wrong),
        rustls::Error::InvalidMessage(_) => {
            ("the server does not speak TLS".to_owned(), "use grpc:// (gRPC) or http:// (HTTP)")
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => (
            "the server wants to see a certificate (tls.client_auth)".to_owned(),
            "pass --client-cert FILE and --client-key FILE",
        ),
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::DecryptError
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::AccessDenied),
        ) => (
            format!("the server does not accept the client's certificate ({alert:?})"),
            "it has to be signed by one of the server's tls.client_ca, be for clients, and not have expired",
        ),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => (
            format!("client and server have no version of TLS in common ({error})"),
            "TLS 1.2 and 1.3 are spoken here; the server's oldest is tls.min_version",
        ),
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => (
            "the server speaks TLS, but not this protocol".to_owned(),
            "gRPC (grpc+tls://) and HTTP (https://) have different ports",
        ),
        other => (format!("TLS: {other}"), "look into the server's log, with log.level = debug"),
    };
    (reason, hint.to_owned())
}

fn certificate_in_words(host: &str, error: &CertificateError) -> (String, String) {
    match error {
        CertificateError::UnknownIssuer => (
            format!("nobody this machine trusts has signed the certificate of {host}"),
            "pass --ca FILE with the certificate of who has".to_owned(),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the server's certificate is not for '{host}' ({error})"),
            "connect by a name that is in the certificate".to_owned(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            format!("the certificate of {host} has expired ({error})"),
            "replace it on the server; it is taken over without a restart".to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            format!("the certificate of {host} is not valid yet ({error})"),
            "is the clock of this machine right?".to_owned(),
        ),
        other => (
            format!("the certificate of {host} cannot be accepted: {other}"),
            "look at it with: openssl s_client -connect HOST:PORT".to_owned(),
        ),
    }
}

/// Whether the other end answers the beginning of a handshake like a server with TLS: with a handshake or an alert. Asked
/// after a plain-text connection has failed, to be able to say why.
pub async fn speaks_tls(url: &ServerUrl) -> bool {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    // A ClientHello that no server can take (its body is empty, RFC 8446, 4.1.2): the answer is an alert.
    const HELLO: [u8; 9] = [HANDSHAKE, 3, 1, 0, 4, 1, 0, 0, 0];
    let asking = async {
        let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
        stream.write_all(&HELLO).await?;
        stream.read_u8().await
    };
    matches!(tokio::time::timeout(PROBE_TIMEOUT, asking).await, Ok(Ok(ALERT | HANDSHAKE)))
}

/// The error of rustls that `error` comes from.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(error).into_iter().find_map(|error| {
        // An io::Error's source is the source of what it wraps, so what it wraps is looked at here.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let wrapped = wrapped.and_then(|wrapped| wrapped.downcast_ref::<rustls::Error>());
        error.downcast_ref::<rustls::Error>().or(wrapped)
    })
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    causes(error).into_iter().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind)
}

/// What has really happened: the last of the causes. Those before it say "transport error".
fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

/// The error and what it comes from, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut all = vec![error];
    let mut next = error.source();
    while let Some(cause) = next {
        all.push(cause);
        next = cause.source();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ServerUrl {
        ServerUrl::parse(text, "", 50051).unwrap()
    }

    fn check(error: rustls::Error, parts: [&str; 2]) {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        let failure = explain(&url("grpc+tls://h:1"), &error);
        assert!(failure.message().contains(parts[0]), "{failure:?}");
        assert!(failure.hint().unwrap().contains(parts[1]), "{failure:?}");
    }

    #[test]
    fn causes_are_told_apart() {
        use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
        check(InvalidCertificate(CertificateError::UnknownIssuer), ["nobody this machine trusts", "--ca FILE"]);
        check(InvalidCertificate(CertificateError::NotValidForName), ["is not for 'h'", "a name that is in"]);
        check(InvalidCertificate(CertificateError::Expired), ["has expired", "without a restart"]);
        check(InvalidMessage(rustls::InvalidMessage::InvalidContentType), ["does not speak TLS", "grpc://"]);
        check(AlertReceived(AlertDescription::CertificateRequired), ["wants to see a certificate", "--client-cert"]);
        check(AlertReceived(AlertDescription::UnknownCA), ["does not accept the client's", "tls.client_ca"]);
        check(AlertReceived(AlertDescription::ProtocolVersion), ["no version of TLS in common", "tls.min_version"]);
        check(AlertReceived(AlertDescription::NoApplicationProtocol), ["not this protocol", "different ports"]);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let failure = explain(&url("grpc://h:1"), &refused);
        assert!(failure.message().contains("cannot connect to grpc://h:1: connection refused"), "{failure:?}");
        assert!(failure.hint().unwrap().contains("adlake serve"));
        let cut = explain(&url("https://h:1"), &io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(cut.hint().unwrap().contains("instead of speaking TLS"));
    }
}
