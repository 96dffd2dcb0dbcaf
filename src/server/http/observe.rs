//! Around every request: its id, its metrics, its line in the log, and the writing of problems.
//!
//! Metrics are labelled by route *template*, never by the path as sent, so their number is bounded.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::Problem;
use crate::base::Stopwatch;
use crate::telemetry::metrics;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken over from a client.
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// Names one request in replies, logs and `system.queries`.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    /// The client's own id when it is short and plain, otherwise a new one.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| is_plain(text));
        match given {
            Some(text) => Self(text.into()),
            None => Self(uuid::Uuid::now_v7().to_string().into()),
        }
    }
}

fn is_plain(text: &str) -> bool {
    (1..=REQUEST_ID_LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
}

/// The template an endpoint was matched by, told to [`observe`] by the dynamic handler.
#[derive(Clone, Debug)]
pub struct RouteLabel(pub Arc<str>);

/// The outermost step of the router.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let id = RequestId::of(request.headers());
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    request.extensions_mut().insert(id.clone());

    let mut response = next.run(request).await;
    let label = response.extensions_mut().remove::<RouteLabel>();
    let route = match (&matched, &label) {
        (_, Some(label)) => &*label.0,
        (Some(matched), None) => matched.as_str(),
        (None, None) => "unmatched",
    };
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        let headers = std::mem::take(response.headers_mut());
        response = problem.render(&id.0);
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("adlake-")) {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }

    let status = response.status().as_u16();
    let elapsed = watch.elapsed();
    let status_text = status.to_string();
    metrics().count(
        "http_requests",
        "HTTP requests answered",
        &[("route", route), ("method", method), ("status", &status_text)],
        1,
    );
    metrics().observe_seconds(
        "http_request_seconds",
        "Time from the request's head to the reply's head",
        &[("route", route)],
        elapsed.as_secs_f64(),
    );
    match &problem {
        Some(problem) if status >= 500 => {
            tracing::warn!(request_id = %id.0, method, route, status, kind = %problem.kind(), detail = problem.detail(), "request failed");
        }
        _ => tracing::debug!(request_id = %id.0, method, route, status, micros = elapsed.as_micros(), "request"),
    }
    response
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_taken_over_only_when_plain() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("order-17"));
        assert_eq!(&*RequestId::of(&headers).0, "order-17");
        headers.insert(REQUEST_ID, HeaderValue::from_static("a b\"c"));
        assert_ne!(&*RequestId::of(&headers).0, "a b\"c");
    }
}
