//! What a connection carries from statement to statement.

use crate::auth::Identity;
use datafusion::common::ScalarValue;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Which edge a statement came through; a column of `system.queries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    FlightSql,
    Http,
    Pgwire,
    Endpoint,
    Repl,
    Internal,
}

/// Settings of one connection. Shared by its concurrent statements.
#[derive(Debug)]
pub struct Session {
    pub id: String,
    pub user: String,
    pub origin: Origin,
    /// Who proved to be there; none = the process itself, or authentication is off.
    pub caller: Option<Identity>,
    /// Where the call comes from; none = this process, or not known.
    pub address: Option<IpAddr>,
    settings: Arc<RwLock<BTreeMap<String, String>>>,
}

impl Session {
    /// Of the process itself, or of anybody while authentication is off: nothing is refused or hidden.
    pub fn new(id: impl Into<String>, user: impl Into<String>, origin: Origin) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            user: user.into(),
            origin,
            caller: None,
            address: None,
            settings: Arc::default(),
        })
    }

    /// Of a caller: grants, policies and masks hold.
    pub fn of_caller(id: impl Into<String>, caller: Identity, origin: Origin) -> Arc<Self> {
        let user = caller.user.clone();
        Arc::new(Self { id: id.into(), user, origin, caller: Some(caller), address: None, settings: Arc::default() })
    }

    /// The same session for a call that comes from `address`; its settings are shared.
    pub fn called_from(&self, address: Option<IpAddr>) -> Arc<Self> {
        Arc::new(Self {
            id: self.id.clone(),
            user: self.user.clone(),
            origin: self.origin,
            caller: self.caller.clone(),
            address,
            settings: self.settings.clone(),
        })
    }

    pub fn set(&self, key: &str, value: &str) {
        self.settings.write().insert(key.to_owned(), value.to_owned());
    }

    pub fn reset(&self, key: &str) {
        self.settings.write().remove(key);
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.settings.read().get(key).cloned()
    }

    pub fn settings(&self) -> BTreeMap<String, String> {
        self.settings.read().clone()
    }
}

/// Values for `$1`, `?` (positional) or `$name`.
#[derive(Clone, Debug, Default)]
pub enum Params {
    #[default]
    None,
    Positional(Vec<ScalarValue>),
    Named(BTreeMap<String, ScalarValue>),
}
