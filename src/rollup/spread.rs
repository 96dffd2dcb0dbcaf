//! About how many rows lie between two moments, as if each file had its rows at regular intervals.

/// Rows by time: one pass over the files makes it, a question is a search.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// In the order of time.
    marks: Vec<Mark>,
    /// Rows that may lie at any time.
    anywhere: u64,
}

/// A moment at which a file begins or ends.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: i64,
    /// Rows before it.
    before: f64,
    /// Rows of each microsecond from there to the next mark.
    rate: f64,
}

impl Spread {
    /// Of files by their first and last time and their rows; of rows `anywhere` no time is known.
    pub fn of(files: impl IntoIterator<Item = (i64, i64, u64)>, anywhere: u64) -> Self {
        let mut changes: Vec<(i64, f64)> = Vec::new();
        for (first, last, rows) in files {
            let end = last.saturating_add(1);
            let rate = rows as f64 / (end as f64 - first as f64).max(1.0);
            changes.extend([(first, rate), (end, -rate)]);
        }
        changes.sort_by_key(|(at, _)| *at);
        let mut marks: Vec<Mark> = Vec::with_capacity(changes.len());
        for (at, change) in changes {
            let before = marks.last().map_or(0.0, |mark| mark.rows_before(at));
            match marks.last_mut() {
                Some(mark) if mark.at == at => mark.rate = (mark.rate + change).max(0.0),
                last => {
                    let rate = last.map_or(0.0, |mark| mark.rate);
                    marks.push(Mark { at, before, rate: (rate + change).max(0.0) });
                }
            }
        }
        Self { marks, anywhere }
    }

    /// Rows that may lie at any time, of which no moment is known.
    pub(super) fn anywhere(&self) -> u64 {
        self.anywhere
    }

    /// Rows from one moment up to another; none when it is not later.
    pub(super) fn between(&self, from: i64, to: i64) -> f64 {
        if from >= to { 0.0 } else { (self.before(to) - self.before(from)).max(0.0) }
    }

    fn before(&self, moment: i64) -> f64 {
        let behind = self.marks.partition_point(|mark| mark.at <= moment);
        let mark = behind.checked_sub(1).and_then(|at| self.marks.get(at));
        mark.map_or(0.0, |mark| mark.rows_before(moment))
    }
}

impl Mark {
    /// Rows before a moment at or behind it, and before the next mark.
    fn rows_before(&self, moment: i64) -> f64 {
        self.before + self.rate * (moment as f64 - self.at as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_give_the_share_of_their_rows_that_lies_in_between() {
        let spread = Spread::of([(0, 39, 40), (20, 29, 10), (30, 30, 5)], 7);
        let check = |from, to, rows: f64| assert!((spread.between(from, to) - rows).abs() < 1e-9, "{from} to {to}");
        check(i64::MIN, i64::MAX, 55.0);
        check(0, 20, 20.0);
        check(20, 30, 20.0);
        check(30, 31, 6.0);
        check(35, 60, 5.0);
        check(-9, 0, 0.0);
        check(9, 3, 0.0);
        assert_eq!(spread.anywhere(), 7);
        assert!(Spread::default().between(i64::MIN, i64::MAX).abs() < 1e-9);
    }
}
