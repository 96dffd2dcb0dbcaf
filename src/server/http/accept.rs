//! Which form a reply takes: the best of what the client's `Accept` header allows (RFC 9110, 12.5.1).

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};

use super::problem::Problem;

/// A form in which rows can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Ndjson,
    Csv,
    Arrow,
}

impl Format {
    /// In the order of preference when the client has none.
    pub const ALL: [Format; 4] = [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow];

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// The preferred form; 406 names what there is.
pub fn negotiate(headers: &HeaderMap) -> Result<Format, Problem> {
    let mut wanted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if wanted.peek().is_none() {
        return Ok(Format::Json);
    }
    let wanted = wanted.collect::<Vec<_>>().join(",");
    let ranges: Vec<Range> = wanted.split(',').filter_map(Range::parse).collect();
    if ranges.is_empty() {
        return Ok(Format::Json);
    }
    let quality = |format: Format| {
        let matching =
            ranges.iter().filter_map(|range| range.matches(format).map(|exactness| (exactness, range.quality)));
        matching.max_by_key(|(exactness, _)| *exactness).map_or(0, |(_, quality)| quality)
    };
    let best =
        Format::ALL.into_iter().rev().max_by_key(|format| quality(*format)).filter(|format| quality(*format) > 0);
    best.ok_or_else(|| {
        let offered = Format::ALL.map(Format::media_type).join(", ");
        Problem::parameter(
            "accept",
            format!("Accept '{wanted}' names no form this can be sent in; there are {offered}"),
        )
        .with_status(StatusCode::NOT_ACCEPTABLE)
    })
}

/// One media range of an `Accept` header.
struct Range {
    kind: String,
    subtype: String,
    /// In thousandths.
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().filter(|essence| !essence.is_empty())?.to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = quality.and_then(|text| text.trim().parse::<f32>().ok()).unwrap_or(1.0);
        let quality = (quality.clamp(0.0, 1.0) * 1000.0).round() as u16;
        Some(Self { kind: kind.to_owned(), subtype: subtype.to_owned(), quality })
    }

    /// How exactly the range names `format`: 0 any, 1 its group, 2 the type itself.
    fn matches(&self, format: Format) -> Option<u8> {
        let (kind, subtype) = format.media_type().split_once('/')?;
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("*", "*") => Some(0),
            (mine, "*") if mine == kind => Some(1),
            (mine, sub) if mine == kind && sub == subtype => Some(2),
            ("application", "ndjson" | "jsonl") if format == Format::Ndjson => Some(2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(accept: &'static str, expected: Result<Format, u16>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        assert_eq!(negotiate(&headers).map_err(|problem| problem.status()), expected, "{accept}");
    }

    #[test]
    fn picks_what_the_client_prefers() {
        check("*/*", Ok(Format::Json));
        check("text/csv", Ok(Format::Csv));
        check("text/*", Ok(Format::Csv));
        check("application/*;q=0.5, text/csv;q=0.4", Ok(Format::Json));
        check("application/json;q=0.1, application/x-ndjson", Ok(Format::Ndjson));
        check("application/json;q=0, */*", Ok(Format::Ndjson));
        check("text/html,application/xhtml+xml,*/*;q=0.8", Ok(Format::Json));
        check("application/vnd.apache.arrow.stream", Ok(Format::Arrow));
    }

    #[test]
    fn refuses_what_cannot_be_made() {
        check("image/png", Err(406));
        check("application/json;q=0", Err(406));
        assert_eq!(negotiate(&HeaderMap::new()).unwrap(), Format::Json);
    }
}
