//! Credentials against a directory in a temporary lake.

use std::time::Duration;

use super::*;
use crate::auth::config::{AuthMode, JwtConfig};
use crate::auth::edit::tests::user;
use crate::auth::store::tests::Fixture;
use crate::auth::{Edit, LimitsConfig, NewToken, Scope, User, UserChange};
use crate::base::{ByteSize, Classify, Clock, Kind, Span, Timestamp};

/// With hashes that cost next to nothing.
pub(in crate::auth) fn config() -> AuthConfig {
    AuthConfig {
        mode: AuthMode::On,
        password_memory: ByteSize(64 << 10),
        password_passes: 1,
        password_lanes: 1,
        password_checks: 2,
        password_length_min: 8,
        scram_iterations: 0,
        token_lifetime: Span::from_secs(3600),
        token_lifetime_max: Span::from_secs(7200),
        verified_max: 100,
        attempts_per_user: 3,
        attempts_per_address: 100,
        attempts_pause_max: Span::from_secs(60),
        jwt: JwtConfig { issuer: String::new(), ..crate::auth::jwt::tests::config() },
        limits: LimitsConfig::default(),
    }
}

struct Bench {
    authenticator: Arc<Authenticator>,
    clock: Clock,
    _fixture: Fixture,
}

impl Bench {
    /// With user `ann`, password `correct horse`.
    async fn new() -> Self {
        Self::with(&config()).await
    }

    async fn with(config: &AuthConfig) -> Self {
        let (fixture, clock) = (Fixture::new().await, Clock::manual(Timestamp(1_000_000_000_000)));
        let directory = fixture.directory(&clock).await;
        let authenticator = Authenticator::new(directory.clone(), config).unwrap();
        let password = authenticator.hash("correct horse".to_owned()).await.unwrap();
        let ann = User { password: Some(password), ..user("ann", &["reader"]) };
        directory.edit(|_| Ok(vec![Edit::CreateUser(ann.clone())])).await.unwrap();
        Self { authenticator, clock, _fixture: fixture }
    }

    async fn password(&self, user: &str, password: &str) -> Result<Identity, AuthError> {
        self.authenticator.identify(Credential::Password { user, password }, None).await
    }

    async fn token(&self, token: &str) -> Result<Identity, AuthError> {
        self.authenticator.identify(Credential::Token(token), None).await
    }

    async fn edit(&self, edit: Edit) {
        self.authenticator.directory().edit(|_| Ok(vec![edit.clone()])).await.unwrap();
    }
}

#[tokio::test]
async fn names_and_passwords_fail_alike() {
    let bench = Bench::new().await;
    assert_eq!(bench.password("ann", "correct horse").await.unwrap().user, "ann");
    let wrong = bench.password("ann", "wrong horse").await.unwrap_err();
    let unknown = bench.password("bob", "correct horse").await.unwrap_err();
    assert_eq!(wrong.to_string(), unknown.to_string());
    assert!(matches!(wrong, AuthError::BadCredential));
}

#[tokio::test]
async fn a_disabled_user_and_an_old_password_are_refused_at_once() {
    let bench = Bench::new().await;
    assert!(bench.password("ann", "correct horse").await.is_ok());
    let newer = bench.authenticator.hash("battery staple".to_owned()).await.unwrap();
    let change = UserChange { password: Some(newer), ..UserChange::default() };
    bench.edit(Edit::AlterUser { name: "ann".into(), change }).await;
    assert!(bench.password("ann", "correct horse").await.is_err());
    assert!(bench.password("ann", "battery staple").await.is_ok());
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    bench.edit(Edit::AlterUser { name: "ann".into(), change }).await;
    assert!(bench.password("ann", "battery staple").await.is_err());
}

