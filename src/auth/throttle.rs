//! Slows down guessing: after some failures for a user or from an address, attempts have to wait, longer each time.
//!
//! An attempt counts as failed from the moment it is looked at until it succeeds, so that many at once gain nothing; one that waits
//! for its caller in between ([`Attempt`]) counts before only when it is given up. Memory is bounded (`recent`), for users and for
//! addresses apart: many addresses push out no user. Many names do, and each try of one counts for its address.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::config::AuthConfig;
use super::error::AuthError;
use super::recent::Recent;
use crate::base::{Clock, Span, Timestamp};

/// Users remembered, and addresses remembered.
const KEYS_MAX: usize = 20_000;
/// Without a further failure, all is forgotten after this long.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Failures {
    count: u32,
    last: Timestamp,
}

/// How long after its last failure an attempt has to wait: nothing for the first `free` failures, then 1, 2, 4 … seconds.
fn pause(count: u32, free: u32, longest: Duration) -> Duration {
    match count.checked_sub(free) {
        None => Duration::ZERO,
        Some(over) => Duration::from_secs(1_u64.checked_shl(over.min(30)).unwrap_or(u64::MAX)).min(longest),
    }
}

pub(super) struct Throttle {
    known: Mutex<Known>,
    per_user: u32,
    per_address: u32,
    longest: Duration,
}

struct Known {
    /// By hash: names may be long.
    users: Recent<[u8; 32], Failures>,
    addresses: Recent<IpAddr, Failures>,
}

/// Whose failures an attempt counts among.
#[derive(Clone, Copy)]
struct Keys {
    user: Option<[u8; 32]>,
    address: Option<IpAddr>,
}

/// An attempt between its beginning and what proves it. Dropped before [`Attempt::end`] it is a failure.
pub(super) struct Attempt {
    throttle: Arc<Throttle>,
    keys: Keys,
    clock: Clock,
    is_over: bool,
}

impl Keys {
    fn of(user: Option<&str>, from: Option<IpAddr>) -> Self {
        Self { user: user.map(hashed), address: from.map(network) }
    }
}

impl Known {
    fn fail(&mut self, keys: Keys, now: Timestamp) {
        if let Some(key) = keys.user {
            let Failures { count, .. } = failures(&self.users, &key, now);
            self.users.put(key, Failures { count: count.saturating_add(1), last: now });
        }
        if let Some(key) = keys.address {
            let Failures { count, .. } = failures(&self.addresses, &key, now);
            self.addresses.put(key, Failures { count: count.saturating_add(1), last: now });
        }
    }
}

impl Attempt {
    /// What proves it has come and is looked at now: from here on it is as any other that has begun.
    ///
    /// # Errors
    /// `Throttled`: others have failed meanwhile.
    pub(super) fn end(mut self) -> Result<(), AuthError> {
        self.is_over = true;
        self.throttle.count(self.keys, self.clock.now())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_over {
            self.throttle.known.lock().fail(self.keys, self.clock.now());
        }
    }
}

impl Throttle {
    pub(super) fn new(config: &AuthConfig) -> Self {
        Self {
            known: Mutex::new(Known { users: Recent::new(KEYS_MAX), addresses: Recent::new(KEYS_MAX) }),
            per_user: config.attempts_per_user,
            per_address: config.attempts_per_address,
            longest: config.attempts_pause_max.duration(),
        }
    }

    /// Begins an attempt; it counts as failed until [`Throttle::succeeded`].
    ///
    /// # Errors
    /// `Throttled`, when it has to wait.
    pub(super) fn begin(&self, user: Option<&str>, from: Option<IpAddr>, now: Timestamp) -> Result<(), AuthError> {
        self.count(Keys::of(user, from), now)
    }

    /// Begins an attempt whose caller has more to say.
    ///
    /// # Errors
    /// `Throttled`, when it has to wait.
    pub(super) fn begin_slowly(
        self: &Arc<Self>,
        user: &str,
        from: Option<IpAddr>,
        clock: &Clock,
    ) -> Result<Attempt, AuthError> {
        let keys = Keys::of(Some(user), from);
        self.check(&self.known.lock(), keys, clock.now())?;
        Ok(Attempt { throttle: self.clone(), keys, clock: clock.clone(), is_over: false })
    }

    fn count(&self, keys: Keys, now: Timestamp) -> Result<(), AuthError> {
        // Looked at and counted in one go.
        let mut known = self.known.lock();
        self.check(&known, keys, now)?;
        known.fail(keys, now);
        Ok(())
    }

    fn check(&self, known: &Known, keys: Keys, now: Timestamp) -> Result<(), AuthError> {
        let of_user = keys.user.map(|key| (failures(&known.users, &key, now), self.per_user));
        let of_address = keys.address.map(|key| (failures(&known.addresses, &key, now), self.per_address));
        for (failures, free) in of_user.into_iter().chain(of_address) {
            let wait = pause(failures.count, free, self.longest).saturating_sub(now.since(failures.last));
            if !wait.is_zero() {
                return Err(AuthError::Throttled { retry_after: whole_seconds(wait) });
            }
        }
        Ok(())
    }

