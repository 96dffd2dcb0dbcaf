//! In front of every route but the health checks: who calls. What was found is an extension of the request ([`Caller`]).

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::{Shared, body};
use crate::auth::Access;
use crate::base::Kind;
use crate::query::{Origin, Session};
use crate::server::error::Fault;
use crate::server::gate::Caller;
use crate::server::peer::Peer;

/// Paths that tell nothing about anybody's data.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

pub async fn gate(State(shared): State<Arc<Shared>>, mut request: Request<Body>, next: Next) -> Response {
    let gate = &shared.parts.gate;
    if gate.is_open() || OPEN_PATHS.contains(&request.uri().path()) {
        request.extensions_mut().insert(Caller::ANYBODY);
        return next.run(request).await;
    }
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let from = request.extensions().get::<Peer>().and_then(Peer::host);
    match gate.enter(header, from).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => {
            body::refuse(request.into_body()).await;
            Problem::from(Fault::from(&error)).into_response()
        }
    }
}

/// Whose request it is.
///
/// # Errors
/// A request that has not passed the gate: a bug.
pub fn caller(parts: &Parts) -> Result<&Caller, Problem> {
    let missing = || Problem::new(Kind::Internal, "this request has no caller");
    parts.extensions.get::<Caller>().ok_or_else(missing)
}

/// The session of a request, which knows where it comes from.
///
/// # Errors
/// As [`caller`].
pub fn session(parts: &Parts, id: &str, origin: Origin) -> Result<Arc<Session>, Problem> {
    Ok(caller(parts)?.session(id, origin).called_from(address(parts)))
}

/// Where a request comes from.
pub fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<Peer>().and_then(Peer::host)
}

/// What the request's caller may do; none = everything.
///
/// # Errors
/// The user or token is no more.
pub fn access(shared: &Shared, parts: &Parts) -> Result<Option<Access>, Problem> {
    shared.parts.gate.access(caller(parts)?).map_err(|error| Fault::from(&error).into())
}
