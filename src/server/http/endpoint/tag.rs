//! The `ETag` of an endpoint's reply, and whether a client has that reply already.
//!
//! Made of what the rows depend on: the versions of the tables read, the statement, its values, the form of the reply.
//! Weak (`W/"…"`), as RFC 9110 (8.8.1) demands: rows without ORDER BY may come in another order next time, and replies
//! are compressed on the way. `If-None-Match` compares weakly, so clients notice no difference.

use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// A reply's tag.
pub struct Tag(String);

impl Tag {
    /// Of an answer with `state` (see [`crate::query::Answer::state`]) to a question, its parts in a fixed order.
    pub fn new(state: &str, question: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [env!("CARGO_PKG_VERSION"), state].iter().chain(question) {
            // Lengths keep neighbours apart.
            hasher.update(&part.len().to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let hash = hasher.finalize().to_hex();
        Self(format!("W/\"{}\"", &hash[..32]))
    }

    /// Whether the client's copy is this one: `If-None-Match`, with a list of tags or `*`.
    pub fn is_known(&self, headers: &HeaderMap) -> bool {
        let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let sent = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut tags = sent.flat_map(|value| value.split(','));
        tags.any(|tag| tag.trim() == "*" || bare(tag) == bare(&self.0))
    }

    /// 304, with the headers a 200 would have.
    pub fn not_modified(&self, headers: HeaderMap) -> Response {
        self.put_on((StatusCode::NOT_MODIFIED, headers).into_response())
    }

    pub fn put_on(&self, mut response: Response) -> Response {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(ETAG, value);
        }
        response
    }
}
