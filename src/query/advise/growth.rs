//! How many groups a table has, told from a sample of its rows.
//!
//! The sample is the first rows of some of the files. Groups grow with rows by a power law (Heaps, "Information Retrieval", 1978), with an
//! exponent between 0 (all groups have been seen) and 1 (new rows bring new groups), and not alike in both directions: in a
//! file sorted by ad more rows bring more ads and no more days, in more files of one day each it is the other way round. So two
//! exponents are measured: from half of the rows of each file to all, and from half of the files to all.

/// Groups found in parts of the sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    /// Rows of the sample that pass the filters, and all.
    pub passing: u64,
    pub rows: u64,
    pub groups: u64,
    /// In the first half of the rows of each file.
    pub in_half_rows: u64,
    /// In half of the files.
    pub in_half_files: u64,
}

/// How much larger the table is than the sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// Rows of the files that were looked into, by the rows read of them.
    pub within: f64,
    /// Rows of all files, by those of the files that were looked into.
    pub across: f64,
}

impl Scale {
    /// The sample is the table.
    pub const WHOLE: Self = Self { within: 1.0, across: 1.0 };
}

/// Groups of the table: exact when the sample is all of it, at most its rows that pass.
pub(super) fn groups(found: Found, scale: Scale) -> f64 {
    let all = found.groups as f64;
    let grown = all
        * scale.within.powf(exponent(all, found.in_half_rows))
        * scale.across.powf(exponent(all, found.in_half_files));
    let passing = found.passing as f64 * scale.within * scale.across;
    grown.min(passing)
}

/// Of the growth from half to all.
fn exponent(all: f64, half: u64) -> f64 {
    if half == 0 { 1.0 } else { (all / half as f64).log2().clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(groups_found: [u64; 3], scale: Scale, expected: f64) {
        let [groups_all, in_half_rows, in_half_files] = groups_found;
        let found = Found { passing: 1_000, rows: 1_000, groups: groups_all, in_half_rows, in_half_files };
        let told = groups(found, scale);
        assert!((told - expected).abs() < expected / 100.0, "{told}, not {expected}");
    }

    #[test]
    fn groups_grow_in_the_directions_they_were_seen_to_grow() {
        let scale = Scale { within: 100.0, across: 8.0 };
        check([20, 20, 20], scale, 20.0);
        // Days, one a file; ads, of which the first are in every file; both.
        check([16, 16, 8], scale, 16.0 * 8.0);
        check([300, 150, 300], scale, 300.0 * 100.0);
        check([400, 200, 200], scale, 400.0 * 800.0);
        check([1_000, 500, 500], scale, 800_000.0);
        check([300, 212, 300], scale, 300.0 * 10.0);
        check([777, 400, 500], Scale::WHOLE, 777.0);
    }

    #[test]
    fn a_view_has_no_more_rows_than_pass_its_filter() {
        let found = Found { passing: 10, rows: 1_000, groups: 10, in_half_rows: 0, in_half_files: 1 };
        assert_eq!(groups(found, Scale { within: 100.0, across: 1.0 }), 1_000.0);
    }
}
