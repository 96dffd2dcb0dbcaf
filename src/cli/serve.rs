//! `adlake serve`: open, serve, wait for a signal, drain.
//!
//! ```text
//! SIGTERM | SIGINT ─► refuse new work, finish accepted work (server.drain) ─► exit 0
//! a second signal  ─► exit at once
//! SIGHUP           ─► look at the TLS files now
//! ```

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{Addresses, App, Running};

use super::args::{Global, ServeArgs};
use super::failure::{Exit, Failure};
use super::out;
use super::settings::{self, LogUse};

/// Serves until a signal.
///
/// # Errors
/// What keeps the server from starting: configuration, lake, definitions, ports.
pub async fn run(global: &Global, args: &ServeArgs) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let loaded = settings::load(global, args, LogUse::Server)?;
    let app = settings::open_app(loaded).await?;
    let running = Box::pin(app.serve()).await.map_err(settings::app_failure)?;
    out::say(&banner(&running))?;
    if let Some(token) = &running.first_token {
        out::say(&first_token(token))?;
    }
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            () = signals.next() => return stop(running.app, &mut signals).await,
            _ = hangups.recv() => running.app.reload_certificates().await,
        }
    }
}

/// Drains; a second signal does not wait for that.
///
/// # Errors
/// When standard error is gone; the stop itself cannot fail.
pub async fn stop(app: App, signals: &mut Signals) -> Result<Exit, Failure> {
    out::note("stopping: finishing accepted work (press Ctrl-C again to exit at once)");
    tokio::select! {
        drained = app.stop() => {
            if drained {
                out::note("stopped");
            } else {
                out::note("stopped; some accepted work did not end within server.drain and was cancelled");
            }
            Ok(Exit::Done)
        }
        () = signals.next() => Ok(Exit::Interrupted),
    }
}

/// SIGINT and SIGTERM, from now on handled here instead of ending the process.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// # Errors
    /// When the system gives no signal handlers.
    pub fn listen() -> Result<Self, Failure> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn banner(running: &Running) -> String {
    let lake = &running.app.loaded.config.lake.location;
    let version = env!("CARGO_PKG_VERSION");
    format!("adlake {version} serving lake {lake}\n{}", addresses(&running.addresses))
}

fn first_token(token: &str) -> String {
    format!(
        "  There were no users: user 'admin' was made. Its token, for one day and shown only now:\n  {token}\n  \
         Make your own with it: CREATE USER name PASSWORD '…' ROLE admin"
    )
}

/// Where clients connect to.
pub fn addresses(addresses: &Addresses) -> String {
    let (flight, jdbc, http) = (addresses.flight_url(), addresses.jdbc_url(), addresses.http_url());
    let pgwire = addresses.pgwire_url().map(|url| format!("\n  PostgreSQL   {url}")).unwrap_or_default();
    format!(
        "  Flight SQL   {flight}\n  \
           JDBC         {jdbc}\n  \
           HTTP         {http}   (API: {http}/openapi.json){pgwire}"
    )
}