    /// The attempt was right: the user's failures are forgotten, the address has one less.
    pub(super) fn succeeded(&self, user: Option<&str>, from: Option<IpAddr>, now: Timestamp) {
        let mut known = self.known.lock();
        if let Some(key) = user.map(hashed) {
            known.users.put(key, Failures::default());
        }
        if let Some(key) = from.map(network) {
            let Failures { count, last } = failures(&known.addresses, &key, now);
            known.addresses.put(key, Failures { count: count.saturating_sub(1), last });
        }
    }
}

fn hashed(name: &str) -> [u8; 32] {
    *blake3::hash(name.as_bytes()).as_bytes()
}

/// One customer's addresses of IPv6 are a /64 at least (RFC 6177), and all of them are as easily had as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

fn failures<K: Eq + Hash>(recent: &Recent<K, Failures>, key: &K, now: Timestamp) -> Failures {
    recent.get(key).filter(|known| now.since(known.last) <= FORGET_AFTER).unwrap_or_default()
}

fn whole_seconds(wait: Duration) -> Span {
    Span::from_secs(u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::authenticate::tests::config;

    const FROM: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = [0, 4, 5, 6, 8, 40].map(|count| pause(count, 5, Duration::from_secs(60)).as_secs());
        assert_eq!(pauses, [0, 0, 1, 2, 8, 60]);
    }

    #[test]
    fn a_user_is_slowed_down_from_every_address_and_others_are_not() {
        let throttle = Throttle::new(&AuthConfig { attempts_per_user: 3, attempts_per_address: 100, ..config() });
        for _ in 0..3 {
            throttle.begin(Some("ann"), FROM, at(0)).unwrap();
        }
        let refused = throttle.begin(Some("ann"), None, at(0)).unwrap_err();
        assert_eq!(refused.retry_after(), Some(Span::from_secs(1)));
        throttle.begin(Some("bob"), FROM, at(0)).unwrap();
        throttle.begin(Some("ann"), FROM, at(1)).unwrap();
        assert!(throttle.begin(Some("ann"), FROM, at(2)).is_err(), "now two seconds");
        throttle.begin(Some("ann"), FROM, at(3)).unwrap();
        throttle.succeeded(Some("ann"), FROM, at(3));
        throttle.begin(Some("ann"), FROM, at(3)).unwrap();
    }

    #[test]
    fn attempts_under_way_are_no_failures_and_gain_no_more_of_them() {
        let throttle =
            Arc::new(Throttle::new(&AuthConfig { attempts_per_user: 3, attempts_per_address: 100, ..config() }));
        let clock = Clock::manual(at(0));
        let begun: Vec<Attempt> = (0..20).map(|_| throttle.begin_slowly("ann", FROM, &clock).unwrap()).collect();
        let ended = begun.into_iter().map(Attempt::end);
        assert_eq!(ended.filter(Result::is_ok).count(), 3, "they end one after another");
        assert!(throttle.begin_slowly("ann", FROM, &clock).is_err());
        clock.advance(Duration::from_secs(1));
        drop(throttle.begin_slowly("ann", FROM, &clock).unwrap());
        clock.advance(Duration::from_secs(1));
        assert!(throttle.begin_slowly("ann", FROM, &clock).is_err(), "given up is failed: now two seconds");
    }

    #[test]
    fn an_address_is_slowed_down_whoever_it_tries() {
        let throttle = Throttle::new(&AuthConfig { attempts_per_user: 100, attempts_per_address: 2, ..config() });
        throttle.begin(Some("a"), FROM, at(0)).unwrap();
        throttle.begin(None, FROM, at(0)).unwrap();
        assert!(throttle.begin(Some("c"), FROM, at(0)).is_err());
        throttle.begin(Some("c"), FROM, at(16 * 60)).unwrap();
    }

    #[test]
    fn many_addresses_push_out_no_user() {
        let throttle = Throttle::new(&AuthConfig { attempts_per_user: 1, attempts_per_address: 1, ..config() });
        throttle.begin(Some("ann"), FROM, at(0)).unwrap();
        for address in 0..60_000_u32 {
            throttle.begin(None, Some(IpAddr::V4((0x0a00_0000 + address).into())), at(0)).unwrap();
        }
        throttle.begin(None, FROM, at(0)).unwrap();
        assert!(throttle.begin(Some("ann"), None, at(0)).is_err());
    }

    #[test]
    fn all_addresses_of_one_network_of_ipv6_are_one() {
        let throttle = Throttle::new(&AuthConfig { attempts_per_user: 100, attempts_per_address: 1, ..config() });
        let from = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        throttle.begin(None, from("2001:db8:1:2::1"), at(0)).unwrap();
        assert!(throttle.begin(None, from("2001:db8:1:2:ffff::9"), at(0)).is_err());
        throttle.begin(None, from("2001:db8:1:3::1"), at(0)).unwrap();
        throttle.begin(None, from("::ffff:10.0.0.1"), at(0)).unwrap();
        assert!(throttle.begin(None, from("10.0.0.1"), at(0)).is_err());
    }
}
