//! `[tls]`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::TlsError;
use crate::base::Span;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate and the chain behind it; empty = plain text.
    pub certificate: PemFile,
    pub key: PemFile,
    /// Who signs clients' certificates.
    pub client_ca: PemFile,
    pub client_auth: ClientAuth,
    pub min_version: MinVersion,
    /// Longest wait for a connection to be through its handshake.
    pub handshake_timeout: Span,
    /// Connections that are not, on all ports together.
    pub max_handshakes: usize,
    /// Between two looks at the files.
    pub reload_interval: Span,
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    None,
    /// Who has one shows it; one that does not hold is refused.
    Request,
    Require,
}

impl ClientAuth {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Request => "request",
            Self::Require => "require",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum MinVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// A file in PEM, written as its path or as `file:` and its path; empty = none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PemFile(PathBuf);

impl PemFile {
    pub fn is_empty(&self) -> bool {
        self.0.as_os_str().is_empty()
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl<'de> Deserialize<'de> for PemFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // It has to be a file: that is what can be replaced while the server runs.
        if text.starts_with("env:") || text.contains("-----BEGIN") {
            let wrong = "this has to be the path of a file in PEM, such as 'file:/etc/adlake/tls/server.pem'";
            return Err(serde::de::Error::custom(wrong));
        }
        Ok(Self(text.strip_prefix("file:").unwrap_or(&text).into()))
    }
}

impl TlsConfig {
    /// Whether ports speak TLS.
    ///
    /// # Errors
    /// Keys that are set and mean nothing without another that is not.
    pub fn is_on(&self) -> Result<bool, TlsError> {
        let missing = |set: &'static str, missing: &'static str| Err(TlsError::Incomplete { set, missing });
        match (self.certificate.is_empty(), self.key.is_empty()) {
            (false, true) => return missing("tls.certificate", "tls.key"),
            (true, false) => return missing("tls.key", "tls.certificate"),
            (true, true) if self.client_auth != ClientAuth::None => {
                return missing("tls.client_auth", "tls.certificate");
            }
            (true, true) if !self.client_ca.is_empty() => return missing("tls.client_ca", "tls.certificate"),
            (true, true) => return Ok(false),
            (false, false) => {}
        }
        match (self.client_auth, self.client_ca.is_empty()) {
            (ClientAuth::Request | ClientAuth::Require, true) => missing("tls.client_auth", "tls.client_ca"),
            (ClientAuth::None, false) => missing("tls.client_ca", "tls.client_auth"),
            (ClientAuth::None, true) | (ClientAuth::Request | ClientAuth::Require, false) => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<TlsConfig, toml::de::Error> {
        let mut keys: toml::Table = [
            ("certificate", ""),
            ("key", ""),
            ("client_ca", ""),
            ("client_auth", "none"),
            ("min_version", "1.2"),
            ("handshake_timeout", "1s"),
            ("reload_interval", "1s"),
        ]
        .into_iter()
        .chain(pairs.iter().copied())
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
        keys.insert("max_handshakes".to_owned(), 10.into());
        keys.try_into()
    }

    fn check(pairs: &[(&str, &str)], expected: Result<bool, &str>) {
        let found = config(pairs).unwrap().is_on().map_err(|error| error.to_string());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{pairs:?}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "'{message}' does not say '{part}'"),
            (found, expected) => panic!("{pairs:?} gave {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn what_belongs_together_has_to_be_set_together() {
        check(&[], Ok(false));
        check(&[("certificate", "a"), ("key", "file:b")], Ok(true));
        check(&[("certificate", "a")], Err("tls.key"));
        check(&[("key", "a")], Err("tls.certificate"));
        check(&[("client_ca", "a")], Err("tls.certificate"));
        check(&[("client_auth", "require")], Err("tls.certificate"));
        check(&[("certificate", "a"), ("key", "b"), ("client_auth", "request")], Err("tls.client_ca"));
        check(&[("certificate", "a"), ("key", "b"), ("client_ca", "c")], Err("tls.client_auth"));
        check(&[("certificate", "a"), ("key", "b"), ("client_ca", "c"), ("client_auth", "require")], Ok(true));
    }

    #[test]
    fn files_are_paths() {
        assert_eq!(config(&[("key", "file:/a/b.pem")]).unwrap().key.path(), Path::new("/a/b.pem"));
        assert_eq!(config(&[("key", "/a/b.pem")]).unwrap().key.to_string(), "/a/b.pem");
        for wrong in ["env:KEY", "-----BEGIN PRIVATE KEY-----"] {
            assert!(config(&[("key", wrong)]).unwrap_err().to_string().contains("path of a file"), "{wrong}");
        }
        assert!(config(&[("client_auth", "maybe")]).unwrap_err().to_string().contains("`require`"));
        assert!(config(&[("min_version", "1.1")]).unwrap_err().to_string().contains("`1.2`"));
    }
}
