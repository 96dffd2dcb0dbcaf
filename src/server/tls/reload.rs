//! The identity in use, and its replacement while the server runs.
//!
//! ```text
//! look ─► files changed? ─ no ─► nothing
//!            │ yes
//!            ▼
//!         good? ─ yes ─► new connections get the new certificate
//!            └ no ─► the one before stays; error in the log, `adlake_tls_reloads_total`, `system.listeners`; once per content
//! ```
//! Files are compared by content, so it does not matter how they are replaced. Connections that are open keep what they have.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::facts::Validity;
use super::files::Files;
use super::half_open::HalfOpen;
use super::identity::Identity;
use super::{CertificateFacts, ClientAuth, TlsConfig, TlsError};
use crate::base::{Clock, Timestamp, chain};
use crate::telemetry::metrics;

/// Looking without a pause would do nothing else.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(10);

/// TLS of one process, for all its ports.
pub struct Tls {
    config: TlsConfig,
    clock: Clock,
    half_open: HalfOpen,
    state: RwLock<State>,
}

struct State {
    identity: Arc<Identity>,
    fingerprint: blake3::Hash,
    loaded_at: Timestamp,
    /// What the log has said of it.
    told: Validity,
    /// Of the last look; `None` = the files are those in use.
    failure: Option<Failure>,
}

#[derive(Clone)]
struct Failure {
    /// `None`: they could not even be read.
    fingerprint: Option<blake3::Hash>,
    message: String,
}

/// What `system.listeners` shows.
#[derive(Clone, Debug)]
pub struct TlsStatus {
    pub certificate: CertificateFacts,
    pub client_auth: ClientAuth,
    pub loaded_at: Timestamp,
    /// Why the files as they are now are not in use.
    pub last_error: Option<String>,
}

/// What follows from a look at the files.
enum Step {
    Nothing,
    /// The files are those in use again.
    Recovered,
    Take(Identity, blake3::Hash),
    Keep(Failure),
}

impl Tls {
    /// Reads the files; `None` when no certificate is configured.
    ///
    /// # Errors
    /// What is wrong with which file or key.
    pub async fn load(config: &TlsConfig, clock: &Clock) -> Result<Option<Arc<Self>>, TlsError> {
        if !config.is_on()? {
            return Ok(None);
        }
        let files = Files::read(config).await?;
        warn_if_readable_by_all(config).await;
        let identity = Identity::make(&files, config, clock)?;
        let state = State::new(identity, files.fingerprint(), clock.now());
        let half_open = HalfOpen::new(config.max_handshakes);
        Ok(Some(Arc::new(Self { config: config.clone(), clock: clock.clone(), half_open, state: RwLock::new(state) })))
    }

    /// Looks at the files and takes them over when they have changed and are good. Never fails: what is wrong is told in
    /// the log, by a metric and in [`Tls::status`].
    pub async fn look(&self) {
        let read = Files::read(&self.config).await;
        let step = self.judge(read);
        let now = self.clock.now();
        let mut state = self.state.write();
        match step {
            Step::Nothing => {}
            Step::Recovered => {
                state.failure = None;
                tracing::info!("the TLS files are again those in use");
            }
            Step::Take(identity, fingerprint) => {
                *state = State::new(identity, fingerprint, now);
                count_reload("done");
            }
            Step::Keep(failure) => {
                tracing::error!(
                    error = failure.message,
                    certificate = state.identity.facts.subject,
                    "the TLS files have changed and cannot be used; the certificate before stays"
                );
                state.failure = Some(failure);
                count_reload("failed");
            }
        }
        state.tell_validity(now);
    }

    pub fn status(&self) -> TlsStatus {
        let state = self.state.read();
        TlsStatus {
            certificate: state.identity.facts.clone(),
            client_auth: self.config.client_auth,
            loaded_at: state.loaded_at,
            last_error: state.failure.as_ref().map(|failure| failure.message.clone()),
        }
    }

    pub fn reload_interval(&self) -> Duration {
        self.config.reload_interval.duration().max(LOOK_PAUSE_MIN)
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        self.state.read().identity.clone()
    }

