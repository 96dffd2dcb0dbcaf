//! Tokens signed with keys made here, right and wrong in every way one can be.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::base::Span;

const NOW: Timestamp = Timestamp(1_000_000_000_000_000);

pub(in crate::auth) fn config() -> JwtConfig {
    JwtConfig {
        issuer: "https://id.example".into(),
        audience: "adlake".into(),
        keys: "keys.json".into(),
        refresh: Span::from_secs(300),
        algorithms: "ES256, RS256".into(),
        clock_skew: Span::from_secs(60),
        user_claim: "sub".into(),
        roles_claim: "groups".into(),
        roles: "staff=analyst, partners=partner".into(),
        attributes: "org=region".into(),
    }
}

struct Issuer {
    pair: EcdsaKeyPair,
    id: &'static str,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { pair, id }
    }

    fn point(&self) -> (String, String) {
        let point = self.pair.public_key().as_ref();
        (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]))
    }

    fn key(&self) -> Value {
        let (x, y) = self.point();
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id, "x": x, "y": y})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims, |message| self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
    }

    fn token(&self, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut claims = claims();
        change(&mut claims);
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": self.id}), &Value::Object(claims))
    }
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Keys of every kind that there are algorithms for.
enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Pair {
    fn all() -> [Self; 4] {
        [
            Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
        ]
    }

    /// The key as a key set has it, for all algorithms it fits.
    fn key(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let on_curve = |curve: &str, point: &[u8], length: usize| {
            let (x, y) = point[1..].split_at(length);
            json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
        };
        match self {
            // RFC 8017, A.1.1, of 2048 bits and the exponent 65537: head, length and a zero byte before, three bytes of exponent last.
            Self::Rsa(pair) => {
                let der: &[u8] = pair.public_key().as_ref();
                json!({"kty": "RSA", "n": text(&der[9..265]), "e": text(&der[der.len() - 3..])})
            }
            Self::P256(pair) => on_curve("P-256", pair.public_key().as_ref(), 32),
            Self::P384(pair) => on_curve("P-384", pair.public_key().as_ref(), 48),
            Self::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())}),
        }
    }

    /// None when no such signature is made with such a key.
    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let by_rsa = |encoding| match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                Some(signature)
            }
            _ => None,
        };
        match (algorithm, self) {
            (Algorithm::RS256, _) => by_rsa(&signature::RSA_PKCS1_SHA256),
            (Algorithm::RS384, _) => by_rsa(&signature::RSA_PKCS1_SHA384),
            (Algorithm::RS512, _) => by_rsa(&signature::RSA_PKCS1_SHA512),
            (Algorithm::PS256, _) => by_rsa(&signature::RSA_PSS_SHA256),
            (Algorithm::PS384, _) => by_rsa(&signature::RSA_PSS_SHA384),
            (Algorithm::PS512, _) => by_rsa(&signature::RSA_PSS_SHA512),
            (Algorithm::ES256, Self::P256(pair)) | (Algorithm::ES384, Self::P384(pair)) => {
                Some(pair.sign(&random, message).unwrap().as_ref().to_vec())
            }
            (Algorithm::EdDSA, Self::Ed25519(pair)) => Some(pair.sign(message).as_ref().to_vec()),
            (Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA, _) => None,
        }
    }
}

fn claims() -> Map<String, Value> {
    let seconds = NOW.micros() / 1_000_000;
    let claims = json!({
        "iss": "https://id.example", "aud": ["adlake", "other"], "sub": "ann", "exp": seconds + 600, "nbf": seconds - 5,
        "groups": ["staff", "unknown"], "org": "KR"
    });
    claims.as_object().unwrap().clone()
}

