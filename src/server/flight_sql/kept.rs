//! What the server keeps between two calls for who comes back with its id: statements that are polled (`polls`), results that are
//! fetched by several endpoints (`endpoints`).
//!
//! A thing is its maker's; to any other caller it is unknown. It is kept for a time after it was last asked for. What has expired is
//! dropped when the next thing is added or asked for: whatever is kept must not hold up others until then.

use crate::auth::Identity;
use crate::base::{Clock, Span, Timestamp};
use crate::telemetry::metrics;
use parking_lot::Mutex;
use std::collections::HashMap;

/// How much is kept, and for how long.
pub(super) struct Keeping {
    pub most: usize,
    pub idle: Span,
    /// Name and meaning of the metric that tells how many there are.
    pub gauge: (&'static str, &'static str),
}

/// Things by their ids.
pub(super) struct Kept<T> {
    by_id: Mutex<HashMap<String, Entry<T>>>,
    keeping: Keeping,
    clock: Clock,
}

struct Entry<T> {
    thing: T,
    owner: Option<Identity>,
    expires_at: Timestamp,
}

impl<T> Kept<T> {
    pub fn new(keeping: Keeping, clock: Clock) -> Self {
        Self { by_id: Mutex::default(), keeping, clock }
    }

    /// Keeps a thing for `owner`. False: there are as many as there may be, and it is dropped.
    #[must_use]
    pub fn add(&self, id: &str, owner: Option<Identity>, thing: T) -> bool {
        let now = self.clock.now();
        let mut by_id = self.by_id.lock();
        by_id.retain(|_, entry| entry.expires_at > now);
        let has_room = by_id.len() < self.keeping.most;
        if has_room {
            let expires_at = now.plus(self.keeping.idle.duration());
            by_id.insert(id.to_owned(), Entry { thing, owner, expires_at });
        }
        self.observe(by_id.len());
        has_room
    }

    /// What `look` finds in the thing of this id and owner, and until when that is kept now. `None`: there is none. `look` must not
    /// come back here.
    pub fn with<R>(
        &self,
        id: &str,
        owner: &Option<Identity>,
        look: impl FnOnce(&mut T) -> R,
    ) -> Option<(R, Timestamp)> {
        let now = self.clock.now();
        let mut by_id = self.by_id.lock();
        by_id.retain(|_, entry| entry.expires_at > now);
        self.observe(by_id.len());
        let entry = by_id.get_mut(id).filter(|entry| entry.owner == *owner)?;
        entry.expires_at = now.plus(self.keeping.idle.duration());
        Some((look(&mut entry.thing), entry.expires_at))
    }

    /// As if it were asked for now.
    pub fn touch(&self, id: &str) {
        let expires_at = self.clock.now().plus(self.keeping.idle.duration());
        if let Some(entry) = self.by_id.lock().get_mut(id) {
            entry.expires_at = expires_at;
        }
    }

    pub fn remove(&self, id: &str) {
        let mut by_id = self.by_id.lock();
        let removed = by_id.remove(id);
        self.observe(by_id.len());
        drop(by_id);
        drop(removed);
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.by_id.lock().len()
    }

    fn observe(&self, count: usize) {
        let (name, meaning) = self.keeping.gauge;
        metrics().set(name, meaning, &[], f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn kept(most: usize) -> (Kept<&'static str>, Clock) {
        let clock = Clock::manual(Timestamp(0));
        let keeping = Keeping { most, idle: Span::from_secs(60), gauge: ("flight_things", "things of a test") };
        (Kept::new(keeping, clock.clone()), clock)
    }

    fn found(kept: &Kept<&'static str>, id: &str, owner: &Option<Identity>) -> Option<&'static str> {
        kept.with(id, owner, |thing| *thing).map(|(thing, _)| thing)
    }

    #[test]
    fn a_thing_is_its_makers_until_it_is_not_asked_for() {
        let (kept, clock) = kept(2);
        let ann = Some(Identity::of_user("ann"));
        assert!(kept.add("1", ann.clone(), "one"));
        assert_eq!(
            (found(&kept, "1", &ann), found(&kept, "1", &None), found(&kept, "2", &ann)),
            (Some("one"), None, None)
        );
        for _ in 0..3 {
            clock.advance(Duration::from_secs(50));
            assert_eq!(found(&kept, "1", &ann), Some("one"), "asking keeps it");
        }
        clock.advance(Duration::from_secs(50));
        kept.touch("1");
        clock.advance(Duration::from_secs(50));
        assert_eq!(kept.with("1", &ann, |_| ()).map(|(_, until)| until), Some(Timestamp(310_000_000)));
        clock.advance(Duration::from_secs(60));
        assert_eq!((found(&kept, "1", &ann), kept.count()), (None, 0));
    }

    #[test]
    fn there_are_so_many_at_once() {
        let (kept, clock) = kept(2);
        assert!(kept.add("1", None, "one") && kept.add("2", None, "two"));
        assert!(!kept.add("3", None, "three"));
        assert_eq!(found(&kept, "3", &None), None);
        kept.remove("1");
        assert!(kept.add("3", None, "three"));
        clock.advance(Duration::from_secs(60));
        assert!(kept.add("4", None, "four"), "what has expired makes room");
        assert_eq!(kept.count(), 1);
    }
}
