//! The directory's one document: a followed one ([`Followed`]). One that cannot be read keeps the last that could: it is never
//! taken for "no users".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::edit::Edit;
use super::error::AuthError;
use super::model::{DirectorySnapshot, Scope, Token, User};
use super::role::ADMIN;
use super::secret::{NewToken, random};
use super::stored;
use crate::base::{Clock, Span, Timestamp};
use crate::storage::{DocumentVersion, Followable, Followed, Lake};

/// The document below the lake.
const DOCUMENT: &str = "auth";
/// A token's time of use is stored when the stored one is older than this.
const USE_NOTED_EVERY: Duration = Duration::from_secs(3600);
/// The user a lake without users gets at its first start with authentication.
const FIRST_USER: &str = "admin";
/// Life of that user's first token.
const FIRST_TOKEN_LIFETIME: Span = Span::from_secs(24 * 3600);

/// Users, roles, tokens and policies of one lake, shared by everything in this process.
#[derive(Debug)]
pub struct Directory {
    document: Followed<DirectorySnapshot>,
    /// Uses of tokens that are not stored yet.
    uses: Mutex<BTreeMap<String, Timestamp>>,
    clock: Clock,
}

impl Followable for DirectorySnapshot {
    type Error = AuthError;

    fn version(&self) -> DocumentVersion {
        DocumentVersion(self.version)
    }

    fn at(self, version: DocumentVersion) -> Self {
        Self { version: version.0, ..self }.with_rights()
    }

    fn encode(&self) -> Result<Vec<u8>, AuthError> {
        stored::encode(self)
    }

    fn decode(content: &[u8], version: DocumentVersion, _before: &Self) -> Result<Self, AuthError> {
        stored::decode(content, version.0)
    }

    fn conflict() -> AuthError {
        AuthError::Conflict
    }
}

impl Directory {
    /// Reads the newest version.
    ///
    /// # Errors
    /// A document that cannot be read or understood.
    pub async fn open(lake: &Lake, clock: Clock) -> Result<Arc<Directory>, AuthError> {
        let document = Followed::open(lake.documents(DOCUMENT)).await?;
        Ok(Arc::new(Directory { document, uses: Mutex::default(), clock }))
    }

    /// The newest snapshot known here, without I/O.
    pub fn snapshot(&self) -> Arc<DirectorySnapshot> {
        self.document.snapshot()
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Looks for newer versions put by other processes; cheap when there is none (`jobs.rs` does it all the time).
    ///
    /// # Errors
    /// As [`Directory::open`]; the snapshot stays the last one that could be read.
    pub async fn refresh(&self) -> Result<Arc<DirectorySnapshot>, AuthError> {
        self.document.refresh().await
    }

    /// Makes the changes `decide` gives as one version, or none of them; it sees the newest snapshot, and is called again after
    /// a lost race. No changes leave the version alone.
    ///
    /// # Errors
    /// Those of `decide` and of the edits; `Conflict` when others are always first.
    pub async fn edit<F>(&self, decide: F) -> Result<Arc<DirectorySnapshot>, AuthError>
    where
        F: Fn(&DirectorySnapshot) -> Result<Vec<Edit>, AuthError> + Send + Sync,
    {
        let next = |base: &DirectorySnapshot| {
            let edits = decide(base)?;
            if edits.is_empty() {
                return Ok(None);
            }
            let mut next = base.clone();
            if next.version == 0 {
                next.mask_key = random()?;
            }
            edits.into_iter().try_fold(next, |next, edit| next.edited(edit)).map(Some)
        };
        let told = |put: &DirectorySnapshot| tracing::info!(version = put.version, "users and roles changed");
        self.document.edit(next, told).await
    }

    /// In a lake without users: makes the user `admin` with a token for one day, which is returned once. Of several processes
    /// that start at the same time, one makes it.
    ///
    /// # Errors
    /// As [`Directory::edit`].
    pub async fn ensure_admin(&self) -> Result<Option<NewToken>, AuthError> {
        let token = NewToken::make()?;
        let now = self.clock.now();
        let made = Mutex::new(false);
        self.edit(|snapshot| {
            *made.lock() = snapshot.users.is_empty();
            if !snapshot.users.is_empty() {
                return Ok(Vec::new());
            }
            let user = User {
                name: FIRST_USER.to_owned(),
                password: None,
                roles: [ADMIN.to_owned()].into(),
                attributes: BTreeMap::new(),
                disabled: false,
                created_at: now,
            };
            let token = Token {
                id: token.id.clone(),
                user: FIRST_USER.to_owned(),
                hash: token.hash.clone(),
                scope: Scope::default(),
                created_at: now,
                expires_at: now.plus(FIRST_TOKEN_LIFETIME.duration()),
                last_used_at: None,
            };
            Ok(vec![Edit::CreateUser(user), Edit::CreateToken(token)])
        })
        .await?;
        Ok(made.into_inner().then_some(token))
    }

    /// A token was used; stored later by [`Directory::store_uses`].
    pub(super) fn note_use(&self, token: &Token, now: Timestamp) {
        if token.last_used_at.is_none_or(|last| now.since(last) > USE_NOTED_EVERY) {
            self.uses.lock().insert(token.id.clone(), now);
        }
    }

    /// Stores the times tokens were used at.
    ///
    /// # Errors
    /// As [`Directory::edit`]; the times are kept for the next call.
    pub async fn store_uses(&self) -> Result<(), AuthError> {
        let uses = std::mem::take(&mut *self.uses.lock());
        if uses.is_empty() {
            return Ok(());
        }
        let stored = self.edit(|_| Ok(vec![Edit::NoteUses(uses.clone())])).await;
        if stored.is_err() {
            let mut waiting = self.uses.lock();
            for (id, at) in uses {
                waiting.entry(id).or_insert(at);
            }
        }
        stored.map(|_| ())
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(super) mod tests;
