//! What is made of the files: the server's certificate and key and how clients are checked, or what is wrong with them.
//! Pure: the files' content and the moment go in.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};

use super::config::MinVersion;
use super::facts::CertificateFacts;
use super::files::{Files, PemText};
use super::{ClientAuth, TlsConfig, TlsError};
use crate::base::Clock;

/// Who the server is, and whom it believes.
pub struct Identity {
    /// Without the protocols to choose from, which differ between ports.
    pub server: Arc<ServerConfig>,
    pub facts: CertificateFacts,
}

impl Identity {
    /// # Errors
    /// What is wrong with which file.
    pub fn make(files: &Files, config: &TlsConfig, clock: &Clock) -> Result<Self, TlsError> {
        let Files { certificate, key, client_ca } = files;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = certificates(certificate)?;
        let facts = match chain.first() {
            Some(own) => CertificateFacts::read(own).map_err(|reason| unreadable(certificate, reason))?,
            None => return Err(absent(certificate, "certificate")),
        };
        let certified = certified(chain, (certificate, key), &facts, &provider)?;
        let setup = |error: rustls::Error| TlsError::Setup { reason: error.to_string() };
        let versions: &[_] = match config.min_version {
            MinVersion::Tls12 => &[&TLS12, &TLS13],
            MinVersion::Tls13 => &[&TLS13],
        };
        let verifier = verifier(config.client_auth, client_ca.as_ref(), &provider)?;
        let builder = ServerConfig::builder_with_details(provider, Arc::new(Now(clock.clone())))
            .with_protocol_versions(versions)
            .map_err(setup)?;
        let server =
            builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        Ok(Self { server: Arc::new(server), facts })
    }
}

/// The certificate with its key, when they belong together.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    (certificate, key): (&PemText, &PemText),
    facts: &CertificateFacts,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let signer = provider
        .key_provider
        .load_private_key(private_key(key)?)
        .map_err(|error| TlsError::KeyKind { path: key.path.clone(), reason: error.to_string() })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let belongs = |other: &CertificateDer<'static>| {
                CertifiedKey::new(vec![other.clone()], certified.key.clone()).keys_match().is_ok()
            };
            let hint = match certified.cert.iter().skip(1).any(belongs) {
                true => "it belongs to a later one: the server's own certificate has to be the first in the file",
                false => "when both are replaced, replace them together",
            };
            let (certificate, key) = (certificate.path.clone(), key.path.clone());
            Err(TlsError::Mismatch { key, certificate, subject: facts.subject.clone(), hint })
        }
        Err(error) => Err(unreadable(certificate, error.to_string())),
    }
}

