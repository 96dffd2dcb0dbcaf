//! What the directory keeps: users, custom roles, tokens, grants, policies, masks.
//!
//! These types are also the stored form (`stored`): a change of a field is a change of the document's format.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::password::PasswordHash;
use super::role::{ADMIN, BUILT_IN_ROLES};
use crate::base::Timestamp;

/// All of it at one version; 0 = nothing was ever stored.
#[derive(Clone, Debug, Default)]
pub struct DirectorySnapshot {
    pub version: u64,
    /// Hash of what decides about all callers: see [`DirectorySnapshot::with_rights`].
    pub(super) rights: [u8; 32],
    /// Makes hashes of masked values unguessable; made with the first change, never shown.
    pub(super) mask_key: [u8; 32],
    pub users: BTreeMap<String, Arc<User>>,
    /// Custom roles.
    pub roles: BTreeSet<String>,
    /// By id.
    pub tokens: BTreeMap<String, Arc<Token>>,
    pub grants: BTreeSet<Grant>,
    pub policies: BTreeSet<Policy>,
    pub masks: BTreeSet<Mask>,
}

impl DirectorySnapshot {
    pub fn has_role(&self, role: &str) -> bool {
        BUILT_IN_ROLES.contains(&role) || self.roles.contains(role)
    }

    /// Users who can change users.
    pub fn admins(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values().filter(|user| !user.disabled && user.roles.contains(ADMIN))
    }

    pub fn mask_key(&self) -> [u8; 32] {
        self.mask_key
    }

    /// The same, with `rights` being those of now: while they stay, callers of the same roles, attributes and scope may do and see
    /// the same. Users and tokens are no part of it.
    pub(super) fn with_rights(self) -> Self {
        let parts = (&self.roles, &self.grants, &self.policies, &self.masks, &self.mask_key);
        let rights = *blake3::hash(format!("{parts:?}").as_bytes()).as_bytes();
        Self { rights, ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    /// None: signs in with tokens only.
    pub password: Option<PasswordHash>,
    pub roles: BTreeSet<String>,
    /// What `current_attribute('…')` gives.
    pub attributes: BTreeMap<String, String>,
    pub disabled: bool,
    pub created_at: Timestamp,
}

/// A personal token; the secret itself is known to its owner alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub id: String,
    pub user: String,
    /// BLAKE3 of the secret, in hex. The secret is 256 random bits, so nothing is gained by a slow hash.
    pub hash: String,
    pub scope: Scope,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// To the hour.
    pub last_used_at: Option<Timestamp>,
}

/// What of its user's permissions a token carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    pub usage: ScopeUse,
    /// Only these roles of the user; none = all.
    pub roles: Option<BTreeSet<String>>,
    /// Only these tables, views and endpoints; none = all.
    pub objects: Option<BTreeSet<String>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeUse {
    /// Whatever the user may do.
    #[default]
    Everything,
    /// Queries and endpoints.
    Read,
    /// Rows in.
    Ingest,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grantee {
    Role(String),
    User(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    Select,
    Insert,
    /// Rows of a table, those the grantee sees.
    Delete,
    /// Of an endpoint.
    Execute,
}

impl Privilege {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Delete => "DELETE",
            Self::Execute => "EXECUTE",
        }
    }
}

/// What a grant is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A table, view or materialized view. The name: dropped and made again, the grant holds again.
    Relation(String),
    Endpoint(String),
    /// All tables and views, also later ones.
    Schema,
    /// All tables, views and endpoints, also later ones.
    All,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub to: Grantee,
    pub privilege: Privilege,
    pub on: Subject,
    /// Of a relation's SELECT; none = all columns, also later ones.
    pub columns: Option<BTreeSet<String>>,
}

/// `CREATE POLICY name ON relation TO ROLE role USING (predicate)`. A relation with a policy shows a row only to `admin`, and to
/// those for one of whose roles a policy's predicate is true.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub relation: String,
    pub name: String,
    pub role: String,
    /// SQL over the relation's columns.
    pub predicate: String,
}

/// A column whose values are not shown as they are, to anybody but `admin` and the roles excepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    pub relation: String,
    pub column: String,
    pub rule: MaskRule,
    pub except: BTreeSet<String>,
}

/// What is shown instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskRule {
    /// NULL.
    Null,
    /// A keyed hash of text: equal values stay equal, and nothing else can be told of them.
    Hash,
}
