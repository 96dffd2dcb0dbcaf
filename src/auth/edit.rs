//! Changes of the directory, as pure functions of the snapshot before.
//!
//! Names are checked here: what is granted to, scoped by or revoked from exists. What is granted *on* is not looked at, for that
//! is the catalog's; who may make a change is decided by the caller ([`Access`](super::Access)).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::AuthError;
use super::model::{DirectorySnapshot, Grant, Grantee, Mask, Policy, Token, User};
use super::password::PasswordHash;
use super::role::BUILT_IN_ROLES;
use crate::base::{Timestamp, suggestion};

/// Longest name of a user or role, in bytes; also of a key or value of an attribute.
const NAME_BYTES_MAX: usize = 256;

#[derive(Clone, Debug)]
pub enum Edit {
    CreateUser(User),
    AlterUser {
        name: String,
        change: UserChange,
    },
    /// With the user's tokens and grants.
    DropUser(String),
    CreateRole(String),
    /// With its grants; refused while a policy names it.
    DropRole(String),
    CreateToken(Token),
    DropToken(String),
    /// Times of use, by token.
    NoteUses(BTreeMap<String, Timestamp>),
    GrantRole {
        role: String,
        user: String,
    },
    RevokeRole {
        role: String,
        user: String,
    },
    Grant(Grant),
    Revoke(Grant),
    CreatePolicy(Policy),
    DropPolicy {
        relation: String,
        name: String,
    },
    SetMask(Mask),
    DropMask {
        relation: String,
        column: String,
    },
}

/// What ALTER USER changes; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    pub password: Option<PasswordHash>,
    /// Added or, with an empty value, removed.
    pub attributes: BTreeMap<String, String>,
    pub disabled: Option<bool>,
}

impl DirectorySnapshot {
    /// The snapshot after the change; its version is that of before.
    ///
    /// # Errors
    /// Something named that does not exist, or exists already; a change after which no admin could sign in.
    pub(super) fn edited(&self, edit: Edit) -> Result<Self, AuthError> {
        let mut next = self.clone();
        next.apply(edit)?;
        if self.admins().next().is_some() && next.admins().next().is_none() {
            let message = "this would leave no user with role admin; make another one first".to_owned();
            return Err(AuthError::InUse { message });
        }
        Ok(next)
    }

    fn apply(&mut self, edit: Edit) -> Result<(), AuthError> {
        match edit {
            Edit::CreateUser(user) => self.create_user(user),
            Edit::AlterUser { name, change } => self.alter_user(&name, change),
            Edit::DropUser(name) => self.drop_user(&name),
            Edit::CreateRole(name) => self.create_role(name),
            Edit::DropRole(name) => self.drop_role(&name),
            Edit::CreateToken(token) => self.create_token(token),
            Edit::DropToken(id) => match self.tokens.remove(&id) {
                Some(_) => Ok(()),
                None => Err(not_found("token", &id, self.tokens.keys())),
            },
            Edit::NoteUses(uses) => {
                for (id, at) in uses {
                    // A token dropped meanwhile needs no time.
                    if let Some(token) = self.tokens.get_mut(&id) {
                        Arc::make_mut(token).last_used_at = Some(at);
                    }
                }
                Ok(())
            }
            Edit::GrantRole { role, user } => {
                self.check_role(&role)?;
                self.user_mut(&user)?.roles.insert(role);
                Ok(())
            }
            Edit::RevokeRole { role, user } => match self.user_mut(&user)?.roles.remove(&role) {
                true => Ok(()),
                false => Err(AuthError::invalid(format!("user '{user}' does not have role '{role}'"))),
            },
            Edit::Grant(grant) => self.grant(grant),
            Edit::Revoke(grant) => self.revoke(&grant),
            Edit::CreatePolicy(policy) => self.create_policy(policy),
            Edit::DropPolicy { relation, name } => {
                let before = self.policies.len();
                self.policies.retain(|policy| policy.relation != relation || policy.name != name);
                match self.policies.len() < before {
                    true => Ok(()),
                    false => Err(not_found("policy", &name, self.policies.iter().map(|policy| &policy.name))),
                }
            }
            Edit::SetMask(mask) => {
                mask.except.iter().try_for_each(|role| self.check_role(role))?;
                self.masks.retain(|known| known.relation != mask.relation || known.column != mask.column);
                self.masks.insert(mask);
                Ok(())
            }
            Edit::DropMask { relation, column } => {
                let before = self.masks.len();
                self.masks.retain(|mask| mask.relation != relation || mask.column != column);
                match self.masks.len() < before {
                    true => Ok(()),
                    false => Err(AuthError::invalid(format!("column '{column}' of '{relation}' has no mask"))),
                }
            }
        }
    }

    fn create_user(&mut self, user: User) -> Result<(), AuthError> {
        check_name("user", &user.name)?;
        if self.users.contains_key(&user.name) {
            return Err(AuthError::Exists { kind: "user", name: user.name });
        }
        user.roles.iter().try_for_each(|role| self.check_role(role))?;
        check_attributes(&user.attributes)?;
        self.users.insert(user.name.clone(), Arc::new(user));
        Ok(())
    }

    fn alter_user(&mut self, name: &str, change: UserChange) -> Result<(), AuthError> {
        check_attributes(&change.attributes)?;
        let user = self.user_mut(name)?;
        if let Some(password) = change.password {
            user.password = Some(password);
        }
        if let Some(disabled) = change.disabled {
            user.disabled = disabled;
        }
        for (key, value) in change.attributes {
            match value.is_empty() {
                true => user.attributes.remove(&key),
                false => user.attributes.insert(key, value),
            };
        }
        Ok(())
    }

