//! Who may sign in: the first user of a lake that has none, the audit of what they do, and the key set of an identity provider,
//! from its file or address. When it is read again is not here (`jobs`).

use std::sync::Arc;
use std::time::Duration;

use super::{App, AppError};
use crate::auth::{AuditLog, AuthConfig, AuthMode, Authenticator, Directory};
use crate::base::{Clock, Kind, chain};
use crate::jobs;
use crate::query::Engine;
use crate::storage::Lake;

/// Longest wait for the provider's answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A key set has a few keys of a few hundred bytes.
const BYTES_MAX: usize = 1 << 20;

/// Users and rights of the lake, in front of the engine.
///
/// # Errors
/// A stored directory that is not understood; a configuration that cannot be meant.
pub(super) async fn guarded(
    engine: &Engine,
    (lake, clock): (&Lake, &Clock),
    config: &AuthConfig,
) -> Result<Arc<Authenticator>, AppError> {
    let directory = Directory::open(lake, clock.clone()).await.map_err(|error| AppError::from_error(&error))?;
    let authenticator = Authenticator::new(directory, config).map_err(|error| AppError::from_error(&error))?;
    engine.guard_by(authenticator.clone());
    Ok(authenticator)
}

impl App {
    /// Records what callers do from now on, when authentication is on and `audit.mode` says so.
    pub(super) fn start_audit(&self) {
        let config = &self.loaded.config;
        if config.auth.mode == AuthMode::Off || config.audit.mode == AuthMode::Off {
            return;
        }
        let audit = AuditLog::new(&self.lake, &config.audit, self.clock.clone(), self.engine.task_context());
        jobs::start_auditing(&audit, config.audit.write_interval, &self.tasks);
        self.authenticator.record_in(audit);
    }

    /// Writes what has been recorded and not written yet.
    pub(super) async fn finish_audit(&self) {
        if let Some(audit) = self.authenticator.audit()
            && let Err(error) = audit.flush().await
        {
            tracing::error!(error = %chain(&error), "the last rows of the audit could not be written");
        }
    }

    /// With authentication on and no user yet: makes one.
    pub(super) async fn first_token(&self) -> Result<Option<String>, AppError> {
        let config = &self.loaded.config;
        if config.auth.mode == AuthMode::Off || config.server.read_only {
            return Ok(None);
        }
        let made = self.authenticator.directory().ensure_admin().await;
        made.map(|token| token.map(|token| token.text)).map_err(|error| AppError::from_error(&error))
    }

    /// Reads the key set, when a provider is configured; from then on a job does.
    ///
    /// # Errors
    /// A key set that cannot be read at start.
    pub(super) async fn follow_identity_provider(&self) -> Result<(), AppError> {
        if !self.authenticator.takes_jwt() {
            return Ok(());
        }
        let config = self.loaded.config.auth.jwt.clone();
        take(&self.authenticator, &config.keys).await?;
        let (authenticator, refresh) = (self.authenticator.clone(), config.refresh);
        let read = move || {
            let (authenticator, keys) = (authenticator.clone(), config.keys.clone());
            async move { take(&authenticator, &keys).await }
        };
        jobs::start_reading_keys(refresh, read, &self.tasks);
        Ok(())
    }
}

async fn take(authenticator: &Authenticator, from: &str) -> Result<(), AppError> {
    let document = match from.starts_with("https://") {
        true => fetched(from).await?,
        false => tokio::fs::read(from).await.map_err(|error| unread(from, &error.to_string()))?,
    };
    authenticator.set_jwt_keys(&document).map_err(|error| AppError::from_error(&error))
}

fn unread(from: &str, reason: &str) -> AppError {
    AppError::new(Kind::Unavailable, format!("cannot read the key set '{from}' (auth.jwt.keys): {reason}"))
}

async fn fetched(address: &str) -> Result<Vec<u8>, AppError> {
    let failed = |error: reqwest::Error| unread(address, &chain(&error));
    let client = reqwest::Client::builder().timeout(TIMEOUT).https_only(true).build().map_err(failed)?;
    let reply = client.get(address).send().await.and_then(reqwest::Response::error_for_status);
    let mut reply = reply.map_err(failed)?;
    let mut document = Vec::new();
    while let Some(chunk) = reply.chunk().await.map_err(failed)? {
        document.extend_from_slice(&chunk);
        if document.len() > BYTES_MAX {
            return Err(unread(address, &format!("it is larger than {BYTES_MAX} bytes")));
        }
    }
    Ok(document)
}
