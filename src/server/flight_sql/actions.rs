//! The actions there are, and those beside `FlightSqlService`'s own: session options and cancelling.

use super::error::{internal, invalid, status, unimplemented};
use super::polls;
use super::running::Cancelled;
use super::service::Service;
use super::session::SESSION_COOKIE;
use super::session_options::{
    Change, CloseSessionResult, ErrorValue, OptionError, SESSION_CLOSED, SetSessionOptionsRequest,
    SetSessionOptionsResult, decide, options_of,
};
use super::ticket::StatementTicket;
use crate::base::Kind;
use crate::query::{Params, Session};
use arrow_flight::{Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use tonic::{Request, Response, Status};

type ActionStream = Pin<Box<dyn futures::Stream<Item = Result<arrow_flight::Result, Status>> + Send>>;

/// Action name and what it does, as listed to clients: all that is served, and nothing that is refused.
const ACTIONS: [(&str, &str); 7] = [
    (
        "CreatePreparedStatement",
        "Prepares a statement. Request: ActionCreatePreparedStatementRequest. Response: ActionCreatePreparedStatementResult",
    ),
    ("ClosePreparedStatement", "Forgets a prepared statement. Request: ActionClosePreparedStatementRequest"),
    (
        "CancelQuery",
        "Cancels a running statement, the older way. Request: ActionCancelQueryRequest. Response: ActionCancelQueryResult",
    ),
    (
        "CancelFlightInfo",
        "Cancels a running statement. Request: CancelFlightInfoRequest. Response: CancelFlightInfoResult",
    ),
    (
        "SetSessionOptions",
        "Sets options of this session. Request: SetSessionOptionsRequest. Response: SetSessionOptionsResult",
    ),
    ("GetSessionOptions", "Shows the options of this session. Response: GetSessionOptionsResult"),
    ("CloseSession", "Forgets this session. Response: CloseSessionResult"),
];

/// The actions for `ListActions`.
pub(super) fn listed() -> Vec<Result<ActionType, Status>> {
    let action = |(name, text): (&str, &str)| Ok(ActionType { r#type: name.to_owned(), description: text.to_owned() });
    ACTIONS.into_iter().map(action).collect()
}

fn reply(message: &impl Message) -> Response<ActionStream> {
    let result = arrow_flight::Result { body: message.encode_to_vec().into() };
    Response::new(Box::pin(futures::stream::iter([Ok(result)])))
}

impl Service {
    /// An action `FlightSqlService` does not know.
    pub(super) async fn act(&self, request: Request<Action>) -> Result<Response<ActionStream>, Status> {
        let session = self.sessions().of(&request)?;
        let action = request.into_inner();
        match action.r#type.as_str() {
            "CancelFlightInfo" => {
                let request = CancelFlightInfoRequest::decode(action.body)
                    .map_err(|_| invalid("the body of CancelFlightInfo is not a CancelFlightInfoRequest"))?;
                let info = request.info.ok_or_else(|| invalid("CancelFlightInfo without a FlightInfo"))?;
                Ok(reply(&CancelFlightInfoResult::new(self.cancel(&info, &session)?)))
            }
            "SetSessionOptions" => {
                let request = SetSessionOptionsRequest::decode(action.body)
                    .map_err(|_| invalid("the body of SetSessionOptions is not a SetSessionOptionsRequest"))?;
                let mut response = reply(&self.set_options(request, &session).await);
                self.give_cookie(&session, &mut response)?;
                Ok(response)
            }
            "GetSessionOptions" => Ok(reply(&options_of(&session))),
            "CloseSession" => {
                self.sessions().close(&session);
                Ok(reply(&CloseSessionResult { status: SESSION_CLOSED }))
            }
            other => Err(unimplemented(format!("there is no action '{other}'; ListActions shows those there are"))),
        }
    }

    /// Cancels the statement of a `FlightInfo`. Whether it was running or not, it does not run on; one that is polled may be past
    /// its commit when it is told.
    pub(super) fn cancel(&self, info: &FlightInfo, session: &Session) -> Result<CancelStatus, Status> {
        if let Some(poll) = info.flight_descriptor.as_ref().and_then(polls::id_of) {
            return self.polls().cancel(poll, &session.caller);
        }
        let unknown = || status(Kind::NotFound, "this FlightInfo is not one of a statement; nothing was cancelled");
        let id = StatementTicket::id_of(info).ok_or_else(unknown)?;
        match self.running().cancel(&id) {
            Cancelled::Stopping => tracing::info!(ticket = id, "cancelled by the client"),
            Cancelled::Prevented => tracing::debug!(ticket = id, "cancelled before it ran"),
        }
        self.endpoints().forget(&id);
        Ok(CancelStatus::Cancelled)
    }

    async fn set_options(&self, request: SetSessionOptionsRequest, session: &Arc<Session>) -> SetSessionOptionsResult {
        let mut result = SetSessionOptionsResult::default();
        for (name, value) in request.session_options {
            let refused = match decide(&name, &value) {
                Change::Keep => None,
                Change::Refused(reason) => Some(reason),
                Change::Reset => {
                    session.reset(&name);
                    None
                }
                Change::Setting(text) => self.set(&name, &text, session).await.err(),
            };
            if let Some(reason) = refused {
                result.errors.insert(name, OptionError { value: reason.into() });
            }
        }
        result
    }

    /// `SET name = 'value'`, so that the engine's own checks apply.
    async fn set(&self, name: &str, value: &str, session: &Arc<Session>) -> Result<(), ErrorValue> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if !name.chars().all(plain) {
            return Err(ErrorValue::InvalidName);
        }
        let sql = format!("SET {name} = '{}'", value.replace('\'', "''"));
        match self.run_to_end(&sql, Params::None, session).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == tonic::Code::NotFound => Err(ErrorValue::InvalidName),
            Err(error) if error.code() == tonic::Code::InvalidArgument => Err(ErrorValue::InvalidValue),
            Err(_) => Err(ErrorValue::Error),
        }
    }

    /// Lets a client that keeps cookies find its session again after reconnecting.
    fn give_cookie(&self, session: &Session, response: &mut Response<ActionStream>) -> Result<(), Status> {
        let id = self.sessions().make_durable(session);
        let cookie = format!("{SESSION_COOKIE}={id}; Path=/; HttpOnly");
        let value = cookie.parse().map_err(|_| internal("a session id is not a header value"))?;
        response.metadata_mut().insert("set-cookie", value);
        Ok(())
    }
}
