//! Which session a call belongs to, and how long sessions live.
//!
//! ```text
//! authorization: Bearer <token of ours>  → that session, or UNAUTHENTICATED when it has expired
//! authorization: Bearer <any other>      → a session of its own for that token
//! cookie: arrow_flight_session_id=<id>   → that session
//! otherwise                              → the session of the TCP connection
//! ```
//!
//! There are no users yet: `Handshake` gives a token to everybody and authenticates nobody. The user name is kept for
//! `system.queries` only.

use super::connection::ConnectionId;
use super::error::status;
use crate::base::{Clock, Kind, Span, Timestamp};
use crate::query::{Origin, Session};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

/// Begins every token `Handshake` gives out, so that an expired one is told from a foreign one.
const TOKEN_PREFIX: &str = "adlake-session-";
/// The cookie of the Flight session protocol.
pub(super) const SESSION_COOKIE: &str = "arrow_flight_session_id";
/// Sessions kept at once; further ones are refused until idle ones expire.
const SESSIONS_MAX: usize = 100_000;
const ANONYMOUS: &str = "anonymous";

/// All sessions of the server.
pub(super) struct Sessions {
    state: Mutex<State>,
    idle: Span,
    clock: Clock,
}

#[derive(Default)]
struct State {
    by_id: HashMap<String, Entry>,
    swept_at: Timestamp,
}

struct Entry {
    session: Arc<Session>,
    used_at: Timestamp,
    /// Reached by token or cookie: outlives its connection.
    durable: bool,
}

impl Sessions {
    pub fn new(idle: Span, clock: Clock) -> Self {
        Self { state: Mutex::default(), idle, clock }
    }

    /// Opens a session for `user`; returns the bearer token that leads to it.
    pub fn open(&self, user: &str) -> Result<String, Status> {
        let token = format!("{TOKEN_PREFIX}{}", uuid::Uuid::new_v4());
        self.obtain(&token, user, true)?;
        Ok(token)
    }

    /// The session a call belongs to; made when there is none yet.
    pub fn of<T>(&self, request: &Request<T>) -> Result<Arc<Session>, Status> {
        let metadata = request.metadata();
        if let Some(token) = bearer(metadata) {
            if !token.starts_with(TOKEN_PREFIX) {
                let id = format!("token-{}", blake3::hash(token.as_bytes()).to_hex());
                return self.obtain(&id, ANONYMOUS, true);
            }
            let expired = || status(Kind::Unauthenticated, "this session has expired; connect again");
            return self.existing(token).ok_or_else(expired);
        }
        if let Some(session) = cookie(metadata).and_then(|id| self.existing(id)) {
            return Ok(session);
        }
        let id = match request.extensions().get::<ConnectionId>() {
            Some(connection) => connection_key(*connection),
            None => uuid::Uuid::new_v4().to_string(),
        };
        let user = basic_user(metadata).unwrap_or_else(|| ANONYMOUS.to_owned());
        self.obtain(&id, &user, false)
    }

    /// Makes a session outlive its connection; returns the id for its cookie.
    pub fn make_durable(&self, session: &Session) -> String {
        if let Some(entry) = self.state.lock().by_id.get_mut(&session.id) {
            entry.durable = true;
        }
        session.id.clone()
    }

    /// Forgets a session at its client's wish.
    pub fn close(&self, session: &Session) {
        self.state.lock().by_id.remove(&session.id);
    }

    /// Forgets the session only this connection could reach.
    pub fn connection_closed(&self, connection: ConnectionId) {
        let key = connection_key(connection);
        let mut state = self.state.lock();
        if state.by_id.get(&key).is_some_and(|entry| !entry.durable) {
            state.by_id.remove(&key);
        }
    }

    fn existing(&self, id: &str) -> Option<Arc<Session>> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        self.sweep(&mut state, now);
        let entry = state.by_id.get_mut(id)?;
        entry.used_at = now;
        Some(entry.session.clone())
    }

    fn obtain(&self, id: &str, user: &str, durable: bool) -> Result<Arc<Session>, Status> {
        if let Some(session) = self.existing(id) {
            return Ok(session);
        }
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.by_id.len() >= SESSIONS_MAX {
            let message = format!("too many sessions ({SESSIONS_MAX}); close unused connections and try again");
            return Err(status(Kind::ResourceExhausted, message));
        }
        let session = Session::new(id, user, Origin::FlightSql);
        let entry = Entry { session: session.clone(), used_at: now, durable };
        // Two first calls of one connection may race; the first one in wins.
        Ok(state.by_id.entry(id.to_owned()).or_insert(entry).session.clone())
    }

    /// Drops idle sessions: on every look-up the check is one comparison, the scan runs a few times per idle time.
    fn sweep(&self, state: &mut State, now: Timestamp) {
        let idle = self.idle.duration();
        if now.since(state.swept_at) < idle / 8 {
            return;
        }
        state.swept_at = now;
        state.by_id.retain(|_, entry| now.since(entry.used_at) < idle);
    }
}

