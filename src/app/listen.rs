//! Where the servers listen: the address allowed, the ports bound, what clients and other processes call them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use tokio::net::TcpListener;

use super::AppError;
use crate::auth::AuthMode;
use crate::base::Kind;
use crate::config::Config;
use crate::query::{CertificateRow, ListenerRow};
use crate::server::{ServerConfig, Tls};
use crate::storage::Address;

/// What has to hold before other machines may reach a port.
#[derive(Clone, Copy, Debug)]
struct Protection {
    encrypted: bool,
    authenticated: bool,
    /// Somebody has said that the network itself is safe.
    waived: bool,
}

impl Protection {
    pub fn of(server: &ServerConfig, tls: Option<&Tls>, mode: AuthMode) -> Self {
        Self { encrypted: tls.is_some(), authenticated: mode == AuthMode::On, waived: server.insecure }
    }

    /// What there is none of.
    fn missing(self) -> &'static str {
        match (self.encrypted, self.authenticated) {
            (true, true) => "",
            (true, false) => "there is no authentication (auth.mode)",
            (false, true) => "nothing is encrypted (tls.certificate is not set)",
            (false, false) => {
                "nothing is encrypted (tls.certificate is not set) and there is no authentication (auth.mode)"
            }
        }
    }
}

/// The address all ports listen on; beyond loopback only what is encrypted and authenticated, or waived aloud.
fn bind_address(bind: &str, protection: Protection) -> Result<IpAddr, AppError> {
    let text = if bind == "localhost" { "127.0.0.1" } else { bind };
    let address: IpAddr = text.parse().map_err(|_| {
        AppError::new(Kind::InvalidArgument, format!("server.bind '{bind}' is not an IP address such as 127.0.0.1"))
    })?;
    let missing = protection.missing();
    if !address.is_loopback() && !missing.is_empty() && !protection.waived {
        let message = format!(
            "server.bind {address} is reachable from other machines and {missing}; \
             bind 127.0.0.1, or set server.insecure = true if the network itself is safe"
        );
        return Err(AppError::new(Kind::FailedPrecondition, message));
    }
    Ok(address)
}

/// Whether ports speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    None,
    Tls,
}

impl Encryption {
    fn of(tls: &Option<Arc<Tls>>) -> Self {
        match tls {
            Some(_) => Self::Tls,
            None => Self::None,
        }
    }
}

/// Addresses actually bound; a port configured as 0 is any free one.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub flight: SocketAddr,
    /// None: the port is off.
    pub pgwire: Option<SocketAddr>,
    pub encryption: Encryption,
}

impl Addresses {
    pub fn http_url(&self) -> String {
        self.http_at(&self.http.to_string())
    }

    pub fn flight_url(&self) -> String {
        self.flight_at(&self.flight.to_string())
    }

    /// For the driver `org.apache.arrow:flight-sql-jdbc-driver`.
    pub fn jdbc_url(&self) -> String {
        let encrypted = self.encryption == Encryption::Tls;
        format!("jdbc:arrow-flight-sql://{}/?useEncryption={encrypted}", self.flight)
    }

    /// For `psql` and libpq, with the database to name.
    pub fn pgwire_url(&self) -> Option<String> {
        let address = self.pgwire?;
        let mode = match self.encryption {
            Encryption::None => "disable",
            Encryption::Tls => "require",
        };
        Some(format!("postgresql://{address}/adlake?sslmode={mode}"))
    }

    /// Where other processes of the lake reach this one, under the name `advertise` unless it is empty.
    pub(super) fn public(&self, advertise: &str) -> Address {
        let at = |bound: SocketAddr| match advertise {
            "" => bound.to_string(),
            host => format!("{host}:{}", bound.port()),
        };
        Address { http: self.http_at(&at(self.http)), grpc: self.flight_at(&at(self.flight)) }
    }

    fn http_at(&self, place: &str) -> String {
        match self.encryption {
            Encryption::None => format!("http://{place}"),
            Encryption::Tls => format!("https://{place}"),
        }
    }

    fn flight_at(&self, place: &str) -> String {
        match self.encryption {
            Encryption::None => format!("grpc://{place}"),
            Encryption::Tls => format!("grpc+tls://{place}"),
        }
    }
}

/// The ports in service; none before [`Listeners::serve`].
#[derive(Default)]
pub(super) struct Listeners(OnceLock<(Addresses, Option<Arc<Tls>>)>);

impl Listeners {
    /// An app serves once; a second call changes nothing.
    pub fn serve(&self, addresses: Addresses, tls: Option<Arc<Tls>>) {
        if self.0.set((addresses, tls)).is_err() {
            tracing::error!("ports were bound twice; the first stay listed");
        }
    }

    pub fn tls(&self) -> Option<&Tls> {
        self.0.get().and_then(|(_, tls)| tls.as_deref())
    }

