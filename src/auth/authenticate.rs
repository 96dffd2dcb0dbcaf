//! Credentials to identities.
//!
//! ```text
//! Basic  ─► verified lately? ─► yes ───────────────────────────────────────────────┐
//!                └► no: throttle ─► Argon2id on a blocking thread, a few at a time ─┴─► Identity
//! Bearer ─► id ─► stored hash, constant time ─► not expired ────────────────────────┤
//!        └► JWT of an identity provider (`jwt`) ────────────────────────────────────┘
//! ```
//! A wrong name costs what a wrong password costs, and says the same. What the identity may do is not here ([`Access`]).
//!
//! [`Access`]: super::Access

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::audit::AuditLog;
use super::config::AuthConfig;
use super::error::AuthError;
use super::jwt::JwtVerifier;
use super::limits::Rates;
use super::model::Token;
use super::password::{Cost, PasswordHash, hash_password};
use super::recent::Recent;
use super::scram::{self, ScramExchange};
use super::secret;
use super::store::Directory;
use super::throttle::{Attempt, Throttle};
use super::verified::Verified;
use crate::base::Timestamp;
use crate::telemetry::metrics;

/// What a call brings along.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    Password {
        user: &'a str,
        password: &'a str,
    },
    /// `Bearer …`
    Token(&'a str),
}

/// A caller whose credential was right. It names the user and how it was proved; whether that still holds is asked for every
/// statement ([`Directory::access`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub user: String,
    /// The token it was proved by; none = by password.
    pub token: Option<String>,
    /// The salt of the hash that the password was proved against: another password, or another user of this name, has another.
    pub password: Option<String>,
    /// What an identity provider says of a user who is not one of ours.
    pub external: Option<Arc<External>>,
}

impl Identity {
    /// A user of ours who has no password, and came without a token.
    pub fn of_user(name: impl Into<String>) -> Self {
        Self { user: name.into(), token: None, password: None, external: None }
    }
}

/// A user by the word of an identity provider: no user of the directory, also where the names are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct External {
    pub roles: BTreeSet<String>,
    pub attributes: BTreeMap<String, String>,
    pub expires_at: Timestamp,
}

/// Checks credentials against a directory.
pub struct Authenticator {
    directory: Arc<Directory>,
    config: AuthConfig,
    throttle: Arc<Throttle>,
    verified: Verified,
    jwt: Option<Arc<JwtVerifier>>,
    /// By hash of the token.
    verified_jwt: Mutex<Recent<[u8; 32], Identity>>,
    rates: Rates,
    cost: Cost,
    /// Work with Argon2 at the same time.
    checks: Arc<Semaphore>,
    audit: OnceLock<Arc<AuditLog>>,
    /// Of a password nobody has: what names without a user are checked against.
    nobody: OnceLock<PasswordHash>,
}

impl Authenticator {
    /// # Errors
    /// Parameters of `[auth]` that Argon2 does not take, or too few iterations for SCRAM.
    pub fn new(directory: Arc<Directory>, config: &AuthConfig) -> Result<Arc<Self>, AuthError> {
        scram::check_iterations(config.scram_iterations)?;
        Ok(Arc::new(Self {
            directory,
            throttle: Arc::new(Throttle::new(config)),
            verified: Verified::new(config.verified_max)?,
            jwt: JwtVerifier::new(&config.jwt)?,
            verified_jwt: Mutex::new(Recent::new(config.verified_max)),
            rates: Rates::default(),
            cost: Cost::of(config)?,
            checks: Arc::new(Semaphore::new(config.password_checks.max(1))),
            audit: OnceLock::new(),
            nobody: OnceLock::new(),
            config: config.clone(),
        }))
    }

    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Whose credential it is. `from` is the caller's address, when there is one.
    ///
    /// # Errors
    /// `BadCredential` for every reason; `Throttled` after too many failures.
    pub async fn identify(&self, credential: Credential<'_>, from: Option<IpAddr>) -> Result<Identity, AuthError> {
        let (method, found) = match credential {
            Credential::Password { user, password } => ("password", self.by_password(user, password, from).await),
            Credential::Token(token) => ("token", self.by_token(token, from)),
        };
        if let Err(error) = &found {
            metrics().count("auth_failures", "Sign-ins refused", &[("method", method)], 1);
            tracing::info!(method, from = ?from, %error, "sign-in refused");
        }
        found
    }