    pub(super) fn half_open(&self) -> &HalfOpen {
        &self.half_open
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        self.config.handshake_timeout.duration()
    }

    fn judge(&self, read: Result<Files, TlsError>) -> Step {
        let (used, known) = {
            let state = self.state.read();
            (state.fingerprint, state.failure.clone())
        };
        let files = match read {
            Ok(files) => files,
            Err(error) => {
                let failure = Failure { fingerprint: None, message: chain(&error) };
                return match known {
                    Some(known) if known.fingerprint.is_none() && known.message == failure.message => Step::Nothing,
                    Some(_) | None => Step::Keep(failure),
                };
            }
        };
        let fingerprint = files.fingerprint();
        if fingerprint == used {
            return if known.is_some() { Step::Recovered } else { Step::Nothing };
        }
        if known.is_some_and(|known| known.fingerprint == Some(fingerprint)) {
            return Step::Nothing;
        }
        match Identity::make(&files, &self.config, &self.clock) {
            Ok(identity) => Step::Take(identity, fingerprint),
            Err(error) => Step::Keep(Failure { fingerprint: Some(fingerprint), message: chain(&error) }),
        }
    }
}

impl State {
    fn new(identity: Identity, fingerprint: blake3::Hash, now: Timestamp) -> Self {
        let facts = &identity.facts;
        tracing::info!(
            certificate = facts.subject,
            names = facts.names.join(", "),
            not_after = %facts.not_after,
            "TLS certificate loaded"
        );
        metrics().set(
            "tls_certificate_not_after_seconds",
            "When the server's certificate expires, in seconds since 1970",
            &[],
            facts.not_after.millis() as f64 / 1_000.0,
        );
        let mut state =
            Self { identity: Arc::new(identity), fingerprint, loaded_at: now, told: Validity::Valid, failure: None };
        state.tell_validity(now);
        state
    }

    /// Warns when that has changed; a server with an expired certificate still serves those who do not mind.
    fn tell_validity(&mut self, now: Timestamp) {
        let facts = &self.identity.facts;
        let validity = facts.validity(now);
        if validity == self.told {
            return;
        }
        self.told = validity;
        let (certificate, not_before, not_after) = (&facts.subject, facts.not_before, facts.not_after);
        match validity {
            Validity::Valid => {}
            Validity::NotYet => tracing::warn!(
                certificate,
                %not_before,
                "the server's certificate is not valid yet; clients will refuse it. Is the machine's clock right?"
            ),
            Validity::EndsSoon => tracing::warn!(certificate, %not_after, "the server's certificate expires soon"),
            Validity::Expired => {
                tracing::error!(certificate, %not_after, "the server's certificate has expired; clients refuse it");
            }
        }
    }
}

fn count_reload(outcome: &str) {
    metrics().count("tls_reloads", "Changed TLS files taken over or not", &[("outcome", outcome)], 1);
}