#[tokio::test]
async fn guessing_is_slowed_down_and_known_passwords_are_not() {
    let bench = Bench::new().await;
    assert!(bench.password("ann", "correct horse").await.is_ok());
    for _ in 0..3 {
        assert!(matches!(bench.password("ann", "guess").await.unwrap_err(), AuthError::BadCredential));
    }
    assert!(matches!(bench.password("ann", "guess").await.unwrap_err(), AuthError::Throttled { .. }));
    assert!(bench.password("ann", "correct horse").await.is_ok(), "verified before");
    bench.clock.advance(Duration::from_secs(1));
    assert!(matches!(bench.password("ann", "guess").await.unwrap_err(), AuthError::BadCredential));
}

#[tokio::test]
async fn a_pool_that_signs_in_at_once_is_not_slowed_down_and_guesses_at_once_are() {
    let bench = Bench::with(&AuthConfig { scram_iterations: 4096, ..config() }).await;
    let begin = || bench.authenticator.begin_scram("ann", scram::tests::BEGUN, None).unwrap();
    let finish = |(exchange, first): (ScramExchange, String), password: &str| {
        let proof = scram::tests::answered(password, &first);
        bench.authenticator.finish_scram(exchange, ("ann", &proof), None).map(|(identity, _)| identity.user)
    };
    let pool: Vec<_> = (0..20).map(|_| begin()).collect();
    for begun in pool {
        assert_eq!(finish(begun, "correct horse").unwrap(), "ann");
    }
    let guesses: Vec<_> = (0..20).map(|_| begin()).collect();
    let ended = guesses.into_iter().map(|begun| finish(begun, "guess").unwrap_err());
    assert_eq!(ended.filter(|error| matches!(error, AuthError::BadCredential)).count(), 3);
    assert!(bench.authenticator.begin_scram("ann", scram::tests::BEGUN, None).is_err());
}

#[tokio::test]
async fn work_whose_caller_has_left_keeps_its_place() {
    let bench = Bench::with(&AuthConfig { password_checks: 1, ..config() }).await;
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let mut work = Box::pin(bench.authenticator.off_thread(move || wait.recv()));
    assert!(futures::poll!(&mut work).is_pending());
    drop(work);
    assert_eq!(bench.authenticator.checks.available_permits(), 0, "it is still at work");
    go.send(()).unwrap();
    // A name nobody has takes a place twice, one after the other.
    assert!(bench.password("bob", "correct horse").await.is_err());
    assert!(bench.password("ann", "correct horse").await.is_ok());
    assert_eq!(bench.authenticator.checks.available_permits(), 1);
}

#[tokio::test]
async fn a_token_holds_until_it_expires_or_is_dropped() {
    let bench = Bench::new().await;
    let now = bench.clock.now();
    let make = |new: &NewToken| Token {
        id: new.id.clone(),
        user: "ann".into(),
        hash: new.hash.clone(),
        scope: Scope::default(),
        created_at: now,
        expires_at: now.plus(Duration::from_secs(60)),
        last_used_at: None,
    };
    let (one, two) = (NewToken::make().unwrap(), NewToken::make().unwrap());
    bench.edit(Edit::CreateToken(make(&one))).await;
    bench.edit(Edit::CreateToken(make(&two))).await;
    assert_eq!(bench.token(&one.text).await.unwrap().token, Some(one.id.clone()));
    let forged = format!("{}{}", &one.text[..one.text.len() - 64], &two.text[two.text.len() - 64..]);
    assert!(bench.token(&forged).await.is_err());
    assert!(bench.token("adlake_zzz").await.is_err());
    bench.edit(Edit::DropToken(two.id.clone())).await;
    assert!(bench.token(&two.text).await.is_err());
    let directory = bench.authenticator.directory();
    directory.store_uses().await.unwrap();
    assert_eq!(directory.snapshot().tokens[&one.id].last_used_at, Some(now));
    let version = directory.snapshot().version;
    assert!(bench.token(&one.text).await.is_ok());
    directory.store_uses().await.unwrap();
    assert_eq!(directory.snapshot().version, version, "to the hour is enough");
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(bench.token(&one.text).await.unwrap_err().kind(), Kind::Unauthenticated);
}
