//! Who calls, for every protocol: the credential of a call to the identity its session has, and what the edge decides by it.
//!
//! ```text
//! authorization: Basic | Bearer ─► Gate::enter, once more than auth.limits allow: no ─► Caller ─► Session (query decides) · check_insert (ingest is decided here)
//! ```
//! With authentication off every call is anybody's, and nothing is looked at.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;

use super::audit;
use super::error::Fault;
use crate::auth::{self, Access, AuthError, AuthMode, Authenticator, Credential, Identity, ScramExchange};
use crate::base::{Classify, Kind};
use crate::catalog::CatalogSnapshot;
use crate::query::{Origin, Session};

/// The user of sessions while authentication is off, unless they say another name.
pub const ANONYMOUS: &str = "anonymous";

/// Whose call it is; none = anybody's, for authentication is off. An extension of every request that has passed the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub Option<Identity>);

impl Caller {
    pub const ANYBODY: Self = Self(None);

    /// A session for this caller's statements.
    pub fn session(&self, id: impl Into<String>, origin: Origin) -> Arc<Session> {
        match &self.0 {
            None => Session::new(id, ANONYMOUS, origin),
            Some(identity) => Session::of_caller(id, identity.clone(), origin),
        }
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Option<Arc<Authenticator>>, &'static str);

impl Gate {
    /// Asks as `[auth] mode` says. `port` is what the audit calls it.
    pub fn new(authenticator: &Arc<Authenticator>, port: &'static str) -> Self {
        Self((authenticator.config().mode == AuthMode::On).then(|| authenticator.clone()), port)
    }

    /// None while authentication is off.
    pub fn authenticator(&self) -> Option<&Arc<Authenticator>> {
        self.0.as_ref()
    }

    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Whose call it is, by the value of its `authorization` header.
    ///
    /// # Errors
    /// `NoCredential`, `BadCredential`, `Throttled`; `TooOften`.
    pub async fn enter(&self, authorization: Option<&str>, from: Option<IpAddr>) -> Result<Caller, AuthError> {
        let entered = self.proved(authorization, from).await;
        if let (Some(authenticator), Err(error)) = (&self.0, &entered) {
            audit::refused(authenticator, (authorization.and_then(basic_user), from), self.1, error);
        }
        entered
    }

    /// Tells the audit of a call that was refused for want of a session.
    pub fn note_refusal(&self, error: &AuthError, from: Option<IpAddr>) {
        if let Some(authenticator) = &self.0 {
            audit::refused(authenticator, (None, from), self.1, error);
        }
    }

    async fn proved(&self, authorization: Option<&str>, from: Option<IpAddr>) -> Result<Caller, AuthError> {
        let Some(authenticator) = &self.0 else { return Ok(Caller::ANYBODY) };
        let header = authorization.ok_or(AuthError::NoCredential)?;
        let identity = if let Some(token) = bearer(header) {
            authenticator.identify(Credential::Token(token), from).await?
        } else if let Some(encoded) = of_scheme(header, "basic") {
            let (user, password) = basic(encoded).ok_or(AuthError::BadCredential)?;
            by_password(authenticator, (&user, &password), from).await?
        } else {
            return Err(AuthError::NoCredential);
        };
        authenticator.admit(&identity)?;
        Ok(Caller(Some(identity)))
    }

    /// Whose connection it is, by the name and password (or token of that user) that it came with.
    ///
    /// # Errors
    /// As [`Gate::enter`].
    pub async fn enter_by_password(&self, pair: (&str, &str), from: Option<IpAddr>) -> Result<Caller, AuthError> {
        let Some(authenticator) = &self.0 else { return Ok(Caller::ANYBODY) };
        let identified = by_password(authenticator, pair, from).await;
        let entered = identified.and_then(|identity| authenticator.admit(&identity).map(|()| identity));
        self.told((pair.0, from), entered).map(|identity| Caller(Some(identity)))
    }

    /// Whether passwords are proved by SCRAM where a protocol has it.
    pub fn takes_scram(&self) -> bool {
        self.0.as_ref().is_some_and(|authenticator| authenticator.config().scram_iterations > 0)
    }

    /// Begins such a proof; gives what the client is answered.
    ///
    /// # Errors
    /// `NoCredential` while nobody is asked; else as [`Authenticator::begin_scram`].
    pub fn begin_scram(
        &self,
        user: &str,
        message: &str,
        from: Option<IpAddr>,
    ) -> Result<(ScramExchange, String), AuthError> {
        let authenticator = self.0.as_ref().ok_or(AuthError::NoCredential)?;
        self.told((user, from), authenticator.begin_scram(user, message, from))
    }

    /// Whose connection it is, by the end of such a proof; and the server's own proof.
    ///
    /// # Errors
    /// As [`Gate::enter`].
    pub fn enter_by_scram(
        &self,
        exchange: ScramExchange,
        proved: (&str, &str),
        from: Option<IpAddr>,
    ) -> Result<(Caller, String), AuthError> {
        let authenticator = self.0.as_ref().ok_or(AuthError::NoCredential)?;
        let finished = authenticator.finish_scram(exchange, proved, from);
        let entered = finished.and_then(|finished| authenticator.admit(&finished.0).map(|()| finished));
        self.told((proved.0, from), entered).map(|(identity, proof)| (Caller(Some(identity)), proof))
    }

    /// Tells the audit of a sign-in that was refused.
    fn told<T>(&self, (user, from): (&str, Option<IpAddr>), entered: Result<T, AuthError>) -> Result<T, AuthError> {
        if let (Some(authenticator), Err(error)) = (&self.0, &entered) {
            audit::refused(authenticator, (Some(user.to_owned()), from), self.1, error);
        }
        entered
    }

    /// Lets a caller in again that was let in before.
    ///
    /// # Errors
    /// The user, token or password is no more; `TooOften`.
    pub fn enter_again(&self, caller: &Caller, from: Option<IpAddr>) -> Result<(), AuthError> {
        let admitted = self.access(caller).and_then(|_| match (&self.0, &caller.0) {
            (Some(authenticator), Some(identity)) => authenticator.admit(identity),
            _ => Ok(()),
        });
        if let (Some(authenticator), Err(error)) = (&self.0, &admitted) {
            audit::refused_again(authenticator, caller, (from, self.1), error);
        }
        admitted
    }

    /// What the caller may do now; none = everything.
    ///
    /// # Errors
    /// The user, token or password is no more.
    pub fn access(&self, caller: &Caller) -> Result<Option<Access>, AuthError> {
        match (&self.0, &caller.0) {
            (None, _) => Ok(None),
            (Some(authenticator), Some(identity)) => authenticator.directory().access(identity).map(Some),
            (Some(_), None) => Err(AuthError::NoCredential),
        }
    }

    /// Whether the caller may put rows into `table`.
    ///
    /// # Errors
    /// `Denied`; `NotFound`, as for a table that does not exist, when the caller may not even know of it.
    pub fn check_insert(&self, caller: &Caller, table: &str, catalog: &CatalogSnapshot) -> Result<(), Fault> {
        let access = self.access(caller).map_err(|error| Fault::from(&error))?;
        may_insert(access.as_ref(), table, catalog)
    }
}

/// Whether rows may be put into `table` by what the caller may do; none = everything.
///
/// # Errors
/// As [`Gate::check_insert`].
pub fn may_insert(access: Option<&Access>, table: &str, catalog: &CatalogSnapshot) -> Result<(), Fault> {
    match access {
        None => Ok(()),
        Some(access) if access.may_insert(table) && catalog.relations.contains_key(table) => Ok(()),
        Some(access) if access.may_see(table) && catalog.relations.contains_key(table) => {
            Err(Fault::new(Kind::PermissionDenied, format!("you may not put rows into '{table}'")))
        }
        Some(_) => Err(Fault::new(Kind::NotFound, format!("table or view '{table}' not found"))),
    }
}

/// The token of an `authorization` header of scheme Bearer (RFC 6750).
pub fn bearer(header: &str) -> Option<&str> {
    of_scheme(header, "bearer")
}

/// The name in an `authorization` header of scheme Basic, for lists of statements; no password is looked at.
pub fn basic_user(header: &str) -> Option<String> {
    of_scheme(header, "basic").and_then(basic).map(|(user, _)| user)
}

fn of_scheme<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, value) = header.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| value.trim())
}

