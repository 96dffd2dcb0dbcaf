//! Runs an endpoint's query and shapes the reply.
//!
//! `result='object'`: the query gives one row and the reply is that row as a JSON object; no row is 404.
//! `result='rows'`: `{"rows":[{…},…]}`, or NDJSON, CSV or Arrow by `Accept`.
//!
//! A reply that depends on nothing but its tables and its parameters has an `ETag`; a client that sends it back gets 304
//! while no table has changed. The statement is planned for that, its rows are not read.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::tag::Tag;
use super::{Endpoint, arguments};
use crate::auth::Access;
use crate::base::{Classify, Kind};
use crate::catalog::EndpointResult;
use crate::query::{self, Origin, Outcome, Params};
use crate::server::audit;
use crate::server::http::observe::{RequestId, RouteLabel};
use crate::server::http::problem::Problem;
use crate::server::http::reply::{self, Head};
use crate::server::http::row_encoder::{JsonShape, json_object};
use crate::server::http::{Shared, accept, gate, query_string, staleness};

/// Answers every path no static route has.
pub async fn serve(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let table = shared.endpoints.table(&shared.parts.catalog);
    // Only the head: a body is nobody's business here.
    let request = request.into_parts().0;
    let path = request.uri.path();
    let access = match gate::access(&shared, &request) {
        Ok(access) => access,
        Err(problem) => return problem.into_response(),
    };
    // What may not be called is as good as not there.
    let may_call = |name: &str| access.as_ref().is_none_or(|access| access.may_call(name));
    let found = table.find(path);
    if let (Some((hidden, _)), Ok(caller)) =
        (found.as_ref().filter(|(endpoint, _)| !may_call(&endpoint.name)), gate::caller(&request))
    {
        audit::call_denied(&shared.parts.gate, caller, gate::address(&request), &hidden.name);
    }
    let Some((endpoint, captured)) = found.filter(|(endpoint, _)| may_call(&endpoint.name)) else {
        return Problem::not_found(format!("nothing is served at {path}; GET / lists what is")).into_response();
    };
    let label = RouteLabel(endpoint.path.text().clone());
    let mut response = answer(&shared, endpoint, &captured, (&request, access.as_ref())).await.into_response();
    response.extensions_mut().insert(label);
    response
}

/// Why a definition does not work names what it is made of: for those who may know.
fn discreet(problem: Problem, endpoint: &Endpoint, may_know: bool) -> Problem {
    match problem.kind() {
        Kind::Internal if !may_know => {
            let detail = format!("endpoint '{}' cannot be run at present; tell those who made it", endpoint.name);
            Problem::new(Kind::Internal, detail)
        }
        _ => problem,
    }
}

async fn answer(
    shared: &Shared,
    endpoint: &Endpoint,
    captured: &[(&str, String)],
    (request, access): (&Parts, Option<&Access>),
) -> Result<Response, Problem> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Problem::method_not_allowed(request.method.as_str(), "GET, HEAD"));
    }
    let format = accept::negotiate(&request.headers)?;
    let pairs = query_string::parse(request.uri.query())?;
    let engine = &shared.parts.engine;
    let may_know = access.is_none_or(Access::is_engineer);
    let facts = endpoint.facts(engine).await.map_err(|problem| discreet(problem, endpoint, may_know))?;
    let arguments = arguments::read(endpoint, facts, captured, &pairs)?;

    let request_id = request.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId("".into()));
    let session = gate::session(request, &request_id.0, Origin::Endpoint)?;
    staleness::allow(&session, &request.headers)?;
    let question = [arguments.sql.clone(), format!("{:?}", arguments.values), format.media_type().to_owned()];
    let statement = query::Request {
        declared: facts.declared(endpoint, &arguments.values),
        params: Params::Named(arguments.values),
        endpoint: Some(endpoint.name.clone()),
        ..query::Request::new(arguments.sql, &session)
    };
    let answer = engine.execute(statement).await.map_err(|error| match error.kind() {
        // The path is right; a table under it has gone.
        Kind::NotFound => discreet(endpoint.broken(&error.public_message()), endpoint, may_know),
        _ => Problem::from(error),
    })?;
    let head = Head { query_id: answer.query_id, data_as_of: answer.data_as_of, request_id };
    let Outcome::Rows(stream) = answer.outcome else {
        return Err(endpoint.broken("its statement gives no rows"));
    };
    let tag = answer.state.map(|state| Tag::new(&state, &question.each_ref().map(String::as_str)));
    if let Some(tag) = tag.as_ref().filter(|tag| tag.is_known(&request.headers)) {
        return Ok(tag.not_modified(head.headers()));
    }
    let response = match endpoint.result {
        EndpointResult::Rows => reply::rows(head, stream, format, JsonShape::Objects).await,
        EndpointResult::Object => match reply::single(stream).await?.as_slice() {
            [] => Err(Problem::not_found(format!("endpoint '{}' has no answer for these parameters", endpoint.name))),
            [row] => {
                let bytes = json_object(row).map_err(|error| reply::unencodable(&error))?;
                Ok(reply::document(&head, bytes))
            }
            [_, ..] => Err(endpoint.broken("result='object' but the query gave more than one row")),
        },
    }?;
    Ok(match tag {
        Some(tag) => tag.put_on(response),
        None => response,
    })
}
