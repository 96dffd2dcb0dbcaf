//! The statement each connection runs, so that `CancelRequest` on another connection can end it.
//!
//! A connection is told a number and a key; who knows both may cancel what it runs at that moment. A wrong key is answered
//! like a right one: not at all.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Of all connections of the port. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Cancels(Arc<Mutex<Numbered>>);

#[derive(Default)]
struct Numbered {
    by_number: HashMap<i32, Entry>,
    last: i32,
}

struct Entry {
    key: i32,
    running: CancellationToken,
}

/// A connection's place; given back when dropped.
pub(super) struct Cancellable {
    pub number: i32,
    pub key: i32,
    cancels: Cancels,
}

impl Cancels {
    pub fn enter(&self) -> Cancellable {
        let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
        let key = i32::from_be_bytes([a, b, c, d]);
        let mut numbered = self.0.lock();
        loop {
            numbered.last = numbered.last.checked_add(1).unwrap_or(1);
            let number = numbered.last;
            if numbered.by_number.contains_key(&number) {
                continue;
            }
            numbered.by_number.insert(number, Entry { key, running: CancellationToken::new() });
            return Cancellable { number, key, cancels: self.clone() };
        }
    }

    /// Ends what connection `number` runs, if the key is its.
    pub fn cancel(&self, number: i32, key: i32) {
        if let Some(entry) = self.0.lock().by_number.get(&number)
            && entry.key == key
        {
            entry.running.cancel();
        }
    }
}

impl Cancellable {
    /// The statement that runs from now on.
    pub fn runs(&self, token: CancellationToken) {
        if let Some(entry) = self.cancels.0.lock().by_number.get_mut(&self.number) {
            entry.running = token;
        }
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.cancels.0.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_key_cancels_and_only_what_runs() {
        let cancels = Cancels::default();
        let (one, other) = (cancels.enter(), cancels.enter());
        let (token, others) = (CancellationToken::new(), CancellationToken::new());
        one.runs(token.clone());
        other.runs(others.clone());
        cancels.cancel(one.number, one.key.wrapping_add(1));
        assert!(!token.is_cancelled());
        cancels.cancel(one.number, one.key);
        assert!(token.is_cancelled() && !others.is_cancelled());
        let number = one.number;
        drop(one);
        assert!(!cancels.0.lock().by_number.contains_key(&number));
    }
}
