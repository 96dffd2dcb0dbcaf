//! SCRAM-SHA-256 (RFC 5802, RFC 7677): proves a password without sending it; for protocols that ask so.
//!
//! ```text
//! client-first ─► salt, iterations, nonce ─► client-final (proof) ─► server-final: it was us as well
//! ```
//! What is kept for it is weaker than Argon2id: who steals it can try passwords at the price of PBKDF2, and a thief of
//! `stored_key` who also hears a sign-in can sign in. So it is kept only where `auth.scram_iterations` asks for it.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::error::AuthError;
use super::password::PasswordHash;
use super::secret::{is_same, random};
use super::throttle::Attempt;

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;
const KEY_BYTES: usize = 32;
/// Fewest iterations that are accepted (RFC 7677).
const ITERATIONS_MIN: u32 = 4096;
/// What the key of hashes of names is derived for. The same hash under the lake's own key is what masked values are shown as.
const OF_NAMES: &str = "adlake scram: salt of a name without a verifier";

/// As stored, beside the Argon2 hash of the same password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScramVerifier {
    iterations: u32,
    /// Base64, as the keys.
    salt: String,
    stored_key: String,
    server_key: String,
}

/// A sign-in of which the client has said the first message.
pub struct ScramExchange {
    verifier: ScramVerifier,
    /// Nobody can prove a password that there is none of.
    is_somebody: bool,
    /// `n,,` or `y,,`: what the client says of binding to the channel.
    header: String,
    nonce: String,
    /// First messages of both, as they are signed.
    begun: String,
    /// The salt of the hash beside the verifier: what the caller is known by once it is proved.
    password: Option<String>,
    /// None once it is over.
    attempt: Option<Attempt>,
}

/// Checked once at start.
///
/// # Errors
/// Neither 0, for no verifiers, nor enough.
pub(super) fn check_iterations(iterations: u32) -> Result<(), AuthError> {
    match (1..ITERATIONS_MIN).contains(&iterations) {
        true => Err(AuthError::invalid(format!("auth.scram_iterations is 0 or at least {ITERATIONS_MIN}"))),
        false => Ok(()),
    }
}

impl ScramVerifier {
    /// # Errors
    /// No randomness to be had.
    pub(super) fn make(password: &str, iterations: u32) -> Result<Self, AuthError> {
        let salt: [u8; SALT_BYTES] = random()?;
        Ok(Self::with_salt(password, &salt, iterations))
    }

    fn with_salt(password: &str, salt: &[u8], iterations: u32) -> Self {
        let iterations = iterations.max(ITERATIONS_MIN);
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let mut salted = [0; KEY_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);
        let client_key = sign(&salted, b"Client Key");
        Self {
            iterations,
            salt: BASE64.encode(salt),
            stored_key: BASE64.encode(hashed(&client_key)),
            server_key: BASE64.encode(sign(&salted, b"Server Key")),
        }
    }

    /// What a name without a user is answered with: always the same for a name, and no password proves it.
    fn of_nobody(user: &str, key: &[u8; 32], iterations: u32) -> Self {
        let salt = of_name(user, key);
        let nothing = BASE64.encode([0; KEY_BYTES]);
        Self {
            iterations: iterations.max(ITERATIONS_MIN),
            salt: BASE64.encode(&salt.as_bytes()[..SALT_BYTES]),
            stored_key: nothing.clone(),
            server_key: nothing,
        }
    }
}

/// A secret hash of a name, always the same.
fn of_name(user: &str, key: &[u8; 32]) -> blake3::Hash {
    blake3::keyed_hash(&blake3::derive_key(OF_NAMES, key), user.as_bytes())
}

/// Iterations that a name without a verifier is answered with: those of one of the verifiers there are, since older ones have other
/// iterations than are configured now. `None`: there are none.
pub(super) fn iterations_of_nobody<'v>(
    user: &str,
    key: &[u8; 32],
    verifiers: impl Iterator<Item = &'v ScramVerifier>,
) -> Option<u32> {
    let all: Vec<u32> = verifiers.map(|verifier| verifier.iterations).collect();
    // Bytes that no salt shows.
    let hidden =
        of_name(user, key).as_bytes().iter().skip(SALT_BYTES).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let chosen = hidden.checked_rem(u64::try_from(all.len()).ok()?)?;
    all.get(usize::try_from(chosen).ok()?).copied()
}