/// A key that everybody on the machine can read is a secret no longer.
async fn warn_if_readable_by_all(config: &TlsConfig) {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS_READ: u32 = 0o004;
    if let Ok(metadata) = tokio::fs::metadata(config.key.path()).await
        && metadata.permissions().mode() & OTHERS_READ != 0
    {
        tracing::warn!(key = %config.key, "every user of this machine can read the TLS key; chmod 600 or 640");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::super::testing::{Authority, Made};
    use super::*;

    struct Lab {
        folder: TempDir,
        authority: Authority,
        clock: Clock,
    }

    impl Lab {
        fn new() -> Self {
            let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
            Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new("a"), clock }
        }

        fn path(&self) -> &Path {
            self.folder.path()
        }

        fn write(&self, name: &str) -> Made {
            let made = self.authority.server(name, &["localhost"]);
            made.write(self.path(), "s");
            made
        }

        fn config(&self) -> TlsConfig {
            let folder = self.path().display();
            let section = format!(
                "certificate = '{folder}/s.pem'\nkey = 'file:{folder}/s.key'\nclient_ca = ''\nclient_auth = 'none'\n\
                 min_version = '1.2'\nhandshake_timeout = '1s'\nmax_handshakes = 1\nreload_interval = '1s'"
            );
            toml::from_str(&section).unwrap()
        }

        async fn load(&self) -> Result<Arc<Tls>, TlsError> {
            Tls::load(&self.config(), &self.clock).await.map(|tls| tls.unwrap())
        }
    }

    fn subject(tls: &Tls) -> String {
        tls.status().certificate.subject
    }

    #[tokio::test]
    async fn replaced_files_are_taken_over() {
        let lab = Lab::new();
        lab.write("first");
        let tls = lab.load().await.unwrap();
        let (before, loaded_at) = (tls.identity(), tls.status().loaded_at);
        lab.clock.advance(Duration::from_secs(60));
        tls.look().await;
        assert!(Arc::ptr_eq(&before, &tls.identity()), "nothing has changed");
        lab.write("second");
        tls.look().await;
        assert_eq!(subject(&tls), "CN=second");
        assert_eq!(tls.status().loaded_at, loaded_at.plus(Duration::from_secs(60)));
    }

    #[tokio::test]
    async fn bad_files_change_nothing_until_they_are_good() {
        let lab = Lab::new();
        let first = lab.write("first");
        let tls = lab.load().await.unwrap();
        // Half of a replacement: the key is still the old one.
        let second = lab.authority.server("second", &["localhost"]);
        std::fs::write(lab.path().join("s.pem"), &second.certificate).unwrap();
        tls.look().await;
        assert_eq!(subject(&tls), "CN=first");
        assert!(tls.status().last_error.unwrap().contains("does not belong"));
        std::fs::remove_file(lab.path().join("s.key")).unwrap();
        tls.look().await;
        assert!(tls.status().last_error.unwrap().contains("there is no such file"));
        first.write(lab.path(), "s");
        tls.look().await;
        assert_eq!((subject(&tls).as_str(), tls.status().last_error), ("CN=first", None), "the old files are back");
        second.write(lab.path(), "s");
        tls.look().await;
        assert_eq!((subject(&tls).as_str(), tls.status().last_error), ("CN=second", None));
    }

    #[tokio::test]
    async fn the_same_bad_files_are_complained_about_once() {
        let lab = Lab::new();
        lab.write("first");
        let tls = lab.load().await.unwrap();
        std::fs::write(lab.path().join("s.pem"), "").unwrap();
        assert!(matches!(tls.judge(Files::read(&tls.config).await), Step::Keep(_)));
        tls.look().await;
        assert!(matches!(tls.judge(Files::read(&tls.config).await), Step::Nothing));
        std::fs::remove_file(lab.path().join("s.pem")).unwrap();
        assert!(matches!(tls.judge(Files::read(&tls.config).await), Step::Keep(_)));
        tls.look().await;
        assert!(matches!(tls.judge(Files::read(&tls.config).await), Step::Nothing));
    }

    #[tokio::test]
    async fn a_server_does_not_start_with_a_file_that_is_missing_or_in_disorder() {
        let lab = Lab::new();
        let message = lab.load().await.map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("tls.certificate") && message.contains("there is no such file"), "{message}");
        std::fs::write(lab.path().join("s.pem"), vec![b'x'; (4 << 20) + 1]).unwrap();
        let message = lab.load().await.map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("larger than"), "{message}");
        std::fs::remove_file(lab.path().join("s.pem")).unwrap();
        std::fs::create_dir(lab.path().join("s.pem")).unwrap();
        assert!(lab.load().await.is_err());
    }

    #[tokio::test]
    async fn expiry_is_noticed_while_serving() {
        let lab = Lab::new();
        lab.authority.server_of("s", &["localhost"], (2020, 2030)).write(lab.path(), "s");
        let tls = lab.load().await.unwrap();
        assert_eq!(tls.state.read().told, Validity::Valid);
        lab.clock.set(tls.status().certificate.not_after.minus(Duration::from_secs(60)));
        tls.look().await;
        assert_eq!(tls.state.read().told, Validity::EndsSoon);
        lab.clock.advance(Duration::from_secs(120));
        tls.look().await;
        assert_eq!(tls.state.read().told, Validity::Expired);
    }
}