    fn drop_user(&mut self, name: &str) -> Result<(), AuthError> {
        if self.users.remove(name).is_none() {
            return Err(not_found("user", name, self.users.keys()));
        }
        self.tokens.retain(|_, token| token.user != name);
        self.grants.retain(|grant| grant.to != Grantee::User(name.to_owned()));
        Ok(())
    }

    fn create_role(&mut self, name: String) -> Result<(), AuthError> {
        check_name("role", &name)?;
        if self.has_role(&name) {
            return Err(AuthError::Exists { kind: "role", name });
        }
        self.roles.insert(name);
        Ok(())
    }

    fn drop_role(&mut self, name: &str) -> Result<(), AuthError> {
        if BUILT_IN_ROLES.contains(&name) {
            return Err(AuthError::invalid(format!("role '{name}' is built in and stays")));
        }
        if let Some(policy) = self.policies.iter().find(|policy| policy.role == name) {
            let Policy { name: policy, relation, .. } = policy;
            let message = format!("role '{name}' is named by policy '{policy}' on '{relation}'; drop that first");
            return Err(AuthError::InUse { message });
        }
        if !self.roles.remove(name) {
            return Err(not_found("role", name, self.roles.iter()));
        }
        self.grants.retain(|grant| grant.to != Grantee::Role(name.to_owned()));
        for user in self.users.values_mut().filter(|user| user.roles.contains(name)) {
            Arc::make_mut(user).roles.remove(name);
        }
        let masks = std::mem::take(&mut self.masks);
        self.masks = masks
            .into_iter()
            .map(|mut mask| {
                mask.except.remove(name);
                mask
            })
            .collect();
        Ok(())
    }

    fn create_token(&mut self, token: Token) -> Result<(), AuthError> {
        let user = self.user_mut(&token.user)?;
        if let Some(role) = token.scope.roles.iter().flatten().find(|role| !user.roles.contains(*role)) {
            return Err(AuthError::invalid(format!("user '{}' does not have role '{role}'", token.user)));
        }
        self.tokens.insert(token.id.clone(), Arc::new(token));
        Ok(())
    }

    fn grant(&mut self, grant: Grant) -> Result<(), AuthError> {
        self.check_grantee(&grant.to)?;
        self.grants.insert(grant);
        Ok(())
    }

    /// Takes the grant itself; without columns, also those of the same on some columns.
    fn revoke(&mut self, grant: &Grant) -> Result<(), AuthError> {
        self.check_grantee(&grant.to)?;
        let before = self.grants.len();
        self.grants.retain(|known| {
            let is_same = known.to == grant.to && known.privilege == grant.privilege && known.on == grant.on;
            !(is_same && (grant.columns.is_none() || known.columns == grant.columns))
        });
        match self.grants.len() < before {
            true => Ok(()),
            false => Err(AuthError::invalid("there is no such grant; SHOW GRANTS lists them")),
        }
    }

    fn create_policy(&mut self, policy: Policy) -> Result<(), AuthError> {
        check_name("policy", &policy.name)?;
        self.check_role(&policy.role)?;
        let is_same = |known: &&Policy| known.relation == policy.relation && known.name == policy.name;
        if self.policies.iter().any(|known| is_same(&known)) {
            return Err(AuthError::Exists { kind: "policy", name: policy.name });
        }
        self.policies.insert(policy);
        Ok(())
    }

    fn check_grantee(&self, grantee: &Grantee) -> Result<(), AuthError> {
        match grantee {
            Grantee::Role(role) => self.check_role(role),
            Grantee::User(user) if self.users.contains_key(user) => Ok(()),
            Grantee::User(user) => Err(not_found("user", user, self.users.keys())),
        }
    }

    fn check_role(&self, role: &str) -> Result<(), AuthError> {
        match self.has_role(role) {
            true => Ok(()),
            false => {
                let known: BTreeSet<String> =
                    self.roles.iter().cloned().chain(BUILT_IN_ROLES.map(str::to_owned)).collect();
                Err(not_found("role", role, known.iter()))
            }
        }
    }

    fn user_mut(&mut self, name: &str) -> Result<&mut User, AuthError> {
        if !self.users.contains_key(name) {
            return Err(not_found("user", name, self.users.keys()));
        }
        match self.users.get_mut(name) {
            Some(user) => Ok(Arc::make_mut(user)),
            None => Err(not_found("user", name, std::iter::empty())),
        }
    }
}

fn not_found<'n>(kind: &'static str, name: &str, known: impl Iterator<Item = &'n String>) -> AuthError {
    let suggestion = suggestion(name, known.map(String::as_str));
    AuthError::NotFound { kind, name: name.to_owned(), suggestion }
}

/// Names travel in headers (`name:password`) and logs.
fn check_name(kind: &str, name: &str) -> Result<(), AuthError> {
    let allowed = |character: char| !character.is_control() && !character.is_whitespace() && character != ':';
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(allowed) {
        true => Ok(()),
        false => Err(AuthError::invalid(format!(
            "'{name}' cannot be the name of a {kind}: it must not be empty, longer than {NAME_BYTES_MAX} bytes, nor contain \
             spaces or ':'"
        ))),
    }
}

fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<(), AuthError> {
    attributes.iter().try_for_each(|(key, value)| {
        check_name("attribute", key)?;
        match value.len() <= NAME_BYTES_MAX {
            true => Ok(()),
            false => {
                Err(AuthError::invalid(format!("the value of attribute '{key}' is longer than {NAME_BYTES_MAX} bytes")))
            }
        }
    })
}

#[cfg(test)]
#[path = "edit_tests.rs"]
pub(super) mod tests;
