//! Random secrets, their hashes, and comparing them in constant time.
//!
//! A token reads `adlake_<id>_<secret>`: the id finds its record, the secret proves it; both are hex, so a token survives
//! headers, URLs and a double click.

use super::error::AuthError;

const TOKEN_PREFIX: &str = "adlake_";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// A token on its way to its owner: shown once, then only its hash is known.
pub struct NewToken {
    pub id: String,
    /// The whole token, as sent by clients.
    pub text: String,
    pub hash: String,
}

impl NewToken {
    /// # Errors
    /// No randomness to be had.
    pub fn make() -> Result<Self, AuthError> {
        let id = hex(&random::<ID_BYTES>()?);
        let secret = hex(&random::<SECRET_BYTES>()?);
        Ok(Self { text: format!("{TOKEN_PREFIX}{id}_{secret}"), hash: hash_of(&secret), id })
    }
}

/// Whether a token looks like one of ours.
pub fn is_ours(token: &str) -> bool {
    token.starts_with(TOKEN_PREFIX)
}

/// Id and secret of a token's text; `None` when it is not one of ours.
pub(super) fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    (id.len() == 2 * ID_BYTES && secret.len() == 2 * SECRET_BYTES).then_some((id, secret))
}

/// Whether `secret` is the one of this stored hash; in constant time.
pub(super) fn fits(secret: &str, stored: &str) -> bool {
    blake3::Hash::from_hex(stored).is_ok_and(|stored| stored == blake3::hash(secret.as_bytes()))
}

fn hash_of(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// Equality in constant time (that of `blake3::Hash`).
pub(super) fn is_same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    blake3::Hash::from_bytes(*left) == blake3::Hash::from_bytes(*right)
}

/// Bytes of the operating system's generator.
///
/// # Errors
/// It has none.
pub(super) fn random<const N: usize>() -> Result<[u8; N], AuthError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| AuthError::Internal { message: format!("the system gives no random bytes: {error}") })?;
    Ok(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_id_and_proved_by_its_secret() {
        let (token, other) = (NewToken::make().unwrap(), NewToken::make().unwrap());
        let (id, secret) = parts(&token.text).unwrap();
        assert_eq!(id, token.id);
        assert!(fits(secret, &token.hash));
        assert!(!fits(secret, &other.hash));
        assert!(!token.hash.contains(secret));
        for wrong in ["", "adlake_", "adlake_1_2", &token.text[1..], &format!("{}0", token.text)] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
