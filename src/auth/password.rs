//! Passwords at rest: Argon2id (RFC 9106), each with a salt and its own parameters, so that parameters can change.
//!
//! Hashing takes tens of milliseconds and megabytes on purpose: callers run it off the I/O threads and a few at a time.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use super::config::AuthConfig;
use super::error::AuthError;
use super::scram::ScramVerifier;
use super::secret::{is_same, random};

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Longer passwords are refused: hashing them would be free work for strangers.
const PASSWORD_BYTES_MAX: usize = 1024;

/// As stored. The parameters are those it was made with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    /// Base64.
    salt: String,
    hash: String,
    /// Of the same password, where `auth.scram_iterations` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scram: Option<ScramVerifier>,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

/// Parameters of a hash (RFC 9106, 3.1) that Argon2 takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// Checked once at start, so that a bad configuration stops the start instead of every sign-in.
    ///
    /// # Errors
    /// Parameters Argon2 does not take.
    pub(super) fn of(config: &AuthConfig) -> Result<Self, AuthError> {
        let memory_kib = u32::try_from(config.password_memory.bytes() / 1024).unwrap_or(u32::MAX);
        let cost = Self { memory_kib, passes: config.password_passes, lanes: config.password_lanes };
        cost.params().map(|_| cost)
    }

    fn params(self) -> Result<Params, AuthError> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_BYTES)).map_err(refused)
    }
}

/// Hashes a new password of at least `length_min` characters.
///
/// # Errors
/// Too short, too long.
pub(super) fn hash_password(password: &str, length_min: usize, cost: Cost) -> Result<PasswordHash, AuthError> {
    if password.chars().count() < length_min {
        return Err(AuthError::invalid(format!(
            "a password has at least {length_min} characters (auth.password_length_min)"
        )));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(AuthError::invalid(format!("a password has at most {PASSWORD_BYTES_MAX} bytes")));
    }
    let salt: [u8; SALT_BYTES] = random()?;
    let hash = derive(password, &salt, cost)?;
    let Cost { memory_kib, passes, lanes } = cost;
    let (salt, hash) = (BASE64.encode(salt), BASE64.encode(hash));
    Ok(PasswordHash { memory_kib, passes, lanes, salt, hash, scram: None })
}

impl PasswordHash {
    /// The same with what SCRAM proves `password` by; unchanged when `iterations` is 0.
    ///
    /// # Errors
    /// Characters beyond ASCII: clients prepare these before they hash them (SASLprep), which we do not.
    pub(super) fn provable(self, password: &str, iterations: u32) -> Result<Self, AuthError> {
        if iterations == 0 {
            return Ok(self);
        }
        if !password.is_ascii() {
            return Err(AuthError::invalid("with auth.scram_iterations a password has ASCII characters only"));
        }
        Ok(Self { scram: Some(ScramVerifier::make(password, iterations)?), ..self })
    }

    /// Random, so it names this very hash: the same password set again has another.
    pub(super) fn salt(&self) -> &str {
        &self.salt
    }

    /// Whether this is the hash of `password`; takes as long for a wrong one.
    pub(super) fn fits(&self, password: &str) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let Ok(salt) = BASE64.decode(&self.salt) else { return false };
        let Ok(expected) = BASE64.decode(&self.hash) else { return false };
        let cost = Cost { memory_kib: self.memory_kib, passes: self.passes, lanes: self.lanes };
        match derive(password, &salt, cost) {
            Ok(found) => expected.try_into().is_ok_and(|expected: [u8; HASH_BYTES]| is_same(&found, &expected)),
            Err(_) => false,
        }
    }
}

fn derive(password: &str, salt: &[u8], cost: Cost) -> Result<[u8; HASH_BYTES], AuthError> {
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?)
        .hash_password_into(password.as_bytes(), salt, &mut hash)
        .map_err(refused)?;
    Ok(hash)
}

fn refused(error: argon2::Error) -> AuthError {
    AuthError::invalid(format!("auth.password_memory, _passes and _lanes do not go together: {error}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::auth::authenticate::tests::config;

    pub(in crate::auth) fn hashed(password: &str) -> Result<PasswordHash, AuthError> {
        hash_password(password, 8, Cost::of(&config())?)
    }

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let hash = hashed("correct horse").unwrap();
        assert!(hash.fits("correct horse"));
        assert!(!hash.fits("correct horsf"));
        assert!(!hash.fits(""));
        assert_ne!(hash, hashed("correct horse").unwrap(), "salted");
        assert_eq!(format!("{hash:?}"), "PasswordHash(***)");
    }

    #[test]
    fn a_verifier_for_scram_is_kept_only_when_asked_for() {
        let provable = |password: &str, iterations| hashed(password).unwrap().provable(password, iterations);
        assert!(provable("correct horse", 0).unwrap().scram.is_none());
        assert!(provable("correct horse", 4096).unwrap().scram.is_some());
        assert!(provable("richtiges Pferd ä", 0).is_ok());
        assert!(provable("richtiges Pferd ä", 4096).is_err());
    }

    /// The reference implementation's vector for these parameters: `echo -n "password" | argon2 somesalt -id -t 2 -k 65536 -p 1`.
    #[test]
    fn derives_what_the_reference_implementation_derives() {
        let hash = derive("password", b"somesalt", Cost { memory_kib: 65536, passes: 2, lanes: 1 }).unwrap();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }

    #[test]
    fn short_long_and_impossible_are_refused() {
        assert!(hashed("short").unwrap_err().to_string().contains("at least 8 characters"));
        assert!(hashed(&"x".repeat(2000)).unwrap_err().to_string().contains("at most 1024 bytes"));
        let wrong = AuthConfig { password_lanes: 0, ..config() };
        assert!(Cost::of(&wrong).is_err());
        assert!(Cost::of(&config()).is_ok());
    }
}
