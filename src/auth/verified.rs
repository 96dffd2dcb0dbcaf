//! Passwords verified lately, so that a call after the first costs a hash of a few bytes and not an Argon2 of megabytes.
//!
//! A password is remembered by a hash keyed with bytes of this process alone, together with the stored hash it was verified
//! against: when the stored one changes, what is remembered fits no more.

use parking_lot::Mutex;

use super::error::AuthError;
use super::password::PasswordHash;
use super::recent::Recent;
use super::secret::random;

pub(super) struct Verified {
    key: [u8; 32],
    known: Mutex<Recent<[u8; 32], PasswordHash>>,
}

impl Verified {
    /// # Errors
    /// No randomness to be had.
    pub(super) fn new(max: usize) -> Result<Self, AuthError> {
        Ok(Self { key: random()?, known: Mutex::new(Recent::new(max)) })
    }

    /// Whether this password was verified against this very stored hash.
    pub(super) fn is_known(&self, user: &str, password: &str, stored: &PasswordHash) -> bool {
        self.known.lock().get(&self.entry(user, password)).is_some_and(|verified| verified == *stored)
    }

    pub(super) fn remember(&self, user: &str, password: &str, stored: &PasswordHash) {
        self.known.lock().put(self.entry(user, password), stored.clone());
    }

    fn entry(&self, user: &str, password: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&user.len().to_le_bytes());
        hasher.update(user.as_bytes());
        hasher.update(password.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password::tests::hashed;

    #[test]
    fn a_changed_password_is_not_known_any_more() {
        let verified = Verified::new(10).unwrap();
        let (before, after) = (hashed("password one").unwrap(), hashed("password two").unwrap());
        verified.remember("ann", "password one", &before);
        assert!(verified.is_known("ann", "password one", &before));
        assert!(!verified.is_known("ann", "password one", &after));
        assert!(!verified.is_known("ann", "password two", &before));
        assert!(!verified.is_known("annp", "assword one", &before));
    }
}
