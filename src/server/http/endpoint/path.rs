//! Path templates: `/v1/ads/{ad_id}/aggregated_count`.

use std::sync::Arc;

use crate::server::http::query_string::decode;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// Path parameters and their decoded values.
pub type Captured<'a> = Vec<(&'a str, String)>;

/// A parsed `path` option of an endpoint.
#[derive(Clone, Debug)]
pub struct PathTemplate {
    text: Arc<str>,
    segments: Vec<Segment>,
}

impl PathTemplate {
    /// Parses; the catalog has checked the form, so every `{…}` segment is a parameter.
    pub fn new(text: &str) -> Self {
        let segments = text.trim_start_matches('/').split('/').map(|segment| {
            match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => Segment::Parameter(name.to_owned()),
                None => Segment::Literal(segment.to_owned()),
            }
        });
        Self { text: text.into(), segments: segments.collect() }
    }

    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Names of the parameters in the path.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// Decoded values of the path parameters when `path` fits. A segment that is empty or not UTF-8 fits no parameter.
    pub fn capture(&self, path: &str) -> Option<Captured<'_>> {
        let mut parts = path.trim_start_matches('/').split('/');
        let mut values = Vec::new();
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Literal(text) => {
                    if decode(part, false)? != *text {
                        return None;
                    }
                }
                Segment::Parameter(name) => {
                    values.push((name.as_str(), decode(part, false).filter(|value| !value.is_empty())?));
                }
            }
        }
        parts.next().is_none().then_some(values)
    }

    /// Sorts templates so that of two that fit one path, the more literal one comes first.
    pub fn rank(&self) -> Vec<bool> {
        self.segments.iter().map(|segment| matches!(segment, Segment::Parameter(_))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_decoded_segments() {
        let template = PathTemplate::new("/v1/ads/{ad_id}/aggregated_count");
        let values = template.capture("/v1/ads/a%2Fb/aggregated_count").unwrap();
        assert_eq!(values, [("ad_id", "a/b".to_owned())]);
        for other in [
            "/v1/ads/7",
            "/v1/ads//aggregated_count",
            "/v1/ads/7/aggregated_count/x",
            "/v1/ads/7/Aggregated_count",
            "/v1/ads/%ff/aggregated_count",
        ] {
            assert!(template.capture(other).is_none(), "{other}");
        }
    }

    #[test]
    fn literal_segments_rank_first() {
        let mut templates = [PathTemplate::new("/v1/ads/{id}"), PathTemplate::new("/v1/ads/popular")];
        templates.sort_by_key(PathTemplate::rank);
        assert_eq!(&**templates[0].text(), "/v1/ads/popular");
    }
}