fn connection_key(connection: ConnectionId) -> String {
    format!("connection-{}-{}", connection.0, process_nonce())
}

/// Keeps ids of connections of this process apart from cookies of an earlier one.
fn process_nonce() -> &'static str {
    static NONCE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());
    &NONCE
}

fn authorization<'a>(metadata: &'a MetadataMap, scheme: &str) -> Option<&'a str> {
    let value = metadata.get("authorization")?.to_str().ok()?;
    let (given, rest) = value.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(rest.trim())
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    authorization(metadata, "bearer").filter(|token| !token.is_empty())
}

/// The name in `authorization: Basic …`. The password is not looked at: nobody is authenticated.
pub(super) fn basic_user(metadata: &MetadataMap) -> Option<String> {
    use base64::Engine as _;
    let encoded = authorization(metadata, "basic")?;
    // ADBC leaves the padding out, JDBC does not.
    let decoded = base64::engine::general_purpose::STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, _) = text.split_once(':')?;
    (!user.is_empty()).then(|| user.to_owned())
}

fn cookie(metadata: &MetadataMap) -> Option<&str> {
    metadata.get_all("cookie").iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';')).find_map(
        |pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == SESSION_COOKIE).then(|| value.trim_matches('"'))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sessions(clock: &Clock) -> Sessions {
        Sessions::new(Span::from_secs(60), clock.clone())
    }

    fn request(header: Option<(&'static str, String)>, connection: u64) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(ConnectionId(connection));
        if let Some((name, value)) = header {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_token_leads_to_its_session_from_any_connection() {
        let sessions = sessions(&Clock::system());
        let token = sessions.open("ann").unwrap();
        let header = || Some(("authorization", format!("Bearer {token}")));
        let first = sessions.of(&request(header(), 1)).unwrap();
        first.set("a", "1");
        let second = sessions.of(&request(header(), 2)).unwrap();
        assert_eq!(second.get("a"), Some("1".to_owned()));
        assert_eq!(second.user, "ann");
    }

    #[test]
    fn an_expired_token_is_told_so_and_a_foreign_one_is_a_session() {
        let clock = Clock::manual(Timestamp(0));
        let sessions = sessions(&clock);
        let token = sessions.open("ann").unwrap();
        clock.advance(Duration::from_secs(61));
        let expired = sessions.of(&request(Some(("authorization", format!("Bearer {token}"))), 1));
        assert_eq!(expired.unwrap_err().code(), tonic::Code::Unauthenticated);
        assert!(sessions.of(&request(Some(("authorization", "Bearer other".to_owned())), 1)).is_ok());
    }

    #[test]
    fn connections_do_not_share_settings_and_end_with_the_connection() {
        let sessions = sessions(&Clock::system());
        let first = sessions.of(&request(None, 1)).unwrap();
        first.set("a", "1");
        assert_eq!(sessions.of(&request(None, 2)).unwrap().get("a"), None);
        assert_eq!(sessions.of(&request(None, 1)).unwrap().get("a"), Some("1".to_owned()));
        sessions.connection_closed(ConnectionId(1));
        assert_eq!(sessions.of(&request(None, 1)).unwrap().get("a"), None);
    }

    #[test]
    fn a_cookie_leads_to_a_session_made_durable() {
        let sessions = sessions(&Clock::system());
        let first = sessions.of(&request(None, 1)).unwrap();
        first.set("a", "1");
        let id = sessions.make_durable(&first);
        sessions.connection_closed(ConnectionId(1));
        let again = sessions.of(&request(Some(("cookie", format!("x=1; {SESSION_COOKIE}={id}"))), 2)).unwrap();
        assert_eq!(again.get("a"), Some("1".to_owned()));
    }

    #[test]
    fn the_user_of_basic_credentials_is_kept() {
        let request = request(Some(("authorization", "Basic YW5uOnNlY3JldA==".to_owned())), 1);
        assert_eq!(basic_user(request.metadata()), Some("ann".to_owned()));
    }
}
