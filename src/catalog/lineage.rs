//! Who reads whom: cycles, an order in which everything comes after what it reads, readers.

use std::collections::{BTreeMap, BTreeSet};

use super::CatalogError;

/// What each name reads. Names that are read and not listed are outside (ignored).
pub type Reads<'a> = BTreeMap<&'a str, &'a [String]>;

/// All names, each after everything it reads; alphabetical where there is a choice. A cycle is an error that prints it.
pub fn dependency_order<'a>(reads: &Reads<'a>) -> Result<Vec<&'a str>, CatalogError> {
    let mut order = Vec::with_capacity(reads.len());
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in reads.keys() {
        visit(start, reads, &mut done, &mut order)?;
    }
    Ok(order)
}

/// Everything that reads `name`, directly or through others, sorted.
pub fn all_readers<'a>(name: &str, reads: &Reads<'a>) -> Vec<&'a str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut waiting = vec![name];
    while let Some(read) = waiting.pop() {
        for (reader, names) in reads {
            if names.iter().any(|other| other == read) && found.insert(reader) {
                waiting.push(reader);
            }
        }
    }
    found.into_iter().collect()
}

/// Depth first without recursion: chains of views may be long. The path holds each name with how many of its reads were
/// looked at.
fn visit<'a>(
    start: &'a str,
    reads: &Reads<'a>,
    done: &mut BTreeSet<&'a str>,
    order: &mut Vec<&'a str>,
) -> Result<(), CatalogError> {
    if done.contains(start) {
        return Ok(());
    }
    let mut path: Vec<(&'a str, usize)> = vec![(start, 0)];
    while let Some((name, seen)) = path.last_mut() {
        let Some(next) = reads.get(name).and_then(|names| names.get(*seen)) else {
            done.insert(name);
            order.push(name);
            path.pop();
            continue;
        };
        *seen += 1;
        let Some((next, _)) = reads.get_key_value(next.as_str()) else { continue };
        if let Some(from) = path.iter().position(|(other, _)| other == next) {
            let mut cycle: Vec<String> = path[from..].iter().map(|(name, _)| (*name).to_owned()).collect();
            cycle.push((*next).to_owned());
            return Err(CatalogError::Cycle { cycle });
        }
        if !done.contains(next) {
            path.push((next, 0));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a: b c; b: c` → reads.
    fn order(text: &str) -> Result<String, String> {
        let parsed: Vec<(String, Vec<String>)> = parse(text);
        let reads: Reads = parsed.iter().map(|(name, names)| (name.as_str(), names.as_slice())).collect();
        dependency_order(&reads).map(|names| names.join(" ")).map_err(|error| error.to_string())
    }

    fn parse(text: &str) -> Vec<(String, Vec<String>)> {
        text.split(';')
            .filter_map(|line| line.split_once(':'))
            .map(|(name, names)| (name.trim().to_owned(), names.split_whitespace().map(str::to_owned).collect()))
            .collect()
    }

    #[test]
    fn what_is_read_comes_first() {
        assert_eq!(order("a: b c; b: c; c:"), Ok("c b a".to_owned()));
        assert_eq!(order("a: outside; b: a a"), Ok("a b".to_owned()));
    }

    #[test]
    fn cycles_are_printed() {
        assert_eq!(order("a: b; b: c; c: b"), Err("definitions form a cycle: b -> c -> b".to_owned()));
        assert_eq!(order("a: a"), Err("definitions form a cycle: a -> a".to_owned()));
    }

    #[test]
    fn a_diamond_is_no_cycle() {
        assert_eq!(order("a: b c; b: d; c: d; d:"), Ok("d b c a".to_owned()));
    }

    #[test]
    fn readers_are_found_through_others() {
        let parsed = parse("a: b; b: c; d: c; e: x");
        let reads: Reads = parsed.iter().map(|(name, names)| (name.as_str(), names.as_slice())).collect();
        assert_eq!(all_readers("c", &reads), ["a", "b", "d"]);
    }
}
