//! What one caller may do, by one snapshot of the directory. Pure; worked out for every statement.
//!
//! Rights add up: a caller has those of every role and of the user. Restrictions do not fall away with them: a relation with a
//! policy shows a row only where a policy of one of the caller's roles holds, a masked column is masked unless one of the roles
//! is excepted. A token's scope only takes away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::authenticate::{External, Identity};
use super::error::AuthError;
use super::model::{DirectorySnapshot, Grant, Grantee, MaskRule, Policy, Privilege, Scope, ScopeUse, Subject};
use super::password::PasswordHash;
use super::role::{ADMIN, ANALYST, ENGINEER, INGEST};
use super::store::Directory;
use crate::base::Timestamp;

/// What of a relation a caller may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    Nothing,
    Columns(BTreeSet<String>),
    All,
}

/// Which rows of a relation a caller sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    All,
    /// Those for which one of the predicates is true; none of them = none.
    Where(Vec<Policy>),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Access {
    identity: Identity,
    roles: BTreeSet<String>,
    attributes: BTreeMap<String, String>,
    scope: Scope,
    snapshot: Arc<DirectorySnapshot>,
}

impl Directory {
    /// What `identity` may do now.
    ///
    /// # Errors
    /// `BadCredential` when the user is gone or disabled, the token is gone or has expired, or the password is another now.
    pub fn access(&self, identity: &Identity) -> Result<Access, AuthError> {
        Access::new(self.snapshot(), identity, self.clock().now())
    }
}

