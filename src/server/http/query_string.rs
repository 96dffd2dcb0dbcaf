//! Percent-decoding of paths and query strings, and refusal of parameters nobody knows.

use super::problem::Problem;
use crate::base::suggestion;

/// The pairs of a query string, decoded, in order; `+` is a space.
pub fn parse(query: Option<&str>) -> Result<Vec<(String, String)>, Problem> {
    let pairs = query.unwrap_or("").split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, true).ok_or_else(|| {
                Problem::invalid(format!("query parameter name '{name}' is not percent-encoded UTF-8"))
            })?;
            let value = decode(value, true).ok_or_else(|| {
                Problem::parameter(&name, format!("the value of query parameter '{name}' is not percent-encoded UTF-8"))
            })?;
            Ok((name, value))
        })
        .collect()
}

/// For routes without query parameters.
pub fn refuse_all(query: Option<&str>) -> Result<(), Problem> {
    match parse(query)?.first() {
        None => Ok(()),
        Some((name, _)) => Err(Problem::parameter(name, format!("unknown query parameter '{name}': this takes none"))),
    }
}

/// 400 for a name outside `known`, with the nearest of them.
pub fn unknown(name: &str, known: &[&str]) -> Problem {
    let near = suggestion(name, known.iter().copied());
    let tail = match (near.is_empty(), known.is_empty()) {
        (false, _) => near,
        (true, true) => ": this takes none".to_owned(),
        (true, false) => format!("; known are {}", known.join(", ")),
    };
    Problem::parameter(name, format!("unknown query parameter '{name}'{tail}"))
}

/// Decodes `%XX`; `None` when the result is not UTF-8 or an escape is cut off.
pub fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    if !text.bytes().any(|byte| byte == b'%' || (plus_is_space && byte == b'+')) {
        return Some(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                plain.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if plus_is_space => plain.push(b' '),
            other => plain.push(other),
        }
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_utf_8_and_refuses_the_rest() {
        assert_eq!(decode("a%20b+c", true).as_deref(), Some("a b c"));
        assert_eq!(decode("a+b", false).as_deref(), Some("a+b"));
        assert_eq!(decode("%ED%95%9C", true).as_deref(), Some("한"));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode(bad, true), None, "{bad}");
        }
    }

    #[test]
    fn keeps_order_and_repeats() {
        let pairs = parse(Some("filter=a:1&filter=b:2&&flag")).unwrap();
        let expected = [("filter", "a:1"), ("filter", "b:2"), ("flag", "")];
        assert!(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
    }

    #[test]
    fn names_the_nearest_parameter() {
        assert!(unknown("fliter", &["from", "to", "filter"]).detail().contains("did you mean 'filter'?"));
        assert!(unknown("page", &["from", "to"]).detail().contains("known are from, to"));
        assert!(refuse_all(Some("x=1")).is_err());
    }
}
