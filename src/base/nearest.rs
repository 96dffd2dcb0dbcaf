//! "Did you mean …?": the nearest known spelling of a wrong name.

use strsim::damerau_levenshtein;

/// The candidate nearest to `wanted`, when one is near enough to be a likely typing error (a third of the longer name,
/// at most 3 edits, letter case ignored).
pub fn nearest<'a, I>(wanted: &str, candidates: I) -> Option<&'a str>
where
    I: IntoIterator<Item = &'a str>,
{
    let wanted = wanted.to_lowercase();
    let limit = |name: &str| (wanted.chars().count().max(name.chars().count()) / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|name| (damerau_levenshtein(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= limit(name))
        .min()
        .map(|(_, name)| name)
}

/// The tail of an error message: `; did you mean 'clicks'?`, or nothing.
pub fn suggestion<'a, I>(wanted: &str, candidates: I) -> String
where
    I: IntoIterator<Item = &'a str>,
{
    match nearest(wanted, candidates) {
        Some(name) => format!("; did you mean '{name}'?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_errors_only() {
        let tables = ["clicks", "page_views", "purchases"];
        assert_eq!(nearest("click", tables), Some("clicks"));
        assert_eq!(nearest("clik", tables), Some("clicks"));
        assert_eq!(nearest("CLIKCS", tables), Some("clicks"));
        assert_eq!(nearest("orders", tables), None);
        assert_eq!(suggestion("purchase", tables), "; did you mean 'purchases'?");
    }
}
