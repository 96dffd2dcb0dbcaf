//! Who connects: from `Startup` to `ReadyForQuery`.
//!
//! ```text
//! Startup ─► database, version ─► password asked for, or proof of it ─► Gate ─► settings of the client ─► key for cancelling, ready
//!                                  └ not while authentication is off
//! ```
//! Where `auth.scram_iterations` keeps verifiers, a password is proved by SCRAM-SHA-256 and not sent. Else a password, or a token
//! of the user in its place, is asked for as it is: over TLS, or where the other ports take it so too
//! (loopback, and where `server.insecure` says that the network is safe). It goes the way of HTTP Basic: same checks, same
//! throttle.

use std::sync::Arc;

use bytes::Bytes;
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, PasswordMessageFamily, SecretKey, Startup,
};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::DATABASE;
use super::cancels::Cancellable;
use super::complaint::Complaint;
use super::connection::{Door, refuse, send};
use super::inbox::{Broken, Inbox};
use super::settings::Settings;
use crate::auth::AuthError;
use crate::query::{Origin, Session};
use crate::server::error::Fault;
use crate::server::gate::Caller;
use crate::server::peer::Peer;
use crate::server::wire::Wire;

/// Longest password, or token of an identity provider.
const PASSWORD_BYTES_MAX: usize = 64 * 1024;
/// The one way to prove a password without sending it.
const SCRAM: &str = "SCRAM-SHA-256";
/// 3.0, the version spoken.
const VERSION: i32 = 3 << 16;
/// Settings that clients name unasked, and are told of right after: one that asks for its own time zone learns that it is UTC.
const TOLD: [&str; 4] = ["datestyle", "intervalstyle", "search_path", "timezone"];
/// What `Startup` carries beside settings.
const NOT_SETTINGS: [&str; 4] = ["user", "database", "options", "replication"];

/// A connection that may speak.
pub(super) struct Opened {
    pub wire: Wire,
    pub caller: Caller,
    pub session: Arc<Session>,
    pub settings: Settings,
    /// What the engine has to be told to SET: name and value.
    pub to_set: Vec<(String, String)>,
    pub cancellable: Cancellable,
}

/// `None`: refused, or gone.
pub(super) async fn open(door: &Door, mut wire: Wire, startup: Startup, peer: &Peer) -> Option<Opened> {
    let agreed = match agree(&startup) {
        Ok(agreed) => agreed,
        Err(complaint) => {
            refuse(wire, &complaint).await;
            return None;
        }
    };
    let caller = match enter(door, &mut wire, (&agreed, &startup), peer).await {
        Ok(caller) => caller,
        Err(Some(complaint)) => {
            refuse(wire, &complaint).await;
            return None;
        }
        Err(None) => return None,
    };
    let cancellable = door.cancels.enter();
    let id = format!("pgwire-{}", uuid::Uuid::new_v4());
    let session = match &caller.0 {
        Some(_) => caller.session(id, Origin::Pgwire),
        None => Session::new(id, agreed.user, Origin::Pgwire),
    };
    let session = session.called_from(peer.host());
    Some(Opened { wire, caller, session, settings: agreed.settings, to_set: agreed.to_set, cancellable })
}

/// What `Startup` asks for.
struct Agreed {
    user: String,
    settings: Settings,
    to_set: Vec<(String, String)>,
}