impl ScramExchange {
    /// Takes the client's first message; gives the server's. `stored`: the user's password, if there is such a user.
    ///
    /// # Errors
    /// `BadCredential`: a message that is none, or that asks for channel binding.
    pub(super) fn begin(
        (user, stored): (&str, Option<PasswordHash>),
        (key, iterations): (&[u8; 32], u32),
        message: &str,
    ) -> Result<(Self, String), AuthError> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        let password = stored.as_ref().map(|stored| stored.salt().to_owned());
        let verifier = stored.and_then(|stored| stored.scram);
        let own = BASE64.encode(nonce);
        let (exchange, answer) = Self::begin_with((user, verifier), (key, iterations), (message, &own))?;
        Ok((Self { password, ..exchange }, answer))
    }

    fn begin_with(
        (user, verifier): (&str, Option<ScramVerifier>),
        (key, iterations): (&[u8; 32], u32),
        (message, own): (&str, &str),
    ) -> Result<(Self, String), AuthError> {
        let at = message.match_indices(',').nth(1).map(|(at, _)| at + 1).ok_or(AuthError::BadCredential)?;
        let (header, bare) = message.split_at(at);
        if !header.starts_with("n,") && !header.starts_with("y,") {
            return Err(AuthError::BadCredential);
        }
        let theirs = attribute(bare, 'r').filter(|nonce| !nonce.is_empty()).ok_or(AuthError::BadCredential)?;
        let nonce = format!("{theirs}{own}");
        let is_somebody = verifier.is_some();
        let verifier = verifier.unwrap_or_else(|| ScramVerifier::of_nobody(user, key, iterations));
        let answer = format!("r={nonce},s={},i={}", verifier.salt, verifier.iterations);
        let begun = format!("{bare},{answer}");
        let header = header.to_owned();
        Ok((Self { verifier, is_somebody, header, nonce, begun, password: None, attempt: None }, answer))
    }

    /// The same, as that attempt.
    pub(super) fn counted(self, attempt: Attempt) -> Self {
        Self { attempt: Some(attempt), ..self }
    }

    /// The attempt that it is; none when it was asked for before.
    pub(super) fn attempt(&mut self) -> Option<Attempt> {
        self.attempt.take()
    }

    /// Names the very password that is proved, as for [`Identity::password`](super::Identity).
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Takes the client's proof; gives the server's.
    ///
    /// # Errors
    /// `BadCredential` for every reason.
    pub(super) fn finish(&self, message: &str) -> Result<String, AuthError> {
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(AuthError::BadCredential)?;
        let bound = attribute(without_proof, 'c').and_then(|text| BASE64.decode(text).ok());
        let nonce = attribute(without_proof, 'r');
        if bound.as_deref() != Some(self.header.as_bytes()) || nonce != Some(self.nonce.as_str()) {
            return Err(AuthError::BadCredential);
        }
        let signed = format!("{},{without_proof}", self.begun);
        let stored = key(&self.verifier.stored_key)?;
        let proof = key(proof)?;
        let signature = sign(&stored, signed.as_bytes());
        let mut client_key = [0; KEY_BYTES];
        client_key.iter_mut().zip(proof.iter().zip(signature)).for_each(|(key, (proof, sign))| *key = proof ^ sign);
        if !is_same(&hashed(&client_key), &stored) || !self.is_somebody {
            return Err(AuthError::BadCredential);
        }
        let server = sign(&key(&self.verifier.server_key)?, signed.as_bytes());
        Ok(format!("v={}", BASE64.encode(server)))
    }
}

/// The value of `name=…` in a message.
fn attribute(message: &str, name: char) -> Option<&str> {
    message.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

fn key(text: &str) -> Result<[u8; KEY_BYTES], AuthError> {
    let bytes = BASE64.decode(text).map_err(|_| AuthError::BadCredential)?;
    bytes.try_into().map_err(|_| AuthError::BadCredential)
}

fn sign(key: &[u8; KEY_BYTES], message: &[u8]) -> [u8; KEY_BYTES] {
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref())
}

