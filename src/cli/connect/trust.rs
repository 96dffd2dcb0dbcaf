//! Whom a client believes to be the server, and how it shows who it is itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::Encryption;
use crate::cli::failure::Failure;

/// Options of commands that connect to a server.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// Certificates, PEM, of who has signed the server's, for a URL with grpc+tls:// or https:// [default: those this machine trusts]
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub ca: Option<PathBuf>,
    /// Certificate, PEM, to show to a server that asks for one
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = "TLS")]
    pub client_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "client_cert", help_heading = "TLS")]
    pub client_key: Option<PathBuf>,
}

impl TlsArgs {
    /// For connections of this kind; `None` when they are not encrypted. `alpn` is what will be spoken.
    ///
    /// # Errors
    /// Options that mean nothing for this URL, files that cannot be used.
    pub fn config(&self, encryption: Encryption, alpn: &[&[u8]]) -> Result<Option<Arc<ClientConfig>>, Failure> {
        if encryption == Encryption::None {
            return match self.ca.is_some() || self.client_cert.is_some() {
                false => Ok(None),
                true => Err(Failure::usage("--ca and --client-cert are for connections with TLS")
                    .with_hint("write the URL with grpc+tls:// or https://, or leave the options out")),
            };
        }
        let roots = match &self.ca {
            Some(path) => roots_of(path)?,
            None => roots_of_this_machine()?,
        };
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key_read = PrivateKeyDer::from_pem_file(key);
                let key_read = key_read
                    .with_context(|| format!("cannot read a private key from --client-key {}", key.display()))?;
                builder.with_client_auth_cert(chain, key_read).with_context(|| {
                    format!("{} and {} cannot be used together", certificate.display(), key.display())
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Some(Arc::new(config)))
    }
}

fn roots_of(path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for root in certificates(path)? {
        roots.add(root).with_context(|| format!("a certificate in --ca {} cannot be used", path.display()))?;
    }
    Ok(roots)
}

fn roots_of_this_machine() -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Machines carry a few that cannot be read; what counts is that some can.
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        false => Ok(roots),
        true => Err(Failure::new("this machine has no certificates of authorities it trusts")
            .with_hint("install them (Debian: ca-certificates), or pass --ca FILE")),
    }
}

/// All certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let unreadable = || format!("cannot read certificates from {}", path.display());
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).with_context(unreadable)?.collect();
    let read = read.with_context(unreadable)?;
    match read.is_empty() {
        false => Ok(read),
        true => Err(Failure::new(format!("{} holds no certificate in PEM", path.display()))
            .with_hint("its first line has to be -----BEGIN CERTIFICATE-----")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(args: &TlsArgs, encryption: Encryption) -> String {
        args.config(encryption, &[]).map(|_| ()).unwrap_err().message()
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let args = TlsArgs { ca: Some(path.clone()), ..TlsArgs::default() };
        assert!(failure(&args, Encryption::Tls).contains("cannot read certificates from"));
        std::fs::write(&path, "hello").unwrap();
        assert!(failure(&args, Encryption::Tls).contains("ca.pem holds no certificate"));
        assert!(failure(&args, Encryption::None).contains("for connections with TLS"));
        assert!(TlsArgs::default().config(Encryption::None, &[]).unwrap().is_none());
    }
}