    async fn by_password(&self, user: &str, password: &str, from: Option<IpAddr>) -> Result<Identity, AuthError> {
        let known = self.directory.snapshot().users.get(user).filter(|user| !user.disabled).cloned();
        let stored = known.and_then(|known| known.password.clone());
        let proved_by =
            |stored: &PasswordHash| Identity { password: Some(stored.salt().to_owned()), ..Identity::of_user(user) };
        if let Some(stored) = stored.as_ref().filter(|stored| self.verified.is_known(user, password, stored)) {
            return Ok(proved_by(stored));
        }
        self.throttle.begin(Some(user), from, self.directory.clock().now())?;
        let against = match &stored {
            Some(stored) => stored.clone(),
            None => self.nobody().await?,
        };
        let given = password.to_owned();
        let fits = self.off_thread(move || against.fits(&given)).await?;
        match stored.filter(|_| fits) {
            Some(stored) => {
                self.throttle.succeeded(Some(user), from, self.directory.clock().now());
                self.verified.remember(user, password, &stored);
                Ok(proved_by(&stored))
            }
            None => Err(AuthError::BadCredential),
        }
    }

    /// Begins a proof by SCRAM-SHA-256 with the client's first message; the answer is the server's. For a name without a user, or
    /// one whose password has no verifier, it goes on as for others and fails at its end.
    ///
    /// # Errors
    /// `Throttled`; `BadCredential` for a message that is none.
    pub fn begin_scram(
        &self,
        user: &str,
        message: &str,
        from: Option<IpAddr>,
    ) -> Result<(ScramExchange, String), AuthError> {
        let attempt = self.throttle.begin_slowly(user, from, self.directory.clock())?;
        let snapshot = self.directory.snapshot();
        let known = snapshot.users.get(user).filter(|user| !user.disabled);
        let stored = known.and_then(|known| known.password.clone());
        let key = snapshot.mask_key();
        // Looked for whoever it is, so that it takes as long.
        let verifiers = snapshot.users.values().filter_map(|known| known.password.as_ref()?.scram.as_ref());
        let iterations = scram::iterations_of_nobody(user, &key, verifiers).unwrap_or(self.config.scram_iterations);
        let (exchange, answer) = ScramExchange::begin((user, stored), (&key, iterations), message)?;
        Ok((exchange.counted(attempt), answer))
    }

    /// Ends it with the client's proof: whose it is, and the server's proof.
    ///
    /// # Errors
    /// `BadCredential` for every reason; `Throttled` when others have failed meanwhile.
    pub fn finish_scram(
        &self,
        mut exchange: ScramExchange,
        (user, message): (&str, &str),
        from: Option<IpAddr>,
    ) -> Result<(Identity, String), AuthError> {
        let counted = exchange.attempt().map_or(Ok(()), Attempt::end);
        let proof = counted.and_then(|()| exchange.finish(message)).inspect_err(|error| {
            metrics().count("auth_failures", "Sign-ins refused", &[("method", "scram")], 1);
            tracing::info!(method = "scram", ?from, %error, "sign-in refused");
        })?;
        self.throttle.succeeded(Some(user), from, self.directory.clock().now());
        let password = exchange.password().map(str::to_owned);
        Ok((Identity { password, ..Identity::of_user(user) }, proof))
    }

    async fn nobody(&self) -> Result<PasswordHash, AuthError> {
        if let Some(known) = self.nobody.get() {
            return Ok(known.clone());
        }
        let random: [u8; 32] = secret::random()?;
        let (password, cost) = (secret::hex(&random), self.cost);
        let hash = self.off_thread(move || hash_password(&password, 0, cost)).await??;
        Ok(self.nobody.get_or_init(|| hash).clone())
    }