fn verifier(keys: &[Value]) -> Arc<JwtVerifier> {
    let verifier = JwtVerifier::new(&config()).unwrap().unwrap();
    verifier.set_keys(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    verifier
}

#[test]
fn claims_become_roles_and_attributes() {
    let issuer = Issuer::new("k1");
    let identity = verifier(&[issuer.key()]).verify(&issuer.token(|_| {}), NOW).unwrap();
    let external = identity.external.unwrap();
    assert_eq!(identity.user, "ann");
    assert_eq!(external.roles, BTreeSet::from(["analyst".to_owned()]));
    assert_eq!(external.attributes["region"], "KR");
}

#[test]
fn every_wrong_claim_is_refused() {
    let issuer = Issuer::new("k1");
    let verifier = verifier(&[issuer.key()]);
    let seconds = NOW.micros() / 1_000_000;
    for (claim, value) in [
        ("iss", json!("https://other.example")),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", Value::Null),
        ("exp", json!(seconds - 61)),
        ("exp", json!("soon")),
        ("exp", Value::Null),
        ("nbf", json!(seconds + 61)),
        ("sub", json!("")),
        ("sub", Value::Null),
    ] {
        let token = issuer.token(|claims| {
            match value {
                Value::Null => claims.remove(claim),
                ref value => claims.insert(claim.to_owned(), value.clone()),
            };
        });
        assert!(verifier.verify(&token, NOW).is_err(), "{claim} {value}");
    }
    for (claim, value) in [("exp", json!(seconds - 59)), ("nbf", json!(seconds + 59))] {
        let token = issuer.token(|claims| drop(claims.insert(claim.to_owned(), value)));
        assert!(verifier.verify(&token, NOW).is_ok(), "{claim}: clocks differ a little");
    }
}

#[test]
fn forged_foreign_and_unsigned_tokens_are_refused() {
    let (issuer, other) = (Issuer::new("k1"), Issuer::new("k1"));
    let verifier = verifier(&[issuer.key()]);
    let good = issuer.token(|_| {});
    assert!(verifier.verify(&other.token(|_| {}), NOW).is_err(), "another's key under the same id");
    assert!(verifier.verify(&Issuer::new("k2").token(|_| {}), NOW).is_err(), "unknown id");
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let admin = URL_SAFE_NO_PAD.encode(json!({"sub": "root"}).to_string());
    assert!(verifier.verify(&format!("{header}.{admin}.{signature}"), NOW).is_err(), "other claims");
    assert!(verifier.verify(&format!("{message}."), NOW).is_err());
    let claims = Value::Object(claims());
    for alg in ["none", "None", "HS256", "ES384", "RS256"] {
        let token = issuer.sign(&json!({"alg": alg, "kid": "k1"}), &claims);
        assert!(verifier.verify(&token, NOW).is_err(), "{alg}");
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert!(verifier.verify(&unsigned, NOW).is_err(), "{alg} unsigned");
    }
    assert!(verifier.verify(&"x".repeat(100_000), NOW).is_err());
}

/// RFC 8725, 2.1: the public key, which everybody knows, used as a shared secret.
#[test]
fn a_public_key_is_no_shared_secret() {
    let issuer = Issuer::new("k1");
    let verifier = verifier(&[issuer.key()]);
    let (x, _) = issuer.point();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "k1"})), part(&Value::Object(claims())));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, x.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()).as_ref());
    assert!(verifier.verify(&format!("{message}.{signature}"), NOW).is_err());
}

#[test]
fn every_algorithm_takes_its_own_signatures_where_it_is_allowed() {
    let (pairs, claims) = (Pair::all(), Value::Object(claims()));
    let keys: Vec<Value> = pairs.iter().map(Pair::key).collect();
    let keys = json!({ "keys": keys }).to_string();
    let allowing = |algorithms: &str| {
        let config = JwtConfig { algorithms: algorithms.to_owned(), ..config() };
        let verifier = JwtVerifier::new(&config).unwrap().unwrap();
        verifier.set_keys(keys.as_bytes()).unwrap();
        verifier
    };
    // Signed by `by`, and said to be by `said`.
    let token = |said: Algorithm, by: Algorithm| {
        signed(&json!({"alg": format!("{said:?}")}), &claims, |message| {
            pairs.iter().find_map(|pair| pair.sign(by, message)).unwrap()
        })
    };
    let all = allowing(&ALGORITHMS.map(|algorithm| format!("{algorithm:?}")).join(","));
    for allowed in ALGORITHMS {
        let one = allowing(&format!("{allowed:?}"));
        for other in ALGORITHMS {
            let is_same = other == allowed;
            assert_eq!(
                one.verify(&token(other, other), NOW).is_ok(),
                is_same,
                "{other:?} where {allowed:?} is allowed"
            );
            assert_eq!(all.verify(&token(allowed, other), NOW).is_ok(), is_same, "{other:?} said to be {allowed:?}");
        }
    }
}

#[test]
fn keys_are_exchanged_and_symmetric_ones_passed_over() {
    let (old, new) = (Issuer::new("k1"), Issuer::new("k2"));
    let verifier = verifier(&[old.key()]);
    let shared = json!({"kty": "oct", "alg": "HS256", "kid": "k3", "k": "c2VjcmV0"});
    verifier.set_keys(json!({"keys": [new.key(), shared]}).to_string().as_bytes()).unwrap();
    assert!(verifier.verify(&new.token(|_| {}), NOW).is_ok());
    assert!(verifier.verify(&old.token(|_| {}), NOW).is_err());
    for wrong in ["", "{}", r#"{"keys": []}"#, r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#] {
        assert!(verifier.set_keys(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert!(verifier.verify(&new.token(|_| {}), NOW).is_ok(), "a bad key set replaces nothing");
}

#[test]
fn a_configuration_that_cannot_be_right_is_refused() {
    let with = |change: &dyn Fn(&mut JwtConfig)| {
        let mut config = config();
        change(&mut config);
        JwtVerifier::new(&config).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(with(&|config| config.algorithms = "HS256".into()).contains("'HS256' is not one of RS256"));
    assert!(with(&|config| config.algorithms = "none".into()).contains("'none' is not one of"));
    assert!(with(&|config| config.algorithms = String::new()).contains("is empty"));
    assert!(with(&|config| config.audience = String::new()).contains("auth.jwt.audience is empty"));
    assert!(with(&|config| config.roles = "staff".into()).contains("'staff' is not name=name"));
    assert!(JwtVerifier::new(&JwtConfig { issuer: String::new(), ..config() }).unwrap().is_none());
}
