//! How recent the rows are that a statement reads, as one moment: every commit made before it is in them.
//!
//! | what is read | its moment |
//! |---|---|
//! | a table; a view with what it has not absorbed | the look at the log, `storage.poll_interval` ago at most |
//! | a view without what it has not absorbed | the first commit it lacks |
//! | a view kept by the full strategy | that of what its last refresh read, kept in the view's table |
//!
//! The oldest of them is the answer's `data_as_of`. What a view has not absorbed is left out only where the session allows it
//! (`adlake.max_staleness`), and only while the first commit that is lacking is not older than that.

use crate::base::Timestamp;
use crate::storage::{TableSnapshot, Transaction};

/// The Delta application whose version is a moment, in microseconds.
const AS_OF: &str = "adlake.as_of";

/// Put into the commit that brings rows true for `moment`; compaction and checkpoints keep it.
pub fn as_of(moment: Timestamp) -> Transaction {
    Transaction { app_id: AS_OF.to_owned(), version: moment.micros() }
}

/// The moment the stored rows of a full view are true for; 1970 when it was never refreshed: its rows hold nothing then.
pub fn stored_as_of(stored: &TableSnapshot) -> Timestamp {
    stored.transaction_version(AS_OF).map_or(Timestamp::default(), Timestamp)
}

/// The moment that rows without the commits from `first_lacking` on are true for, when that is recent enough. `oldest` is the
/// earliest moment that will do; None: only the newest rows do.
pub(super) fn good_enough(first_lacking: Option<Timestamp>, oldest: Option<Timestamp>) -> Option<Timestamp> {
    let (first, oldest) = (first_lacking?, oldest?);
    (first >= oldest).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_good_enough_up_to_the_age_allowed_and_never_unasked() {
        let at = |seconds: i64| Some(Timestamp(seconds * 1_000_000));
        assert_eq!(good_enough(at(100), at(100)), at(100));
        assert_eq!(good_enough(at(100), at(101)), None);
        assert_eq!(good_enough(at(100), None), None);
        assert_eq!(good_enough(None, at(100)), None, "nothing is known of what is lacking");
    }
}
