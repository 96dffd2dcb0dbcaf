//! Which session a call belongs to, and how long sessions live.
//!
//! ```text
//! authorization: Bearer <token of ours>  → that session, or UNAUTHENTICATED when it has expired
//! authorization: Bearer <any other>      → a session of its own for that token
//! cookie: arrow_flight_session_id=<id>   → that session
//! otherwise                              → the session of the TCP connection
//! ```
//!
//! Whose call it is has been proved before (`guard`); a session belongs to one caller, and no other reaches it by cookie or
//! token. With authentication off `Handshake` gives a token to everybody, and the user name is kept for `system.queries` only.
//! The token leads to its session and is not its id: ids are shown in lists.

use super::error::status;
use crate::auth::Identity;
use crate::base::{Clock, Kind, Span, Timestamp};
use crate::query::{Origin, Session};
use crate::server::gate::{self, ANONYMOUS, Caller, Gate};
use crate::server::peer::{ConnectionId, Peer};
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

/// All sessions of the server.
pub(super) struct Sessions {
    state: Mutex<State>,
    idle: Span,
    clock: Clock,
    /// Calls without a caller have no session: authentication is on.
    asks: bool,
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
        Self { state: Mutex::default(), idle, clock, asks: false }
    }

    /// The same, for callers who have proved who they are alone, unless the gate is open.
    pub fn behind(self, gate: &Gate) -> Self {
        Self { asks: !gate.is_open(), ..self }
    }

    /// Opens a session for `user`; returns the bearer token that leads to it.
    pub fn open(&self, user: &str) -> Result<String, Status> {
        let token = format!("{TOKEN_PREFIX}{}", uuid::Uuid::new_v4());
        self.obtain(&session_id(&token), Owner::Named(user), true)?;
        Ok(token)
    }

    /// Opens a session for a caller who has proved who it is.
    pub fn open_for(&self, caller: Identity) -> Result<String, Status> {
        let token = format!("{TOKEN_PREFIX}{}", uuid::Uuid::new_v4());
        self.obtain(&session_id(&token), Owner::Proved(&caller), true)?;
        Ok(token)
    }

    pub fn is_session_token(token: &str) -> bool {
        token.starts_with(TOKEN_PREFIX)
    }

    /// The session a token of ours leads to.
    pub fn of_token(&self, token: &str) -> Option<Arc<Session>> {
        self.existing(&session_id(token))
    }

    /// The session a call belongs to, which knows where the call comes from; made when there is none yet.
    pub fn of<T>(&self, request: &Request<T>) -> Result<Arc<Session>, Status> {
        let address = request.extensions().get::<Peer>().and_then(Peer::host);
        Ok(self.belonging(request)?.called_from(address))
    }

    fn belonging<T>(&self, request: &Request<T>) -> Result<Arc<Session>, Status> {
        let metadata = request.metadata();
        let caller = request.extensions().get::<Caller>().and_then(|caller| caller.0.as_ref());
        if self.asks && caller.is_none() {
            return Err(status(Kind::Unauthenticated, "not signed in"));
        }
        if let Some(token) = bearer(metadata) {
            if !token.starts_with(TOKEN_PREFIX) {
                let id = format!("token-{}", blake3::hash(token.as_bytes()).to_hex());
                return self.obtain(&id, Owner::of(caller, ANONYMOUS), true);
            }
            let expired = || status(Kind::Unauthenticated, "this session has expired; connect again");
            return self.of_token(token).ok_or_else(expired);
        }
        let own = |session: &Arc<Session>| session.caller.as_ref() == caller;
        if let Some(session) = cookie(metadata).and_then(|id| self.existing(id)).filter(own) {
            return Ok(session);
        }
        let id = match request.extensions().get::<Peer>() {
            Some(peer) => connection_key(peer.connection),
            None => uuid::Uuid::new_v4().to_string(),
        };
        // One connection may carry calls of several callers, as a pool or proxy does.
        let id = match caller {
            Some(caller) => format!("{id}-{}", blake3::hash(format!("{caller:?}").as_bytes()).to_hex()),
            None => id,
        };
        let user = header(metadata).and_then(gate::basic_user).unwrap_or_else(|| ANONYMOUS.to_owned());
        self.obtain(&id, Owner::of(caller, &user), false)
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
        let own = format!("{key}-");
        let mut state = self.state.lock();
        state.by_id.retain(|id, entry| entry.durable || (*id != key && !id.starts_with(&own)));
    }

    fn existing(&self, id: &str) -> Option<Arc<Session>> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        self.sweep(&mut state, now);
        let entry = state.by_id.get_mut(id)?;
        entry.used_at = now;
        Some(entry.session.clone())
    }

    fn obtain(&self, id: &str, owner: Owner<'_>, durable: bool) -> Result<Arc<Session>, Status> {
        if let Some(session) = self.existing(id) {
            return Ok(session);
        }
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.by_id.len() >= SESSIONS_MAX {
            let message = format!("too many sessions ({SESSIONS_MAX}); close unused connections and try again");
            return Err(status(Kind::ResourceExhausted, message));
        }
        let session = match owner {
            Owner::Named(user) => Session::new(id, user, Origin::FlightSql),
            Owner::Proved(caller) => Session::of_caller(id, caller.clone(), Origin::FlightSql),
        };
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

/// Whose a new session is.
#[derive(Clone, Copy)]
enum Owner<'a> {
    /// Anybody's who says this name: authentication is off.
    Named(&'a str),
    Proved(&'a Identity),
}

impl<'a> Owner<'a> {
    fn of(caller: Option<&'a Identity>, name: &'a str) -> Self {
        caller.map_or(Self::Named(name), Self::Proved)
    }
}

fn session_id(token: &str) -> String {
    format!("session-{}", blake3::hash(token.as_bytes()).to_hex())
}

fn connection_key(connection: ConnectionId) -> String {
    format!("connection-{}-{}", connection.0, process_nonce())
}

/// Keeps ids of connections of this process apart from cookies of an earlier one.
fn process_nonce() -> &'static str {
    static NONCE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());
    &NONCE
}

fn header(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("authorization")?.to_str().ok()
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    gate::bearer(header(metadata)?).filter(|token| !token.is_empty())
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
        let peer = Peer { connection: ConnectionId(connection), address: None, certificate: None };
        request.extensions_mut().insert(peer);
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
        assert_eq!(sessions(&Clock::system()).of(&request).unwrap().user, "ann");
    }

    #[test]
    fn no_other_caller_reaches_a_session() {
        let sessions = sessions(&Clock::system());
        let caller = |user: &str| Identity::of_user(user);
        let call = |user: &str, header: Option<(&'static str, String)>| {
            let mut request = request(header, 1);
            request.extensions_mut().insert(Caller(Some(caller(user))));
            sessions.of(&request).unwrap()
        };
        let first = call("ann", None);
        first.set("a", "1");
        let cookie = || Some(("cookie", format!("{SESSION_COOKIE}={}", sessions.make_durable(&first))));
        assert_eq!(call("ann", cookie()).get("a"), Some("1".to_owned()));
        let other = call("bob", cookie());
        assert_eq!((other.get("a"), other.caller.clone()), (None, Some(caller("bob"))));
        let token = sessions.open_for(caller("ann")).unwrap();
        let session = sessions.of_token(&token).unwrap();
        assert_eq!(session.caller, Some(caller("ann")));
        assert!(sessions.of_token(&session.id).is_none() && !session.id.contains(&token), "an id is no token");
    }
}
