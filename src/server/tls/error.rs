//! What can be wrong with the files that say who a server is.

use std::io;

use crate::base::{Classify, Kind};

/// Why a certificate, a key or the signers of clients' certificates cannot be taken. Says which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{set} is set and {missing} is not; set both or none")]
    Incomplete { set: &'static str, missing: &'static str },
    #[error("cannot read {key} '{path}': {}", advice(source))]
    Read { key: &'static str, path: String, source: io::Error },
    #[error("{key} '{path}' is larger than {limit} bytes; is it the right file?")]
    TooLarge { key: &'static str, path: String, limit: u64 },
    #[error("{key} '{path}' holds no {wanted} in PEM; {found}")]
    Absent { key: &'static str, path: String, wanted: &'static str, found: &'static str },
    #[error("{key} '{path}' is not PEM: {reason}")]
    Pem { key: &'static str, path: String, reason: String },
    #[error("a certificate in {key} '{path}' cannot be read: {reason}")]
    Certificate { key: &'static str, path: String, reason: String },
    #[error(
        "the key in tls.key '{path}' cannot be used ({reason}); RSA of 2048 bits and more, P-256, P-384, P-521 and Ed25519 can"
    )]
    KeyKind { path: String, reason: String },
    #[error(
        "the key in tls.key '{key}' does not belong to the first certificate in tls.certificate '{certificate}' ({subject}); {hint}"
    )]
    Mismatch { key: String, certificate: String, subject: String, hint: &'static str },
    #[error("tls.client_ca '{path}' cannot be used to check clients' certificates: {reason}")]
    ClientCa { path: String, reason: String },
    #[error("TLS cannot be set up: {reason}")]
    Setup { reason: String },
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; give the user that adlake runs as the right to read it".to_owned()
        }
        _ => error.to_string(),
    }
}

impl Classify for TlsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Incomplete { .. } => Kind::InvalidArgument,
            Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Absent { .. }
            | Self::Pem { .. }
            | Self::Certificate { .. }
            | Self::KeyKind { .. }
            | Self::Mismatch { .. }
            | Self::ClientCa { .. } => Kind::FailedPrecondition,
            Self::Setup { .. } => Kind::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_is_told_from_one_that_is_not_there() {
        let said = |kind: io::ErrorKind| {
            let source = io::Error::from(kind);
            TlsError::Read { key: "tls.key", path: "/k".to_owned(), source }.to_string()
        };
        assert_eq!(said(io::ErrorKind::NotFound), "cannot read tls.key '/k': there is no such file");
        assert!(said(io::ErrorKind::PermissionDenied).contains("the right to read it"));
    }
}
