//! In front of every gRPC service of the port: a call that is not a handshake proves who it is from, or ends here.
//!
//! A token that `Handshake` gave out stands for the identity that was proved then; any other credential is proved now. What
//! was found is an extension of the request ([`Caller`]).

use super::session::Sessions;
use crate::auth::AuthError;
use crate::server::error::Fault;
use crate::server::gate::{Caller, Gate, bearer};
use crate::server::peer::Peer;
use futures::future::BoxFuture;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

#[derive(Clone)]
pub(super) struct GuardLayer {
    gate: Gate,
    sessions: Arc<Sessions>,
}

impl GuardLayer {
    pub fn new(gate: Gate, sessions: Arc<Sessions>) -> Self {
        Self { gate, sessions }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if self.layer.gate.is_open() || request.uri().path() == HANDSHAKE {
            request.extensions_mut().insert(Caller::ANYBODY);
            return Box::pin(self.inner.call(request));
        }
        let layer = self.layer.clone();
        // The clone is the one that was not polled ready; the services below are always ready.
        let mut inner = self.inner.clone();
        Box::pin(async move {
            let header =
                request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
            let from = request.extensions().get::<Peer>().and_then(Peer::host);
            match layer.caller(header.as_deref(), from).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(error) => Ok(Fault::from(&error).into_status().into_http()),
            }
        })
    }
}

impl GuardLayer {
    async fn caller(&self, header: Option<&str>, from: Option<IpAddr>) -> Result<Caller, AuthError> {
        if let Some(token) = header.and_then(bearer)
            && Sessions::is_session_token(token)
        {
            let known = self.sessions.of_token(token).ok_or(AuthError::BadCredential);
            let session = known.inspect_err(|error| self.gate.note_refusal(error, from))?;
            // It may have been dropped since.
            let caller = Caller(session.caller.clone());
            return self.gate.enter_again(&caller, from).map(|()| caller);
        }
        self.gate.enter(header, from).await
    }
}
