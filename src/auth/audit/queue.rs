//! Entries that wait to be written: bounded, and what finds no room is counted.

use std::collections::VecDeque;

use super::AuditEntry;
use super::entry::SIGN_IN;

/// Refused sign-ins may take one part in so many.
const STRANGERS_SHARE: usize = 4;

#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<AuditEntry>,
    length_max: usize,
    /// Refused sign-ins among them.
    strangers: usize,
    lost: u64,
}

/// What came of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Waits,
    /// It waits, and half the room is taken.
    Crowded,
    Lost,
}

impl Queue {
    pub(super) fn new(length_max: usize) -> Self {
        Self { waiting: VecDeque::new(), length_max: length_max.max(1), strangers: 0, lost: 0 }
    }

    pub(super) fn put(&mut self, entry: AuditEntry) -> Put {
        let is_stranger = entry.action == SIGN_IN;
        let has_room = self.waiting.len() < self.length_max
            && (!is_stranger || self.strangers < self.length_max.div_ceil(STRANGERS_SHARE));
        if !has_room {
            self.lost += 1;
            return Put::Lost;
        }
        self.strangers += usize::from(is_stranger);
        self.waiting.push_back(entry);
        match self.waiting.len() >= self.length_max.div_ceil(2) {
            true => Put::Crowded,
            false => Put::Waits,
        }
    }

    /// All that wait, and how many found no room since the last time.
    pub(super) fn take(&mut self) -> (Vec<AuditEntry>, u64) {
        self.strangers = 0;
        (std::mem::take(&mut self.waiting).into(), std::mem::take(&mut self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Identity;
    use crate::base::Timestamp;

    fn entry() -> AuditEntry {
        let identity = Identity::of_user("ann");
        AuditEntry::of_caller(&identity, Timestamp(1), "http", "query")
    }

    fn stranger() -> AuditEntry {
        AuditEntry::of_stranger(Timestamp(1), "http", None, "bad_credential")
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut queue = Queue::new(3);
        let put: Vec<Put> = (0..5).map(|_| queue.put(entry())).collect();
        assert_eq!(put, [Put::Waits, Put::Crowded, Put::Crowded, Put::Lost, Put::Lost]);
        let (entries, lost) = queue.take();
        assert_eq!((entries.len(), lost), (3, 2));
        assert_eq!(queue.put(entry()), Put::Waits);
        assert_eq!(queue.take().1, 0, "told once");
    }

    #[test]
    fn strangers_leave_room_for_callers() {
        let mut queue = Queue::new(8);
        let put: Vec<Put> = (0..4).map(|_| queue.put(stranger())).collect();
        assert_eq!(put, [Put::Waits, Put::Waits, Put::Lost, Put::Lost]);
        assert!((0..6).all(|_| queue.put(entry()) != Put::Lost));
        assert_eq!(queue.put(entry()), Put::Lost);
        queue.take();
        assert_eq!(queue.put(stranger()), Put::Waits);
    }
}
