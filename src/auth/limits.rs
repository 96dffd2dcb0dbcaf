//! How much one caller may ask for, by role (`[auth.limits]`).
//!
//! A limit is written as `partner=5, reader=20, *=100`: of the caller's roles that are listed, the one that allows most holds; `*` is
//! for who has none of them. Role `admin` has no limit but one that lists it. Requests are counted here ([`Rates`], by token);
//! statements, time, memory and rows, where they run (`query`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, de};

use super::authenticate::Identity;
use super::error::AuthError;
use super::recent::Recent;
use super::role::ADMIN;
use crate::base::{ByteSize, Span, Timestamp};

/// For who has none of the roles that are listed.
const OTHERS: &str = "*";
/// Tokens remembered. One that is forgotten begins anew.
const TOKENS_MAX: usize = 100_000;
const MICROS: u64 = 1_000_000;

/// `[auth.limits]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests of one token in one second.
    pub requests_per_second: ByRole<u64>,
    /// Statements of one user that run or wait at once.
    pub concurrent_statements: ByRole<u64>,
    /// Longest run of one statement, from when it comes.
    pub run_time: ByRole<Span>,
    /// Memory of one user's statements together.
    pub memory_bytes: ByRole<ByteSize>,
    /// Rows and bytes of one answer.
    pub result_rows: ByRole<u64>,
    pub result_bytes: ByRole<ByteSize>,
}

/// What one caller may ask for; none = without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    pub requests_per_second: Option<u64>,
    pub concurrent_statements: Option<u64>,
    pub run_time: Option<Span>,
    pub memory_bytes: Option<ByteSize>,
    pub result_rows: Option<u64>,
    pub result_bytes: Option<ByteSize>,
}

impl LimitsConfig {
    pub fn of(&self, roles: &BTreeSet<String>) -> Allowance {
        Allowance {
            requests_per_second: self.requests_per_second.of(roles),
            concurrent_statements: self.concurrent_statements.of(roles),
            run_time: self.run_time.of(roles),
            memory_bytes: self.memory_bytes.of(roles),
            result_rows: self.result_rows.of(roles),
            result_bytes: self.result_bytes.of(roles),
        }
    }
}

/// A limit for each of some roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByRole<T>(BTreeMap<String, T>);

impl<T> Default for ByRole<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy + Ord> ByRole<T> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, roles: &BTreeSet<String>) -> Option<T> {
        let listed = roles.iter().filter_map(|role| self.0.get(role)).max();
        match listed {
            None if roles.contains(ADMIN) => None,
            None => self.0.get(OTHERS).copied(),
            some => some.copied(),
        }
    }
}

impl<T: FromStr> FromStr for ByRole<T>
where
    T::Err: fmt::Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut found = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (role, limit) = pair.split_once('=').ok_or_else(|| {
                format!("'{pair}' is not role=limit; write limits as 'partner=5, *=100' (* = everybody else)")
            })?;
            let (role, limit) = (role.trim().to_owned(), limit.trim());
            let parsed = limit.parse().map_err(|reason| format!("the limit '{limit}' of role '{role}': {reason}"))?;
            if found.insert(role.clone(), parsed).is_some() {
                return Err(format!("role '{role}' is there twice"));
            }
        }
        Ok(Self(found))
    }
}

impl<'de, T: FromStr> Deserialize<'de> for ByRole<T>
where
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Requests of each token lately.
pub(super) struct Rates(Mutex<Recent<Identity, Timestamp>>);

impl Default for Rates {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(TOKENS_MAX)))
    }
}

impl Rates {
    /// Counts a request.
    ///
    /// # Errors
    /// `TooOften` when there are more than `most` in a second; such requests are not counted.
    pub(super) fn take(&self, identity: &Identity, most: u64, now: Timestamp) -> Result<(), AuthError> {
        let mut recent = self.0.lock();
        match taken(recent.get(identity).unwrap_or_default(), most, now) {
            Ok(next) => {
                recent.put(identity.clone(), next);
                Ok(())
            }
            Err(wait) => Err(AuthError::TooOften { most, retry_after: Span(wait) }),
        }
    }
}

/// The generic cell rate algorithm (ITU-T I.371, as a virtual scheduling algorithm): `due` is when the next request would come if
/// they came evenly. It may come earlier by as much as all but one of a second's requests take, so a second's may come at once.
fn taken(due: Timestamp, most: u64, now: Timestamp) -> Result<Timestamp, Duration> {
    let between = Duration::from_micros(MICROS.div_ceil(most.max(1)));
    let next = due.max(now).plus(between);
    let early = next.since(now).saturating_sub(between.saturating_mul(u32::try_from(most.max(1)).unwrap_or(u32::MAX)));
    match most > 0 && early.is_zero() {
        true => Ok(next),
        false => Err(early.max(between)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn of_several_roles_the_one_that_allows_most_holds() {
        let limits: ByRole<u64> = " partner=5, reader = 20,*=7, ".parse().unwrap();
        for (names, limit) in [
            (vec!["partner"], Some(5)),
            (vec!["partner", "reader"], Some(20)),
            (vec!["partner", "analyst"], Some(5)),
            (vec!["analyst"], Some(7)),
            (vec![], Some(7)),
            (vec!["admin"], None),
            (vec!["admin", "partner"], Some(5)),
        ] {
            assert_eq!(limits.of(&roles(&names)), limit, "{names:?}");
        }
        assert_eq!("".parse::<ByRole<u64>>().unwrap().of(&roles(&["reader"])), None);
        let sizes: ByRole<ByteSize> = "*=10 MiB".parse().unwrap();
        assert_eq!(sizes.of(&roles(&[])).unwrap().bytes(), 10 << 20);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for (text, says) in [
            ("5", "not role=limit"),
            ("partner=many", "the limit 'many' of role 'partner'"),
            ("partner=-1", "the limit '-1'"),
            ("a=1, a=2", "'a' is there twice"),
        ] {
            let error = text.parse::<ByRole<u64>>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_second_has_so_many_requests_and_no_more() {
        let at = |millis: i64| Timestamp(1_000_000_000_000 + millis * 1_000);
        let identity = |token: &str| Identity { token: Some(token.into()), ..Identity::of_user("ann") };
        let rates = Rates::default();
        for _ in 0..4 {
            rates.take(&identity("1"), 4, at(0)).unwrap();
        }
        let refused = rates.take(&identity("1"), 4, at(0)).unwrap_err();
        assert_eq!(refused.retry_after(), Some(Span::from_millis(250)));
        assert!(rates.take(&identity("1"), 4, at(249)).is_err());
        rates.take(&identity("2"), 4, at(0)).unwrap();
        rates.take(&identity("1"), 4, at(250)).unwrap();
        assert!(rates.take(&identity("1"), 4, at(250)).is_err(), "those refused did not count, this one did");
        for _ in 0..4 {
            rates.take(&identity("1"), 4, at(10_000)).unwrap();
        }
        assert!(rates.take(&identity("1"), 4, at(10_000)).is_err(), "nothing is saved up");
        assert!(rates.take(&identity("3"), 0, at(0)).is_err(), "none at all");
    }
}
