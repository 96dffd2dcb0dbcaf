//! RFC 9457 problem details: the one shape of every HTTP error.
//!
//! A handler returns a [`Problem`]; it travels as a response extension and is written by `observe`, which knows the
//! request's id. So there is one place where an error becomes bytes.

use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::base::{Kind, Span};
use crate::catalog::CatalogError;
use crate::ingest::IngestError;
use crate::query::QueryError;
use crate::server::error::{Fault, Position, status_of};

/// How to say who calls (RFC 9110, 11.6.1).
const CHALLENGE: &str = "Basic realm=\"adlake\", charset=\"UTF-8\", Bearer realm=\"adlake\"";

pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong, as `application/problem+json` will say it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: u16,
    kind: Kind,
    detail: String,
    position: Option<Position>,
    /// The query parameter, header or field at fault.
    parameter: Option<String>,
    /// Methods the path does allow (405).
    allow: Option<&'static str>,
    /// Sending the same again may help after this long (429, 503).
    retry_after: Option<Span>,
    elsewhere: Option<Box<Elsewhere>>,
}

/// Another process takes the request.
#[derive(Clone, Debug)]
struct Elsewhere {
    /// URL of its HTTP server, without a path.
    owner: String,
    /// Where to send the request instead (307).
    location: Option<String>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let status = status_of(kind).http;
        Self {
            status,
            kind,
            detail: detail.into(),
            position: None,
            parameter: None,
            allow: None,
            retry_after: None,
            elsewhere: None,
        }
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, detail)
    }

    /// A bad value of one named parameter.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self { parameter: Some(name.to_owned()), ..Self::invalid(detail) }
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    /// For the statuses HTTP has and [`Kind`] has no word for: 405, 406, 408, 413, 415.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }

    pub fn method_not_allowed(method: &str, allow: &'static str) -> Self {
        let problem = Self::invalid(format!("{method} is not possible here; use {allow}"));
        Self { allow: Some(allow), ..problem.with_status(StatusCode::METHOD_NOT_ALLOWED) }
    }

    /// When another process would take the request: 307 to the same path there (RFC 9110, 15.4.8).
    pub fn redirected(mut self, path_and_query: &str) -> Self {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.location = Some(format!("{}{path_and_query}", elsewhere.owner));
            self.status = StatusCode::TEMPORARY_REDIRECT.as_u16();
        }
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    #[cfg(test)]
    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The document, naming the request it belongs to.
    pub fn document(&self, request_id: &str) -> Value {
        let mut fields = Map::new();
        fields.insert("type".into(), json!(format!("urn:adlake:problem:{}", self.kind)));
        fields.insert("title".into(), json!(title(self.status, self.kind)));
        fields.insert("status".into(), json!(self.status));
        fields.insert("detail".into(), json!(self.detail));
        fields.insert("kind".into(), json!(self.kind.as_str()));
        if let Some(name) = &self.parameter {
            fields.insert("parameter".into(), json!(name));
        }
        if let Some(Position { line, column }) = self.position {
            fields.insert("position".into(), json!({ "line": line, "column": column }));
        }
        fields.insert("instance".into(), json!(format!("urn:adlake:request:{request_id}")));
        fields.insert("request_id".into(), json!(request_id));
        Value::Object(fields)
    }

    /// The whole response, written out.
    pub fn render(&self, request_id: &str) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.document(request_id).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if matches!(self.status, 429 | 503) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(self.retry_after)));
        }
        let location = self.elsewhere.as_ref().and_then(|elsewhere| elsewhere.location.as_deref());
        if let Some(location) = location.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(LOCATION, location);
        }
        response
    }
}

/// `Retry-After` counts whole seconds (RFC 9110, 10.2.3); rounded up, at least one.
fn seconds(after: Option<Span>) -> u64 {
    after.map_or(1, |span| span.duration().as_millis().div_ceil(1_000)).try_into().unwrap_or(u64::MAX).max(1)
}

fn title(status: u16, kind: Kind) -> &'static str {
    match (status, kind) {
        (307, _) => "Another process takes this",
        (405 | 406 | 408 | 413 | 415, _) => {
            StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error")
        }
        (_, Kind::InvalidArgument) => "Invalid request",
        (_, Kind::NotFound) => "Not found",
        (_, Kind::AlreadyExists) => "Already exists",
        (_, Kind::FailedPrecondition) => "Not possible in the present state",
        (_, Kind::Conflict) => "Changed by somebody else at the same time",
        (_, Kind::Unauthenticated) => "Not signed in",
        (_, Kind::PermissionDenied) => "Not allowed",
        (_, Kind::ResourceExhausted) => "A limit was reached",
        (_, Kind::DeadlineExceeded) => "Time ran out",
        (_, Kind::Cancelled) => "Cancelled",
        (_, Kind::Unavailable) => "Not available now",
        (_, Kind::Unimplemented) => "Not supported",
        (_, Kind::DataLoss) => "Stored data is damaged",
        (_, Kind::Internal) => "Internal error",
    }
}

/// Carries the problem to `observe`; the empty body is never sent.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let Fault { kind, message, position, retry_after, owner } = fault;
        let elsewhere = owner.map(|owner| Box::new(Elsewhere { owner: owner.http, location: None }));
        Self { position, retry_after, elsewhere, ..Self::new(kind, message) }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Fault::from(&error).into()
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        Fault::from(&error).into()
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        Fault::from(&error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_has_the_members_of_rfc_9457() {
        let document = Problem::parameter("from", "parameter 'from': bad").document("r1");
        assert_eq!(document["type"], "urn:adlake:problem:invalid_argument");
        assert_eq!(document["status"], 400);
        assert_eq!(document["title"], "Invalid request");
        assert_eq!(document["parameter"], "from");
        assert_eq!(document["instance"], "urn:adlake:request:r1");
        assert!(document.get("position").is_none());
    }

    #[test]
    fn position_is_told_when_known() {
        let error = CatalogError::Syntax { line: 3, column: 4, message: "expected FROM".into() };
        let document = Problem::from(error).document("r1");
        assert_eq!(document["position"], json!({ "line": 3, "column": 4 }));
    }

    #[test]
    fn a_busy_server_says_when_to_come_again() {
        let busy = |millis| IngestError::Busy { message: "full".into(), retry_after: Span::from_millis(millis) };
        let after = |millis| Problem::from(busy(millis)).render("r1").headers()[RETRY_AFTER].clone();
        assert_eq!((after(1), after(1_001)), (HeaderValue::from(1), HeaderValue::from(2)));
        assert_eq!(Problem::from(busy(1)).status(), 429);
    }

    #[test]
    fn another_owner_is_redirected_to() {
        let elsewhere =
            IngestError::NotOwner { table: "t".into(), http: "https://h:1".into(), grpc: "grpc+tls://h:2".into() };
        let response = Problem::from(elsewhere).redirected("/v1/tables/t/rows?x=1").render("r1");
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(response.headers()[LOCATION], "https://h:1/v1/tables/t/rows?x=1");
        assert_eq!(Problem::invalid("x").redirected("/").status(), 400);
    }

    #[test]
    fn a_gap_in_a_producers_sequence_is_a_conflict() {
        let gap = IngestError::OutOfSequence { producer: "p".into(), sequence: 9, last: 3 };
        let problem = Problem::from(gap);
        assert_eq!(problem.status(), 409);
        assert!(problem.detail().contains("send 4 first"), "{}", problem.detail());
    }
}
