//! Names in SQL text.

/// A name as SQL reads it, whatever characters it has: `"a ""b"""`.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_are_doubled() {
        assert_eq!(quoted("clicks"), r#""clicks""#);
        assert_eq!(quoted(r#"a "b""#), r#""a ""b""""#);
    }
}