    /// `system.listeners`.
    pub fn rows(&self) -> Vec<ListenerRow> {
        let Some((addresses, tls)) = self.0.get() else { return Vec::new() };
        let certificate = tls.as_ref().map(|tls| certificate(tls));
        let row = |protocol, address: SocketAddr| ListenerRow {
            protocol,
            address: address.to_string(),
            certificate: certificate.clone(),
        };
        let pgwire = addresses.pgwire.map(|address| row("pgwire", address));
        [row("http", addresses.http), row("grpc", addresses.flight)].into_iter().chain(pgwire).collect()
    }
}

fn certificate(tls: &Tls) -> CertificateRow {
    let status = tls.status();
    CertificateRow {
        client_auth: status.client_auth.as_str(),
        subject: status.certificate.subject,
        names: status.certificate.names.join(", "),
        not_before: status.certificate.not_before,
        not_after: status.certificate.not_after,
        loaded_at: status.loaded_at,
        last_error: status.last_error,
    }
}

/// The listeners of a process, bound, and what clients call them.
pub(super) struct Bound {
    pub http: TcpListener,
    pub flight: TcpListener,
    pub pgwire: Option<TcpListener>,
    pub addresses: Addresses,
}

impl Bound {
    /// Binds every port that is on.
    ///
    /// # Errors
    /// An address beyond loopback that is not protected, a port in use.
    pub async fn of(config: &Config, tls: &Option<Arc<Tls>>) -> Result<Self, AppError> {
        let protection = Protection::of(&config.server, tls.as_deref(), config.auth.mode);
        let address = bind_address(&config.server.bind, protection)?;
        let http = bind(address, config.http.port, "http.port").await?;
        let flight = bind(address, config.flight.port, "flight.port").await?;
        let pgwire = match config.pgwire.enabled {
            true => Some(bind(address, config.pgwire.port, "pgwire.port").await?),
            false => None,
        };
        let addresses = Addresses {
            http: local(&http)?,
            flight: local(&flight)?,
            pgwire: pgwire.as_ref().map(local).transpose()?,
            encryption: Encryption::of(tls),
        };
        Ok(Self { http, flight, pgwire, addresses })
    }
}

async fn bind(address: IpAddr, port: u16, key: &str) -> Result<TcpListener, AppError> {
    TcpListener::bind((address, port)).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process listens there; stop it or set another port",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need rights; set another port",
            _ => "set server.bind to an address of this machine",
        };
        AppError::new(Kind::Unavailable, format!("cannot listen on {address}:{port} ({key}): {error}; {advice}"))
    })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, AppError> {
    listener.local_addr().map_err(|error| AppError::new(Kind::Internal, format!("cannot read bound address: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bind: &str, (encrypted, authenticated, waived): (bool, bool, bool), expected: Result<(), &[&str]>) {
        let found = bind_address(bind, Protection { encrypted, authenticated, waived });
        match (found, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(parts)) => {
                assert!(
                    parts.iter().all(|part| error.message.contains(part)),
                    "{bind}: {error} does not say {parts:?}"
                );
            }
            (found, expected) => panic!("{bind}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn beyond_loopback_only_what_is_protected_or_waived() {
        for loopback in ["127.0.0.1", "localhost", "::1"] {
            check(loopback, (false, false, false), Ok(()));
        }
        for open in ["0.0.0.0", "10.0.0.1", "::"] {
            check(open, (false, false, false), Err(&["tls.certificate", "no authentication", "server.insecure"]));
            check(open, (true, false, false), Err(&["and there is no authentication", "server.insecure"]));
            check(open, (false, true, false), Err(&["tls.certificate", "server.insecure"]));
            check(open, (true, true, false), Ok(()));
            check(open, (false, false, true), Ok(()));
        }
        check("example.com", (true, true, true), Err(&["is not an IP address"]));
    }

    #[test]
    fn urls_say_what_is_spoken() {
        let bound = |encryption| Addresses {
            http: "127.0.0.1:8080".parse().unwrap(),
            flight: "[::1]:50051".parse().unwrap(),
            pgwire: Some("127.0.0.1:5433".parse().unwrap()),
            encryption,
        };
        let (plain, tls) = (bound(Encryption::None), bound(Encryption::Tls));
        assert_eq!(
            (plain.http_url(), plain.flight_url()),
            ("http://127.0.0.1:8080".into(), "grpc://[::1]:50051".into())
        );
        assert_eq!(
            (tls.http_url(), tls.flight_url()),
            ("https://127.0.0.1:8080".into(), "grpc+tls://[::1]:50051".into())
        );
        assert_eq!(plain.pgwire_url().unwrap(), "postgresql://127.0.0.1:5433/adlake?sslmode=disable");
        assert_eq!(tls.pgwire_url().unwrap(), "postgresql://127.0.0.1:5433/adlake?sslmode=require");
        let public = tls.public("ads.example.com");
        assert_eq!(
            (&*public.http, &*public.grpc),
            ("https://ads.example.com:8080", "grpc+tls://ads.example.com:50051")
        );
        assert_eq!(plain.public("").grpc, "grpc://[::1]:50051");
    }
}
