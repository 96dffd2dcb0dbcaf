//! `Handshake`: a name and a password (or a token) for a session's bearer token.

use super::error::{internal, invalid};
use super::service::{HandshakeStream, Service};
use crate::server::error::Fault;
use crate::server::gate::{ANONYMOUS, Caller, basic_user};
use crate::server::peer::Peer;
use arrow_flight::{BasicAuth, HandshakeRequest, HandshakeResponse};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

impl Service {
    /// With authentication off everybody gets a session; the name is kept for `system.queries`.
    pub(super) async fn open_session(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<HandshakeStream>, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let from = request.extensions().get::<Peer>().and_then(Peer::host);
        let first = request.into_inner().message().await?;
        let header = header.or_else(|| {
            let auth = BasicAuth::decode(first?.payload).ok()?;
            (!auth.username.is_empty()).then(|| basic_header(&auth))
        });
        let token = match self.gate().is_open() {
            true => {
                let user = header.as_deref().and_then(basic_user);
                self.sessions().open(user.as_deref().unwrap_or(ANONYMOUS))?
            }
            false => {
                let entered = self.gate().enter(header.as_deref(), from).await;
                let Caller(caller) = entered.map_err(|error| Fault::from(&error).into_status())?;
                let caller = caller.ok_or_else(|| invalid("a handshake without a caller"))?;
                self.sessions().open_for(caller)?
            }
        };
        let reply = HandshakeResponse { protocol_version: 0, payload: token.clone().into() };
        let mut response: Response<HandshakeStream> = Response::new(Box::pin(futures::stream::iter([Ok(reply)])));
        let header = format!("Bearer {token}").parse().map_err(|_| internal("a token is not a header value"))?;
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }
}

fn basic_header(auth: &BasicAuth) -> String {
    use base64::Engine as _;
    let pair = format!("{}:{}", auth.username, auth.password);
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}
