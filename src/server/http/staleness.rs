//! The request header `adlake-max-staleness`: how old rows of materialized views may be in this answer, as
//! `SET adlake.max_staleness` says for a session. A reply's `adlake-data-as-of` tells how old they are.

use axum::http::{HeaderMap, HeaderName};

use super::problem::Problem;
use crate::query::Session;

pub const MAX_STALENESS: HeaderName = HeaderName::from_static("adlake-max-staleness");

/// Lets the request's session read rows as old as its header allows; without the header, only the newest.
///
/// # Errors
/// A header that is no length of time, or that is there twice.
pub fn allow(session: &Session, headers: &HeaderMap) -> Result<(), Problem> {
    let mut given = headers.get_all(&MAX_STALENESS).iter();
    let Some(first) = given.next() else { return Ok(()) };
    let at_fault = |detail: String| Problem::parameter(MAX_STALENESS.as_str(), detail);
    if given.next().is_some() {
        return Err(at_fault(format!("{MAX_STALENESS} is given twice")));
    }
    let text = first.to_str().map_err(|_| at_fault(format!("{MAX_STALENESS} is not plain text")))?;
    session.allow_staleness(text).map_err(|error| at_fault(error.to_string()))
}