fn verifier(
    client_auth: ClientAuth,
    client_ca: Option<&PemText>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(text) = client_ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let unfit = |reason: String| TlsError::ClientCa { path: text.path.clone(), reason };
    let mut roots = RootCertStore::empty();
    for root in certificates(text)? {
        roots.add(root).map_err(|error| unfit(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = match client_auth {
        ClientAuth::None => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuth::Request => builder.allow_unauthenticated(),
        ClientAuth::Require => builder,
    };
    builder.build().map_err(|error| unfit(error.to_string()))
}

/// All certificates of a file, at least one.
fn certificates(text: &PemText) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text.bytes).collect();
    match read {
        Ok(found) if found.is_empty() => Err(absent(text, "certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::Pem { key: text.key, path: text.path.clone(), reason: error.to_string() }),
    }
}

fn private_key(text: &PemText) -> Result<PrivateKeyDer<'static>, TlsError> {
    // Known by its header only; its content is no base64 of a key.
    if holds(text, "Proc-Type: 4,ENCRYPTED") {
        return Err(absent(text, "private key"));
    }
    match PrivateKeyDer::pem_slice_iter(&text.bytes).next() {
        None => Err(absent(text, "private key")),
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(TlsError::Pem { key: text.key, path: text.path.clone(), reason: error.to_string() }),
    }
}

fn holds(text: &PemText, part: &str) -> bool {
    text.bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

/// Says what there is instead, because that is how one sees which mistake it was.
fn absent(text: &PemText, wanted: &'static str) -> TlsError {
    let found = if text.bytes.iter().all(u8::is_ascii_whitespace) {
        "the file is empty"
    } else if holds(text, "ENCRYPTED") {
        "its key is encrypted; write it without a pass phrase: openssl pkey -in FILE -out NEWFILE"
    } else if holds(text, "PRIVATE KEY-----") {
        "it holds a private key; are the files exchanged?"
    } else if holds(text, "BEGIN CERTIFICATE REQUEST") {
        "it holds a request for a certificate; have an authority sign it"
    } else if holds(text, "BEGIN CERTIFICATE-----") {
        "it holds a certificate; are the files exchanged?"
    } else if text.bytes.first() == Some(&0x30) {
        "it looks like DER; turn it into PEM: openssl x509 -inform der (a key: openssl pkey -inform der)"
    } else {
        "no line of it begins with -----BEGIN"
    };
    TlsError::Absent { key: text.key, path: text.path.clone(), wanted, found }
}

fn unreadable(text: &PemText, reason: String) -> TlsError {
    TlsError::Certificate { key: text.key, path: text.path.clone(), reason }
}

/// Whether a client's certificate is valid goes by our clock too.
#[derive(Debug)]
struct Now(Clock);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().micros().div_euclid(1_000_000)).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Authority, Made};
    use super::*;

    fn text(key: &'static str, bytes: impl Into<Vec<u8>>) -> PemText {
        PemText { key, path: format!("/x/{key}.pem"), bytes: bytes.into() }
    }

    fn config(client_auth: &str) -> TlsConfig {
        let section = format!(
            "certificate = 'c'\nkey = 'k'\nclient_ca = ''\nclient_auth = '{client_auth}'\nmin_version = '1.2'\n\
             handshake_timeout = '1s'\nmax_handshakes = 1\nreload_interval = '1s'"
        );
        toml::from_str(&section).unwrap()
    }

    fn made() -> Made {
        Authority::new("a").server("the server", &["localhost"])
    }

    fn make(certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Result<Identity, String> {
        let files =
            Files { certificate: text("tls.certificate", certificate), key: text("tls.key", key), client_ca: None };
        Identity::make(&files, &config("none"), &Clock::system()).map_err(|error| error.to_string())
    }

    fn wrong(certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>, parts: [&str; 2]) {
        let message = make(certificate, key).map(|_| ()).unwrap_err();
        for part in parts {
            assert!(message.contains(part), "'{message}' does not say '{part}'");
        }
    }

    #[test]
    fn good_files_make_an_identity() {
        let made = made();
        let identity = make(made.certificate, made.key).unwrap();
        assert_eq!(identity.facts.subject, "CN=the server");
    }

    #[test]
    fn what_is_wrong_with_which_file_is_said() {
        let (made, other) = (made(), made());
        let (certificate, key) = (made.certificate.as_str(), made.key.as_str());
        wrong("", key, ["tls.certificate.pem' holds no certificate", "the file is empty"]);
        wrong(key, key, ["tls.certificate.pem' holds no certificate", "exchanged"]);
        wrong("hello", key, ["holds no certificate", "-----BEGIN"]);
        wrong(made.der().to_vec(), key, ["holds no certificate", "DER"]);
        wrong(certificate, "", ["tls.key.pem' holds no private key", "the file is empty"]);
        wrong(certificate, certificate, ["tls.key.pem' holds no private key", "exchanged"]);
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        wrong(certificate, encrypted, ["holds no private key", "openssl pkey"]);
        let older = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        wrong(certificate, older, ["holds no private key", "openssl pkey"]);
        wrong(certificate, &key[..key.len() / 2], ["tls.key.pem' is not PEM", "end marker"]);
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        wrong(garbage, key, ["a certificate in tls.certificate", "cannot be read"]);
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        wrong(certificate, no_key, ["tls.key.pem' cannot be used", "P-256"]);
        wrong(certificate, other.key.as_str(), ["does not belong to the first certificate", "CN=the server"]);
        let swapped = format!("{}{certificate}", other.certificate);
        wrong(swapped, key, ["does not belong to the first certificate", "has to be the first in the file"]);
    }

    #[test]
    fn signers_of_clients_have_to_be_certificates() {
        let made = made();
        let with = |client_ca: &str| {
            let files = Files {
                certificate: text("tls.certificate", made.certificate.as_str()),
                key: text("tls.key", made.key.as_str()),
                client_ca: Some(text("tls.client_ca", client_ca)),
            };
            Identity::make(&files, &config("require"), &Clock::system()).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(with(&Authority::new("a").pem()), Ok(()));
        assert!(with("").unwrap_err().contains("tls.client_ca.pem' holds no certificate"));
        assert!(with(&made.key).unwrap_err().contains("tls.client_ca.pem' holds no certificate"));
    }
}
