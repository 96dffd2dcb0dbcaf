//! Where the servers listen: the address allowed, the ports bound.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

use super::AppError;
use crate::base::Kind;

pub(super) fn bind_address(bind: &str, insecure: bool) -> Result<IpAddr, AppError> {
    let text = if bind == "localhost" { "127.0.0.1" } else { bind };
    let address: IpAddr = text.parse().map_err(|_| {
        AppError::new(Kind::InvalidArgument, format!("server.bind '{bind}' is not an IP address such as 127.0.0.1"))
    })?;
    if !address.is_loopback() && !insecure {
        let message = format!(
            "server.bind {address} is reachable from other machines and there is no authentication yet; \
             bind 127.0.0.1, or set server.insecure = true if the network itself is safe"
        );
        return Err(AppError::new(Kind::FailedPrecondition, message));
    }
    Ok(address)
}

pub(super) async fn bind(address: IpAddr, port: u16, key: &str) -> Result<TcpListener, AppError> {
    TcpListener::bind((address, port)).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process listens there; stop it or set another port",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need rights; set another port",
            _ => "set server.bind to an address of this machine",
        };
        AppError::new(Kind::Unavailable, format!("cannot listen on {address}:{port} ({key}): {error}; {advice}"))
    })
}

pub(super) fn local(listener: &TcpListener) -> Result<SocketAddr, AppError> {
    listener.local_addr().map_err(|error| AppError::new(Kind::Internal, format!("cannot read bound address: {error}")))
}