fn agree(startup: &Startup) -> Result<Agreed, Complaint> {
    let parameter = |name: &str| startup.parameters.get(name).map(String::as_str);
    let user = parameter("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| Complaint::fatal("28000", "say who you are: the user is missing"))?.to_owned();
    // Clients that are not told a database name the user's.
    match parameter("database") {
        None => {}
        Some(database) if database == DATABASE || database == user => {}
        Some(other) => {
            let message = format!("database \"{other}\" does not exist; there is one: {DATABASE}");
            return Err(Complaint::fatal("3D000", message));
        }
    }
    if parameter("replication").is_some_and(|value| !["off", "false", "no", "0"].contains(&value)) {
        return Err(Complaint::fatal("0A000", "replication is not supported"));
    }
    let mut agreed = Agreed { user, settings: Settings::default(), to_set: Vec::new() };
    for (name, value) in &startup.parameters {
        if NOT_SETTINGS.contains(&name.as_str()) || name.starts_with("_pq_.") {
            continue;
        }
        match agreed.settings.set(name, value) {
            Some(Err(complaint)) if !TOLD.contains(&name.to_ascii_lowercase().as_str()) => {
                return Err(complaint.fatally());
            }
            Some(_) => {}
            None => agreed.to_set.push((name.clone(), value.clone())),
        }
    }
    for (name, value) in options(parameter("options").unwrap_or_default()) {
        match agreed.settings.set(&name, &value) {
            Some(set) => set.map_err(Complaint::fatally)?,
            None => agreed.to_set.push((name, value)),
        }
    }
    Ok(agreed)
}

/// `-c name=value --other-name=value`; `\` keeps a space.
fn options(text: &str) -> Vec<(String, String)> {
    let (mut words, mut word, mut characters) = (Vec::new(), String::new(), text.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            space if space.is_whitespace() => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    let pairs = words.iter().filter_map(|word| {
        let pair = word.strip_prefix("-c").or_else(|| word.strip_prefix("--")).unwrap_or(word);
        let (name, value) = pair.split_once('=')?;
        Some((name.replace('-', "_"), value.to_owned()))
    });
    pairs.collect()
}

/// Whose connection it is. An error without a complaint: the client is gone.
async fn enter(
    door: &Door,
    wire: &mut Wire,
    (agreed, startup): (&Agreed, &Startup),
    peer: &Peer,
) -> Result<Caller, Option<Complaint>> {
    let options: Vec<String> = startup.parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if startup.protocol_number_minor > 0 || !options.is_empty() {
        let negotiate = NegotiateProtocolVersion::new(VERSION, options);
        let sent = send(wire, vec![PgWireBackendMessage::NegotiateProtocolVersion(negotiate)]).await;
        sent.map_err(|_| None)?;
    }
    if door.parts.gate.is_open() {
        return Ok(Caller::ANYBODY);
    }
    let patience = door.parts.config.startup_timeout.duration();
    let late = || Some(Complaint::fatal("57014", "no password came in time (pgwire.startup_timeout)"));
    let proved = async {
        match door.parts.gate.takes_scram() {
            true => by_scram(door, wire, &agreed.user, peer).await,
            false => by_password(wire).await.map(Proved::Password),
        }
    };
    // Checking a password is not the client's time.
    let entered = match tokio::time::timeout(patience, proved).await.map_err(|_| late())?? {
        Proved::Password(password) => door.parts.gate.enter_by_password((&agreed.user, &password), peer.host()).await,
        Proved::Scram(entered) => entered,
    };
    entered.map_err(|error| Some(refusal(&error, &agreed.user)))
}

/// How far a client has proved who it is.
enum Proved {
    /// It has said a password, which is not checked yet.
    Password(String),
    Scram(Result<Caller, AuthError>),
}

fn refusal(error: &AuthError, user: &str) -> Complaint {
    match error {
        AuthError::BadCredential => {
            Complaint::fatal("28P01", format!("password authentication failed for user \"{user}\""))
        }
        error => Complaint::from(Fault::from(error)).fatally(),
    }
}

async fn ask(wire: &mut Wire, ask: Authentication) -> Result<PasswordMessageFamily, Option<Complaint>> {
    send(wire, vec![PgWireBackendMessage::Authentication(ask)]).await.map_err(|_| None)?;
    let mut inbox = Inbox::new(wire, PASSWORD_BYTES_MAX);
    match inbox.next().await {
        Ok(Some((PgWireFrontendMessage::PasswordMessageFamily(message), _))) if inbox.is_empty() => Ok(message),
        Ok(Some(_)) => Err(broken("a password was expected, and nothing behind it")),
        Ok(None) | Err(Broken::Io(_)) => Err(None),
        Err(Broken::Malformed(message)) => Err(broken(message)),
    }
}

fn broken(message: impl ToString) -> Option<Complaint> {
    Some(Complaint::fatal("08P01", message.to_string()))
}

async fn by_password(wire: &mut Wire) -> Result<String, Option<Complaint>> {
    let answer = ask(wire, Authentication::CleartextPassword).await?;
    Ok(answer.into_password().map_err(broken)?.password)
}

/// SCRAM-SHA-256, without binding to the channel.
async fn by_scram(door: &Door, wire: &mut Wire, user: &str, peer: &Peer) -> Result<Proved, Option<Complaint>> {
    let gate = &door.parts.gate;
    let first = ask(wire, Authentication::SASL(vec![SCRAM.to_owned()])).await?;
    let first = first.into_sasl_initial_response().map_err(broken)?;
    if first.auth_method != SCRAM {
        return Err(broken(format!("this server takes {SCRAM} only")));
    }
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(broken);
    let begun = gate.begin_scram(user, &text(first.data.as_deref().unwrap_or_default())?, peer.host());
    let (exchange, answer) = match begun {
        Ok(begun) => begun,
        Err(error) => return Ok(Proved::Scram(Err(error))),
    };
    let last = ask(wire, Authentication::SASLContinue(Bytes::from(answer))).await?;
    let last = last.into_sasl_response().map_err(broken)?;
    let entered = gate.enter_by_scram(exchange, (user, &text(&last.data)?), peer.host());
    let entered = match entered {
        Ok((caller, proof)) => {
            let proof = PgWireBackendMessage::Authentication(Authentication::SASLFinal(Bytes::from(proof)));
            send(wire, vec![proof]).await.map_err(|_| None)?;
            Ok(caller)
        }
        Err(error) => Err(error),
    };
    Ok(Proved::Scram(entered))
}

/// What a connection is told once it may speak, but for settings and readiness.
pub(super) fn welcome(cancellable: &Cancellable) -> [PgWireBackendMessage; 2] {
    let key = BackendKeyData::new(cancellable.number, SecretKey::I32(cancellable.key));
    [PgWireBackendMessage::Authentication(Authentication::Ok), PgWireBackendMessage::BackendKeyData(key)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(pairs: &[(&str, &str)]) -> Result<Agreed, &'static str> {
        let mut startup = Startup::new();
        startup.parameters = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        agree(&startup).map_err(|complaint| complaint.sqlstate)
    }

    #[test]
    fn there_is_one_database() {
        for fine in
            [&[("user", "ann")][..], &[("user", "ann"), ("database", "ann")], &[("user", "a"), ("database", "adlake")]]
        {
            assert!(agreed(fine).is_ok(), "{fine:?}");
        }
        assert_eq!(agreed(&[("user", "ann"), ("database", "sales")]).err(), Some("3D000"));
        assert_eq!(agreed(&[]).err(), Some("28000"));
        assert_eq!(agreed(&[("user", "ann"), ("replication", "database")]).err(), Some("0A000"));
    }

    #[test]
    fn options_are_settings() {
        let ann = ("user", "ann");
        let found =
            agreed(&[ann, ("options", "-c statement_timeout=5s --search-path=public"), ("TimeZone", "Asia/Tokyo")]);
        assert_eq!(found.unwrap().to_set, [("statement_timeout".to_owned(), "5s".to_owned())]);
        assert_eq!(agreed(&[ann, ("options", "-ctimezone=Asia/Tokyo")]).err(), Some("0A000"));
        for (wrong, sqlstate) in [
            (("default_transaction_read_only", "maybe"), "22023"),
            (("client_encoding", "LATIN1"), "0A000"),
            (("default_transaction_isolation", "serializable"), "0A000"),
        ] {
            assert_eq!(agreed(&[ann, wrong]).err(), Some(sqlstate), "{wrong:?}");
        }
        let read_only = agreed(&[ann, ("default_transaction_read_only", "t"), ("client_encoding", "UTF8")]);
        assert!(read_only.unwrap().settings.read_only);
        assert_eq!(options("-c a=b\\ c"), [("a".to_owned(), "b c".to_owned())]);
    }
}
