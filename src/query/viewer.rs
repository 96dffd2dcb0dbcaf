//! For whom a statement runs: the one place where query asks `auth` what they may see.

use std::sync::Arc;

use super::engine::Inner;
use super::planner::unreadable;
use super::running::{Principal, Run};
use super::{QueryError, Session};
use crate::auth::{Access, Allowance, Reading};
use crate::base::suggestion;
use crate::catalog::CatalogSnapshot;

/// The process itself (and everybody, while authentication is off), or a caller with what they may do at this moment.
#[derive(Clone)]
pub(super) struct Viewer {
    user: String,
    access: Option<Arc<Access>>,
    rights: Rights,
}

/// By whose right the names in a statement's own text are read; names inside views are always read by their definers'.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rights {
    Own,
    /// Of who made the endpoint that is called.
    Definer,
}

impl Viewer {
    /// Sees everything.
    pub(super) fn trusted() -> Self {
        Self { user: "adlake".to_owned(), access: None, rights: Rights::Own }
    }

    /// # Errors
    /// The session's user or token is no more, or no longer valid; an endpoint the caller may not call.
    pub(super) fn of(engine: &Inner, session: &Session, endpoint: Option<&str>) -> Result<Self, QueryError> {
        let user = session.user.clone();
        let Some(identity) = &session.caller else { return Ok(Self { user, ..Self::trusted() }) };
        let access = engine.authenticator()?.directory().access(identity)?;
        let rights = match endpoint {
            None => Rights::Own,
            Some(name) if access.may_call(name) => Rights::Definer,
            Some(name) => return Err(QueryError::NotFound { message: format!("endpoint '{name}' not found") }),
        };
        Ok(Self { user, access: Some(Arc::new(access)), rights })
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn attributes(&self) -> std::collections::BTreeMap<String, String> {
        self.access.as_ref().map(|access| access.attributes().clone()).unwrap_or_default()
    }

    /// None: the process itself.
    pub(super) fn caller(&self) -> Option<&Arc<Access>> {
        self.access.as_ref()
    }

    /// What of a relation the statement's own text may name.
    pub(super) fn reading(&self, relation: &str) -> Reading {
        match (&self.access, self.rights) {
            (None, _) | (_, Rights::Definer) => Reading::All,
            (Some(access), Rights::Own) => access.reading(relation),
        }
    }

    /// Whether the viewer may know that there is a relation of this name.
    pub(super) fn may_see(&self, relation: &str) -> bool {
        self.access.as_ref().is_none_or(|access| access.may_see(relation))
    }

    pub(super) fn is_engineer(&self) -> bool {
        self.access.as_ref().is_none_or(|access| access.is_engineer())
    }

    pub(super) fn may_administer(&self) -> bool {
        self.access.as_ref().is_none_or(|access| access.may_administer())
    }

    /// Whether policies hide rows of the relation itself.
    pub(super) fn has_policies(&self, relation: &str) -> bool {
        self.access.as_ref().is_some_and(|access| access.has_policies(relation))
    }

    /// Whether policies or masks change what is seen of a relation, of itself or of what it is made from.
    pub(super) fn is_restricted(&self, catalog: &CatalogSnapshot, relation: &str) -> bool {
        let Some(access) = &self.access else { return false };
        catalog.with_all_below(relation).into_iter().any(|name| access.is_restricted(name))
    }

    /// Whether the whole relation, and everything it is made from, is there to see, names and counts included.
    pub(super) fn sees_whole(&self, catalog: &CatalogSnapshot, relation: &str) -> bool {
        let Some(access) = &self.access else { return true };
        let whole = |name: &str| access.reading(name) == Reading::All && !access.is_restricted(name);
        catalog.with_all_below(relation).into_iter().all(whole)
    }

    /// Whether there is nothing of any relation, also of those that are gone, that the viewer may not see.
    pub(super) fn sees_all(&self) -> bool {
        self.access.as_ref().is_none_or(|access| access.sees_all())
    }

    /// Whose statements wait and run beside each other.
    pub(super) fn principal(&self) -> Option<Principal> {
        self.access.as_ref().map(|access| Principal::of(access.identity()))
    }

    /// Whether a statement that somebody runs, or ran, is this viewer's to know.
    pub(super) fn may_see_run(&self, run: &Run) -> bool {
        let Some(access) = &self.access else { return true };
        access.may_administer() || run.caller == self.principal()
    }

    /// "Not found", with a suggestion among what the viewer may see.
    pub(super) fn not_found(&self, relation: &str, catalog: &CatalogSnapshot) -> QueryError {
        let known = catalog.relations.keys().map(String::as_str).filter(|name| self.may_see(name));
        let hint = suggestion(relation, known);
        QueryError::NotFound { message: format!("table or view '{relation}' not found{hint}") }
    }

    /// What this viewer is told of a relation that cannot be planned: the names below it are for those who make views.
    pub(super) fn told(&self, error: QueryError, relation: &str, catalog: &CatalogSnapshot) -> QueryError {
        match self.is_engineer() || !catalog.relations.contains_key(relation) {
            true => error,
            false => unreadable(relation, error),
        }
    }

    /// How much the viewer may ask for.
    pub(super) fn allowance(&self, engine: &Inner) -> Allowance {
        match (&self.access, engine.authenticator()) {
            (Some(access), Ok(authenticator)) => authenticator.config().limits.of(access.roles()),
            _ => Allowance::default(),
        }
    }

    /// Tells answers of different viewers apart.
    pub(super) fn fingerprint(&self) -> Option<String> {
        self.access.as_ref().map(|access| access.fingerprint())
    }
}
