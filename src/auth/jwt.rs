//! Tokens of an identity provider: JSON Web Tokens (RFC 7519) signed with a public key of its key set (RFC 7517).
//!
//! ```text
//! token ─► key by `kid`, its algorithm allowed and the key's own ─► signature ─► iss, aud, exp, nbf ─► claims ─► External
//! ```
//! Only algorithms with public keys are taken: `none` and shared secrets cannot even be configured, and a symmetric key in a key
//! set is passed over. Times are checked by our own clock. Where the key set is read from is not here (`app`): it is handed in,
//! at start and again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::authenticate::{External, Identity};
use super::config::JwtConfig;
use super::error::AuthError;
use crate::base::Timestamp;

/// Longer tokens are not looked at.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Signatures that may be configured (RFC 7518, 3.1; RFC 8037): those of public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The head of a token (RFC 7515, 4.1).
#[derive(Deserialize)]
struct Head {
    /// `none` and `HS…` are no value of it.
    alg: Algorithm,
    kid: Option<String>,
    /// Extensions that have to be understood; none is.
    crit: Option<Value>,
}

/// A key as a key set has it (RFC 7517, 4; RFC 7518, 6).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// A public key and the algorithms it may be used by.
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    public: PublicKey,
}

enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point, or the bytes of Ed25519.
    Curve(Vec<u8>),
}

/// Checks tokens of one issuer.
pub struct JwtVerifier {
    issuer: String,
    audience: String,
    algorithms: Vec<Algorithm>,
    clock_skew_us: i64,
    user_claim: String,
    roles_claim: String,
    /// Value of the roles claim → roles here.
    roles: Vec<(String, String)>,
    /// Claim → attribute here.
    attributes: Vec<(String, String)>,
    keys: RwLock<Arc<Vec<Key>>>,
}

impl JwtVerifier {
    /// None when no issuer is configured. Takes no token before it is given keys.
    ///
    /// # Errors
    /// A configuration that cannot be right: no audience, an algorithm that is not allowed, a mapping without `=`.
    pub fn new(config: &JwtConfig) -> Result<Option<Arc<Self>>, AuthError> {
        if config.issuer.is_empty() {
            return Ok(None);
        }
        for (key, value) in [("audience", &config.audience), ("keys", &config.keys), ("user_claim", &config.user_claim)]
        {
            if value.is_empty() {
                return Err(AuthError::invalid(format!(
                    "auth.jwt.{key} is empty; with auth.jwt.issuer it must be set"
                )));
            }
        }
        let algorithms = listed(&config.algorithms).map(algorithm).collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() {
            return Err(AuthError::invalid("auth.jwt.algorithms is empty; name some, such as RS256"));
        }
        Ok(Some(Arc::new(Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            algorithms,
            clock_skew_us: i64::try_from(config.clock_skew.duration().as_micros()).unwrap_or(i64::MAX),
            user_claim: config.user_claim.clone(),
            roles_claim: config.roles_claim.clone(),
            roles: pairs("roles", &config.roles)?,
            attributes: pairs("attributes", &config.attributes)?,
            keys: RwLock::default(),
        })))
    }

    /// Takes over a key set; the ones before are no longer taken.
    ///
    /// # Errors
    /// No key set, or none of its keys can be used: then the one before stays.
    pub fn set_keys(&self, document: &[u8]) -> Result<(), AuthError> {
        let set: JwkSet = serde_json::from_slice(document)
            .map_err(|error| AuthError::invalid(format!("the key set of auth.jwt.keys cannot be read: {error}")))?;
        // Keys of kinds not known here, symmetric ones among them, are passed over.
        let known = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let known: Vec<Key> = known.filter_map(|key| Key::of(key, &self.algorithms)).collect();
        if known.is_empty() {
            return Err(AuthError::invalid("the key set of auth.jwt.keys has no key for auth.jwt.algorithms"));
        }
        *self.keys.write() = Arc::new(known);
        Ok(())
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// `BadCredential` for every reason.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Identity, AuthError> {
        let claims = self.claims(token).ok_or(AuthError::BadCredential)?;
        self.identity(&claims, now).ok_or(AuthError::BadCredential)
    }

    /// The claims of a token whose signature, issuer and audience are right.
    fn claims(&self, token: &str) -> Option<Map<String, Value>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (head, claims) = message.split_once('.')?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let (signature, claims) = (decoded(signature)?, decoded(claims)?);
        let Head { alg, kid, crit: None } = serde_json::from_slice(&decoded(head)?).ok()? else { return None };
        let keys = self.keys.read().clone();
        let is_named = |key: &&Key| (kid.is_none() || key.id == kid) && key.algorithms.contains(&alg);
        keys.iter().filter(is_named).find(|key| key.public.verifies(alg, message.as_bytes(), &signature))?;
        let claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        let is_for_us = match claims.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            Some(Value::Array(all)) => all.iter().any(|audience| audience.as_str() == Some(self.audience.as_str())),
            _ => false,
        };
        (issuer == Some(self.issuer.as_str()) && is_for_us).then_some(claims)
    }

    fn identity(&self, claims: &Map<String, Value>, now: Timestamp) -> Option<Identity> {
        let time = |claim: &str| claims.get(claim).map(|value| value.as_f64().map(|seconds| (seconds * 1e6) as i64));
        let expires_at = time("exp")??.saturating_add(self.clock_skew_us);
        if now.micros() >= expires_at {
            return None;
        }
        match time("nbf") {
            Some(None) => return None,
            Some(Some(from)) if now.micros() < from.saturating_sub(self.clock_skew_us) => return None,
            _ => {}
        }
        let user = claims.get(&self.user_claim)?.as_str().filter(|user| !user.is_empty())?.to_owned();
        let given: BTreeSet<&str> = match claims.get(&self.roles_claim) {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => text.split_whitespace().collect(),
            _ => BTreeSet::new(),
        };
        let roles = self.roles.iter().filter(|(value, _)| given.contains(value.as_str()));
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let attributes =
            self.attributes.iter().filter_map(|(claim, name)| Some((name.clone(), text(claims.get(claim)?)?)));
        let external = External {
            roles: roles.map(|(_, role)| role.clone()).collect(),
            attributes: attributes.collect::<BTreeMap<_, _>>(),
            expires_at: Timestamp(expires_at),
        };
        Some(Identity { external: Some(Arc::new(external)), ..Identity::of_user(user) })
    }
}