/// Whose name and password these are. Clients that know only names and passwords send a token as the password: whether there is
/// such a user is not asked, since how many attempts are free would tell.
async fn by_password(
    authenticator: &Authenticator,
    (user, password): (&str, &str),
    from: Option<IpAddr>,
) -> Result<Identity, AuthError> {
    if !auth::is_ours(password) {
        return authenticator.identify(Credential::Password { user, password }, from).await;
    }
    let found = authenticator.identify(Credential::Token(password), from).await?;
    match found.user == user {
        true => Ok(found),
        false => Err(AuthError::BadCredential),
    }
}

/// Name and password of Basic credentials (RFC 7617).
fn basic(encoded: &str) -> Option<(String, String)> {
    // ADBC leaves the padding out, JDBC does not.
    let decoded = base64::engine::general_purpose::STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty()).then(|| (user.to_owned(), password.to_owned()))
}

impl From<&AuthError> for Fault {
    fn from(error: &AuthError) -> Self {
        Self { retry_after: error.retry_after(), ..Self::new(error.kind(), error.public_message()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_have_a_name_and_may_hold_colons() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(basic("YW5uOnNlY3JldA=="), pair("ann", "secret"));
        assert_eq!(basic("YW5uOmE6Yg"), pair("ann", "a:b"));
        for wrong in ["", "!", "YW5u", "OnNlY3JldA=="] {
            assert_eq!(basic(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_header_is_of_one_scheme_in_any_case() {
        assert_eq!(basic_user("bAsIc  YW5uOnNlY3JldA== "), Some("ann".to_owned()));
        assert_eq!(bearer("BEARER  x "), Some("x"));
        for other in ["", "x", "Basic", "Digest YW5uOnNlY3JldA=="] {
            assert_eq!((basic_user(other), bearer(other)), (None, None), "{other}");
        }
    }
}