    fn by_token(&self, text: &str, from: Option<IpAddr>) -> Result<Identity, AuthError> {
        let now = self.directory.clock().now();
        if let Some(jwt) = self.jwt.as_ref().filter(|_| !secret::is_ours(text)) {
            return self.by_jwt(jwt, text, (from, now));
        }
        let snapshot = self.directory.snapshot();
        let found = secret::parts(text).and_then(|(id, secret)| {
            let token = snapshot.tokens.get(id)?;
            (secret::fits(secret, &token.hash) && token.expires_at > now).then_some(token)
        });
        match found {
            Some(token) => {
                self.directory.note_use(token, now);
                Ok(of_token(token))
            }
            None => {
                self.throttle.begin(None, from, now)?;
                Err(AuthError::BadCredential)
            }
        }
    }

    fn by_jwt(
        &self,
        jwt: &JwtVerifier,
        text: &str,
        (from, now): (Option<IpAddr>, Timestamp),
    ) -> Result<Identity, AuthError> {
        let hash = *blake3::hash(text.as_bytes()).as_bytes();
        let holds = |identity: &Identity| identity.external.as_ref().is_some_and(|external| external.expires_at > now);
        let known = self.verified_jwt.lock().get(&hash).filter(holds);
        if let Some(known) = known {
            return Ok(known);
        }
        match jwt.verify(text, now) {
            Ok(identity) => {
                self.verified_jwt.lock().put(hash, identity.clone());
                Ok(identity)
            }
            Err(error) => {
                self.throttle.begin(None, from, now)?;
                Err(error)
            }
        }
    }

    /// Whether an identity provider is configured, whose keys have to be handed in.
    pub fn takes_jwt(&self) -> bool {
        self.jwt.is_some()
    }

    /// Takes over the identity provider's key set; tokens verified with another are verified again.
    ///
    /// # Errors
    /// A document without usable keys: the ones before stay.
    pub fn set_jwt_keys(&self, document: &[u8]) -> Result<(), AuthError> {
        if let Some(jwt) = &self.jwt {
            jwt.set_keys(document)?;
            self.verified_jwt.lock().clear();
        }
        Ok(())
    }

    /// Hashes a new password off the I/O threads.
    ///
    /// # Errors
    /// Too short, too long; not ASCII, where SCRAM is to prove it.
    pub async fn hash(&self, password: String) -> Result<PasswordHash, AuthError> {
        let (length_min, cost) = (self.config.password_length_min, self.cost);
        let iterations = self.config.scram_iterations;
        let work = move || hash_password(&password, length_min, cost)?.provable(&password, iterations);
        self.off_thread(work).await?
    }

    /// Works where blocking is allowed, `auth.password_checks` at a time. A caller who leaves does not stop the work, which keeps
    /// its place until it is done: leaving and asking again gains no more memory or time.
    async fn off_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, AuthError> {
        let place = self.checks.clone().acquire_owned().await.map_err(|_| AuthError::BadCredential)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        done.await.map_err(|_| AuthError::Internal { message: "working on a password failed".to_owned() })
    }

    /// Counts a request of a caller.
    ///
    /// # Errors
    /// `TooOften` when their roles allow no more; `BadCredential` when the user or token is no more.
    pub fn admit(&self, identity: &Identity) -> Result<(), AuthError> {
        if self.config.limits.requests_per_second.is_empty() {
            return Ok(());
        }
        let access = self.directory.access(identity)?;
        match self.config.limits.of(access.roles()).requests_per_second {
            None => Ok(()),
            Some(most) => self.rates.take(identity, most, self.directory.clock().now()).inspect_err(|_| {
                metrics().count("requests_limited", "Requests refused: too many in a second", &[], 1);
            }),
        }
    }

    /// What callers do is recorded there from now on; a second call changes nothing.
    pub fn record_in(&self, audit: Arc<AuditLog>) {
        if self.audit.set(audit).is_err() {
            tracing::error!("the audit was begun twice; the first stays");
        }
    }

    /// None: nothing is recorded.
    pub fn audit(&self) -> Option<&Arc<AuditLog>> {
        self.audit.get()
    }

    pub fn config(&self) -> &AuthConfig {
        &self.config
    }
}

fn of_token(token: &Token) -> Identity {
    Identity { token: Some(token.id.clone()), ..Identity::of_user(&token.user) }
}

#[cfg(test)]
#[path = "authenticate_tests.rs"]
pub(super) mod tests;