impl Key {
    /// None when it cannot be used by any of `allowed`.
    fn of(jwk: Jwk, allowed: &[Algorithm]) -> Option<Self> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let (public, fits): (PublicKey, &[Algorithm]) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (PublicKey::Rsa { n: bytes(&jwk.n)?, e: bytes(&jwk.e)? }, ALGORITHMS.get(..6)?),
            ("EC", Some(curve)) => {
                let (fits, length): (&[Algorithm], usize) = match curve {
                    "P-256" => (&[Algorithm::ES256], 32),
                    "P-384" => (&[Algorithm::ES384], 48),
                    _ => return None,
                };
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                if x.len() != length || y.len() != length {
                    return None;
                }
                // SEC 1, 2.3.3: uncompressed.
                (PublicKey::Curve([&[4_u8][..], x.as_slice(), y.as_slice()].concat()), fits)
            }
            ("OKP", Some("Ed25519")) => (PublicKey::Curve(bytes(&jwk.x)?), &[Algorithm::EdDSA]),
            _ => return None,
        };
        let is_said = |algorithm: &Algorithm| jwk.alg.as_ref().is_none_or(|said| *said == format!("{algorithm:?}"));
        let algorithms = fits.iter().filter(|algorithm| allowed.contains(algorithm) && is_said(algorithm));
        let algorithms: Vec<Algorithm> = algorithms.copied().collect();
        let is_for_signatures = jwk.usage.as_ref().is_none_or(|usage| usage == "sig");
        (is_for_signatures && !algorithms.is_empty()).then_some(Self { id: jwk.kid, algorithms, public })
    }
}

impl PublicKey {
    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let rsa = match algorithm {
            Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
            Algorithm::ES256 => return self.on_curve(&signature::ECDSA_P256_SHA256_FIXED, message, signature),
            Algorithm::ES384 => return self.on_curve(&signature::ECDSA_P384_SHA384_FIXED, message, signature),
            Algorithm::EdDSA => return self.on_curve(&signature::ED25519, message, signature),
        };
        match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(rsa, message, signature).is_ok(),
            Self::Curve(_) => false,
        }
    }

    fn on_curve(
        &self,
        algorithm: &'static dyn signature::VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match self {
            Self::Curve(bytes) => UnparsedPublicKey::new(algorithm, bytes).verify(message, signature).is_ok(),
            Self::Rsa { .. } => false,
        }
    }
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn algorithm(name: &str) -> Result<Algorithm, AuthError> {
    let known = ALGORITHMS.into_iter().find(|algorithm| format!("{algorithm:?}") == name);
    known.ok_or_else(|| {
        let all = ALGORITHMS.map(|algorithm| format!("{algorithm:?}")).join(", ");
        AuthError::invalid(format!("auth.jwt.algorithms: '{name}' is not one of {all}"))
    })
}

fn pairs(key: &str, text: &str) -> Result<Vec<(String, String)>, AuthError> {
    let pair = |item: &str| {
        let (left, right) = item.split_once('=').ok_or_else(|| {
            AuthError::invalid(format!("auth.jwt.{key}: '{item}' is not name=name; write theirs=ours, theirs=ours"))
        })?;
        Ok((left.trim().to_owned(), right.trim().to_owned()))
    };
    listed(text).map(pair).collect()
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
pub(super) mod tests;