impl Access {
    /// # Errors
    /// As [`Directory::access`].
    pub(super) fn new(
        snapshot: Arc<DirectorySnapshot>,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Self, AuthError> {
        if let Some(external) = &identity.external {
            return Self::of_external(snapshot, identity, external, now);
        }
        let user = snapshot.users.get(&identity.user).filter(|user| !user.disabled).ok_or(AuthError::BadCredential)?;
        let scope = match &identity.token {
            // The password it was proved by has to be that of now.
            None => match identity.password.as_deref() == user.password.as_ref().map(PasswordHash::salt) {
                true => Scope::default(),
                false => return Err(AuthError::BadCredential),
            },
            Some(id) => {
                let token = snapshot.tokens.get(id).filter(|token| token.user == identity.user);
                token.filter(|token| token.expires_at > now).ok_or(AuthError::BadCredential)?.scope.clone()
            }
        };
        let within = |role: &&String| scope.roles.as_ref().is_none_or(|roles| roles.contains(*role));
        let roles = user.roles.iter().filter(within).cloned().collect();
        let attributes = user.attributes.clone();
        Ok(Self { identity: identity.clone(), roles, attributes, scope, snapshot })
    }

    /// A user of an identity provider has the roles it says, as far as there are such roles, and no grants of a user's name.
    fn of_external(
        snapshot: Arc<DirectorySnapshot>,
        identity: &Identity,
        external: &External,
        now: Timestamp,
    ) -> Result<Self, AuthError> {
        if external.expires_at <= now {
            return Err(AuthError::BadCredential);
        }
        let roles = external.roles.iter().filter(|role| snapshot.has_role(role)).cloned().collect();
        let attributes = external.attributes.clone();
        Ok(Self { identity: identity.clone(), roles, attributes, scope: Scope::default(), snapshot })
    }

    pub fn user(&self) -> &str {
        &self.identity.user
    }

    /// Whether it is a user of the directory, not one of the identity provider's, who may have the same name.
    pub fn is_ours(&self) -> bool {
        self.identity.external.is_none()
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn roles(&self) -> &BTreeSet<String> {
        &self.roles
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    pub fn snapshot(&self) -> &Arc<DirectorySnapshot> {
        &self.snapshot
    }

    fn has(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    /// Everything, without policies and masks.
    pub fn is_admin(&self) -> bool {
        self.has(ADMIN)
    }

    /// May make, change and maintain objects, and see how the server is. A token for less than everything may not.
    pub fn is_engineer(&self) -> bool {
        (self.is_admin() || self.has(ENGINEER)) && self.is_whole()
    }

    /// May change users, roles, grants and policies.
    pub fn may_administer(&self) -> bool {
        self.is_admin() && self.is_whole()
    }

    /// May make tokens for itself: a token that is scoped must not beget one that is not.
    pub fn may_make_tokens(&self) -> bool {
        self.is_whole() && self.scope.roles.is_none() && self.is_ours()
    }

    fn is_whole(&self) -> bool {
        self.scope.usage == ScopeUse::Everything && self.scope.objects.is_none()
    }

    /// Which columns of a table or view may be read. Of a view: all it gives, whatever it reads itself.
    pub fn reading(&self, relation: &str) -> Reading {
        if !self.in_scope(ScopeUse::Read, relation) {
            return Reading::Nothing;
        }
        if [ADMIN, ENGINEER, ANALYST].iter().any(|role| self.has(role)) {
            return Reading::All;
        }
        let mut columns = BTreeSet::new();
        for grant in self.grants(Privilege::Select).filter(|grant| grant.on.covers_relation(relation)) {
            match &grant.columns {
                None => return Reading::All,
                Some(some) => columns.extend(some.iter().cloned()),
            }
        }
        if columns.is_empty() { Reading::Nothing } else { Reading::Columns(columns) }
    }

    pub fn may_call(&self, endpoint: &str) -> bool {
        self.in_scope(ScopeUse::Read, endpoint)
            && ([ADMIN, ENGINEER, ANALYST].iter().any(|role| self.has(role))
                || self.grants(Privilege::Execute).any(|grant| grant.on.covers_endpoint(endpoint)))
    }

    pub fn may_insert(&self, table: &str) -> bool {
        self.in_scope(ScopeUse::Ingest, table)
            && ([ADMIN, ENGINEER, INGEST].iter().any(|role| self.has(role))
                || self.grants(Privilege::Insert).any(|grant| grant.on.covers_relation(table)))
    }

    /// Of the rows it sees; which rows those are is told apart by reading them, so that is asked for too. No token that is for
    /// reading or for putting rows in takes rows out.
    pub fn may_delete(&self, table: &str) -> bool {
        self.in_scope(ScopeUse::Everything, table)
            && ([ADMIN, ENGINEER].iter().any(|role| self.has(role))
                || self.grants(Privilege::Delete).any(|grant| grant.on.covers_relation(table)))
    }

    /// Whether the caller may know that there is a relation of this name.
    pub fn may_see(&self, relation: &str) -> bool {
        self.reading(relation) != Reading::Nothing || self.may_insert(relation) || self.may_delete(relation)
    }

    /// Which rows of a relation are seen, wherever it is read.
    pub fn rows(&self, relation: &str) -> Rows {
        match self.has_policies(relation) {
            false => Rows::All,
            true => Rows::Where(self.policies(relation).filter(|policy| self.has(&policy.role)).cloned().collect()),
        }
    }

    /// Whether policies decide which rows of the relation are seen.
    pub fn has_policies(&self, relation: &str) -> bool {
        !self.is_admin() && self.policies(relation).next().is_some()
    }

    /// Columns of a relation that are not shown as they are, wherever it is read.
    pub fn masks(&self, relation: &str) -> Vec<(&str, MaskRule)> {
        if self.is_admin() {
            return Vec::new();
        }
        let masks = self.snapshot.masks.iter().filter(|mask| mask.relation == relation);
        let holding = masks.filter(|mask| !mask.except.iter().any(|role| self.has(role)));
        holding.map(|mask| (mask.column.as_str(), mask.rule)).collect()
    }

    /// Whether the relation's rows or values are not what they are for everybody.
    pub fn is_restricted(&self, relation: &str) -> bool {
        self.has_policies(relation) || !self.masks(relation).is_empty()
    }

    /// Whether everything of every relation is there to see, whatever its name.
    pub fn sees_all(&self) -> bool {
        let policies = self.snapshot.policies.iter().map(|policy| policy.relation.as_str());
        let masks = self.snapshot.masks.iter().map(|mask| mask.relation.as_str());
        let is_restricted = policies.chain(masks).any(|relation| self.is_restricted(relation));
        // A name that no grant is on.
        self.scope.objects.is_none() && !is_restricted && self.reading("") == Reading::All
    }

    /// Two accesses with the same fingerprint see the same of everything.
    pub fn fingerprint(&self) -> String {
        let whose = (self.user(), self.is_ours());
        let parts = (whose, &self.roles, &self.attributes, &self.scope, &self.snapshot.rights);
        blake3::hash(format!("{parts:?}").as_bytes()).to_hex().to_string()
    }

    fn in_scope(&self, usage: ScopeUse, name: &str) -> bool {
        (self.scope.usage == ScopeUse::Everything || self.scope.usage == usage)
            && self.scope.objects.as_ref().is_none_or(|objects| objects.contains(name))
    }

    /// For whomever they are.
    fn policies(&self, relation: &str) -> impl Iterator<Item = &Policy> {
        self.snapshot.policies.iter().filter(move |policy| policy.relation == relation)
    }

    fn grants(&self, privilege: Privilege) -> impl Iterator<Item = &Grant> {
        self.snapshot.grants.iter().filter(move |grant| {
            grant.privilege == privilege
                && match &grant.to {
                    Grantee::Role(role) => self.has(role),
                    // A token for some roles has only what those have.
                    Grantee::User(user) => *user == self.identity.user && self.scope.roles.is_none() && self.is_ours(),
                }
        })
    }
}

impl Subject {
    fn covers_relation(&self, name: &str) -> bool {
        match self {
            Self::Relation(relation) => relation == name,
            Self::Schema | Self::All => true,
            Self::Endpoint(_) => false,
        }
    }

    fn covers_endpoint(&self, name: &str) -> bool {
        match self {
            Self::Endpoint(endpoint) => endpoint == name,
            Self::All => true,
            Self::Relation(_) | Self::Schema => false,
        }
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
