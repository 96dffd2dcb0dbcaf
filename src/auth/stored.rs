//! How the directory is written into its document: JSON, versioned, pinned by a test.
//!
//! A document that is not understood to the last field is an error: a policy that was not read would open what it closes.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::AuthError;
use super::model::{DirectorySnapshot, Grant, Mask, Policy, Token, User};
use super::secret::hex;

/// The format this code writes, and the newest it reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredDirectory {
    format: u32,
    /// Hex.
    mask_key: String,
    users: Vec<User>,
    roles: BTreeSet<String>,
    tokens: Vec<Token>,
    grants: BTreeSet<Grant>,
    policies: BTreeSet<Policy>,
    masks: BTreeSet<Mask>,
}

/// Read before the rest, to tell a newer format from a damaged one.
#[derive(Deserialize)]
struct StoredFormat {
    format: u32,
}

fn damaged(message: impl Into<String>) -> AuthError {
    AuthError::Damaged { message: message.into() }
}

/// The document of a snapshot.
pub(super) fn encode(snapshot: &DirectorySnapshot) -> Result<Vec<u8>, AuthError> {
    let stored = StoredDirectory {
        format: FORMAT,
        mask_key: hex(&snapshot.mask_key),
        users: snapshot.users.values().map(|user| user.as_ref().clone()).collect(),
        roles: snapshot.roles.clone(),
        tokens: snapshot.tokens.values().map(|token| token.as_ref().clone()).collect(),
        grants: snapshot.grants.clone(),
        policies: snapshot.policies.clone(),
        masks: snapshot.masks.clone(),
    };
    serde_json::to_vec_pretty(&stored).map_err(|error| damaged(format!("it cannot be written as JSON: {error}")))
}

/// The snapshot of a document.
///
/// # Errors
/// `Damaged`; a document of a newer adlake.
pub(super) fn decode(content: &[u8], version: u64) -> Result<DirectorySnapshot, AuthError> {
    let format: StoredFormat = serde_json::from_slice(content).map_err(|error| damaged(error.to_string()))?;
    if format.format != FORMAT {
        let found = format.format;
        return Err(damaged(format!("its format is {found}, this adlake reads {FORMAT}; run the newer adlake")));
    }
    let stored: StoredDirectory = serde_json::from_slice(content).map_err(|error| damaged(error.to_string()))?;
    let mask_key = blake3::Hash::from_hex(&stored.mask_key).map_err(|_| damaged("mask_key is not 32 bytes of hex"))?;
    let snapshot = DirectorySnapshot {
        version,
        rights: [0; 32],
        mask_key: *mask_key.as_bytes(),
        users: stored.users.into_iter().map(|user| (user.name.clone(), Arc::new(user))).collect(),
        roles: stored.roles,
        tokens: stored.tokens.into_iter().map(|token| (token.id.clone(), Arc::new(token))).collect(),
        grants: stored.grants,
        policies: stored.policies,
        masks: stored.masks,
    };
    Ok(snapshot.with_rights())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What format 1 looks like. A change of this text is a new format.
    const PINNED: &str = r#"{
      "format": 1,
      "mask_key": "0101010101010101010101010101010101010101010101010101010101010101",
      "users": [{
        "name": "ann",
        "password": {"memory_kib": 19456, "passes": 2, "lanes": 1, "salt": "c2FsdA", "hash": "aGFzaA"},
        "roles": ["partner", "reader"],
        "attributes": {"region": "KR"},
        "disabled": false,
        "created_at": 1
      }],
      "roles": ["partner"],
      "tokens": [{
        "id": "0a0b0c0d0e0f",
        "user": "ann",
        "hash": "00",
        "scope": {"usage": "read", "roles": ["partner"], "objects": null},
        "created_at": 1,
        "expires_at": 2,
        "last_used_at": null
      }],
      "grants": [
        {"to": {"role": "partner"}, "privilege": "select", "on": {"relation": "t"}, "columns": ["a"]},
        {"to": {"user": "ann"}, "privilege": "insert", "on": "all", "columns": null},
        {"to": {"user": "ann"}, "privilege": "delete", "on": "schema", "columns": null},
        {"to": {"user": "ann"}, "privilege": "execute", "on": {"endpoint": "e"}, "columns": null}
      ],
      "policies": [{"relation": "t", "name": "own", "role": "partner", "predicate": "a = 1"}],
      "masks": [{"relation": "t", "column": "ip", "rule": "hash", "except": ["engineer"]}]
    }"#;

    #[test]
    fn format_1_is_read_and_written_as_ever() {
        let snapshot = decode(PINNED.as_bytes(), 7).unwrap();
        assert_eq!((snapshot.version, snapshot.users["ann"].roles.len()), (7, 2));
        let written: serde_json::Value = serde_json::from_slice(&encode(&snapshot).unwrap()).unwrap();
        let pinned: serde_json::Value = serde_json::from_str(PINNED).unwrap();
        assert_eq!(written, pinned);
    }

    /// Beside the hash of a password, where `auth.scram_iterations` asks for it. Documents without it are read as ever.
    #[test]
    fn a_verifier_for_scram_is_read_and_written_as_ever() {
        let scram = r#""hash": "aGFzaA", "scram": {"iterations": 4096, "salt": "c2FsdA==", "stored_key": "a2V5", "server_key": "a2V5"}"#;
        let pinned = PINNED.replacen(r#""hash": "aGFzaA""#, scram, 1);
        let written: serde_json::Value =
            serde_json::from_slice(&encode(&decode(pinned.as_bytes(), 7).unwrap()).unwrap()).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(&pinned).unwrap());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (from, to, says) in [
            ("\"format\": 1", "\"format\": 2", "its format is 2"),
            ("\"disabled\": false", "\"disabled\": false, \"quota\": 1", "unknown field"),
            ("\"policies\"", "\"polices\"", "unknown field"),
            ("0101", "01", "mask_key"),
            ("\"select\"", "\"selekt\"", "unknown variant"),
        ] {
            let text = PINNED.replacen(from, to, 1);
            let error = decode(text.as_bytes(), 1).unwrap_err().to_string();
            assert!(error.contains(says), "{to}: {error}");
        }
        assert!(decode(b"", 1).is_err());
    }
}
