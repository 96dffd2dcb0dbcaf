//! What a certificate says of itself (RFC 5280). Whether that is true is checked by rustls, not here.
//!
//! The one home of `x509_parser`.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::base::Timestamp;

/// The readable part of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The distinguished name, such as `CN=ads.example.com, O=Example`; may be empty.
    pub subject: String,
    /// The first common name in it.
    pub common_name: Option<String>,
    /// Alternative names: hosts, addresses, e-mail addresses, URIs.
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// How a certificate stands to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Valid,
    NotYet,
    /// For less than [`ENDS_SOON`] from now.
    EndsSoon,
    Expired,
}

/// Time in which somebody can still do something about it.
pub const ENDS_SOON: std::time::Duration = std::time::Duration::from_secs(14 * 86_400);

impl CertificateFacts {
    /// # Errors
    /// Bytes that are no certificate, in words.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate", rest.len()));
        }
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
        let names = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.iter().filter_map(text).collect(),
            Ok(None) => Vec::new(),
            Err(error) => return Err(error.to_string()),
        };
        let validity = certificate.validity();
        let moment = |seconds: i64| Timestamp(seconds.saturating_mul(1_000_000));
        Ok(Self {
            subject: subject.to_string(),
            common_name,
            names,
            not_before: moment(validity.not_before.timestamp()),
            not_after: moment(validity.not_after.timestamp()),
        })
    }

    pub fn validity(&self, now: Timestamp) -> Validity {
        if now < self.not_before {
            Validity::NotYet
        } else if now > self.not_after {
            Validity::Expired
        } else if now.plus(ENDS_SOON) > self.not_after {
            Validity::EndsSoon
        } else {
            Validity::Valid
        }
    }
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::Authority;
    use super::*;

    #[test]
    fn what_a_certificate_says_is_read() {
        let made = Authority::new("the authority").server("ads", &["ads.example.com", "10.0.0.7", "::1"]);
        let facts = CertificateFacts::read(&made.der()).unwrap();
        assert_eq!((facts.subject.as_str(), facts.common_name.as_deref()), ("CN=ads", Some("ads")));
        assert_eq!(facts.names, ["ads.example.com", "10.0.0.7", "::1"]);
        assert!(facts.not_before < facts.not_after);
        assert!(CertificateFacts::read(&vec![1, 2, 3].into()).is_err());
        assert!(CertificateFacts::read(&[&made.der()[..], b"x"].concat().into()).unwrap_err().contains("1 bytes"));
    }

    #[test]
    fn validity_at_the_edges() {
        let from = Timestamp::from_millis(1_000_000_000_000);
        let to = from.plus(ENDS_SOON * 2);
        let made = Authority::new("a").server("s", &[]);
        let facts =
            CertificateFacts { not_before: from, not_after: to, ..CertificateFacts::read(&made.der()).unwrap() };
        let second = Duration::from_secs(1);
        assert_eq!(facts.validity(from.minus(second)), Validity::NotYet);
        assert_eq!(facts.validity(from), Validity::Valid);
        assert_eq!(facts.validity(to.minus(ENDS_SOON)), Validity::Valid);
        assert_eq!(facts.validity(to.minus(ENDS_SOON).plus(second)), Validity::EndsSoon);
        assert_eq!(facts.validity(to), Validity::EndsSoon);
        assert_eq!(facts.validity(to.plus(second)), Validity::Expired);
    }
}