fn hashed(bytes: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
    fixed(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-256 gives as many bytes.
fn fixed(bytes: &[u8]) -> [u8; KEY_BYTES] {
    bytes.try_into().unwrap_or([0; KEY_BYTES])
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What a client begins with that [`answered`] goes on for.
    pub(in crate::auth) const BEGUN: &str = "n,,n=,r=abc";

    /// A client's answer to the server's first message.
    pub(in crate::auth) fn answered(password: &str, first: &str) -> String {
        let salt = BASE64.decode(attribute(first, 's').unwrap()).unwrap();
        let rounds: NonZeroU32 = attribute(first, 'i').unwrap().parse().unwrap();
        let mut salted = [0; KEY_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let client_key = sign(&salted, b"Client Key");
        let without_proof = format!("c=biws,r={}", attribute(first, 'r').unwrap());
        let signed = format!("n=,r=abc,{first},{without_proof}");
        let signature = sign(&hashed(&client_key), signed.as_bytes());
        let mut proof = client_key;
        proof.iter_mut().zip(signature).for_each(|(key, sign)| *key ^= sign);
        format!("{without_proof},p={}", BASE64.encode(proof))
    }

    const KEY: [u8; 32] = [7; 32];
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";

    fn begun(password: Option<&str>) -> (ScramExchange, String) {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = password.map(|password| ScramVerifier::with_salt(password, &salt, 4096));
        let own = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        ScramExchange::begin_with(("user", verifier), (&KEY, 4096), (FIRST, own)).unwrap()
    }

    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_rfc() {
        let (exchange, first) = begun(Some("pencil"));
        assert_eq!(first, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        assert_eq!(exchange.finish(FINAL).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn what_is_not_proved_is_refused() {
        assert!(begun(Some("pencils")).0.finish(FINAL).is_err());
        assert!(begun(None).0.finish(FINAL).is_err());
        let (exchange, _) = begun(Some("pencil"));
        for (from, to) in [("c=biws", "c=eSws"), ("hNlF$k0", "hNlF$k1"), ("p=dHz", "p=dHy"), (",p=", ",q=")] {
            assert!(exchange.finish(&FINAL.replacen(from, to, 1)).is_err(), "{to}");
        }
        for first in ["", "n,,", "n,,n=user", "p=tls-unique,,n=user,r=a", "n,,n=user,r="] {
            let begun = ScramExchange::begin(("user", None), (&KEY, 4096), first);
            assert!(begun.is_err(), "{first}");
        }
    }

    #[test]
    fn few_iterations_are_refused_at_start() {
        assert!(check_iterations(0).is_ok() && check_iterations(4096).is_ok());
        assert!(check_iterations(1).is_err() && check_iterations(4095).is_err());
    }

    #[test]
    fn nobody_looks_like_somebody() {
        let salt = |user: &str| ScramVerifier::of_nobody(user, &KEY, 5000).salt;
        assert_eq!(salt("ann"), salt("ann"));
        assert_ne!(salt("ann"), salt("bob"));
        assert_eq!(BASE64.decode(salt("ann")).unwrap().len(), SALT_BYTES);
        assert_ne!(ScramVerifier::make("a", 0).unwrap().salt, ScramVerifier::make("a", 0).unwrap().salt);
    }

    #[test]
    fn nobodys_salt_is_no_masked_value() {
        let salt = BASE64.decode(ScramVerifier::of_nobody("10.0.0.1", &KEY, 5000).salt).unwrap();
        let masked = blake3::keyed_hash(&KEY, b"10.0.0.1");
        assert_ne!(salt[..], masked.as_bytes()[..SALT_BYTES]);
    }

    #[test]
    fn nobodys_iterations_are_somebodys() {
        let kept = [4096, 8192].map(|iterations| ScramVerifier::with_salt("a", b"salt", iterations));
        let asked = |user: &str| iterations_of_nobody(user, &KEY, kept.iter());
        let all: BTreeSet<u32> = (0..50).map(|number| asked(&format!("user {number}")).unwrap()).collect();
        assert_eq!(all, BTreeSet::from([4096, 8192]));
        assert_eq!(asked("ann"), asked("ann"));
        assert_eq!(iterations_of_nobody("ann", &KEY, std::iter::empty()), None);
    }
}
