//! `adlake sql`: a prompt for people, `-c`/`-f` for scripts, on an open lake or a server.
//!
//! Scripts stop at the first error with exit code 1. Progress and messages never mix with results: a script's standard
//! output carries rows only.

mod backend;
mod command;
mod complete;
mod editor;
mod embedded;
mod format;
mod highlight;
mod interactive;
mod objects;
mod remote;
mod session;
mod split;
mod words;

use std::io::IsTerminal;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::app::App;

use super::args::{Global, ServeArgs, SqlArgs};
use super::connect::TlsArgs;
use super::failure::{Exit, Failure};
use super::meter::Meter;
use super::settings::{self, LogUse};

pub use backend::{Backend, Reply};
pub use embedded::Embedded;
use remote::Remote;
pub use session::{Audience, Session};

/// Runs `adlake sql`.
///
/// # Errors
/// A lake or server that cannot be opened; in scripts the first statement that fails.
pub async fn run(global: &Global, args: &SqlArgs) -> Result<Exit, Failure> {
    let backend = open(global, args.url.as_deref(), &args.tls).await?;
    let result = run_on(backend.clone(), args).await;
    backend.close().await;
    result.map(|()| Exit::Done)
}

/// The backend that `--url` or `--lake` names.
///
/// # Errors
/// A lake or server that cannot be opened.
pub async fn open(global: &Global, url: Option<&str>, tls: &TlsArgs) -> Result<Arc<dyn Backend>, Failure> {
    let loaded = settings::load(global, &ServeArgs::default(), LogUse::Quiet)?;
    match url {
        Some(url) => Ok(Arc::new(Remote::connect(url, tls).await?)),
        None => Ok(Arc::new(Embedded::new(settings::open_app(loaded).await?))),
    }
}

/// Runs one statement that changes something, without saying so.
///
/// # Errors
/// The statement's.
pub async fn run_quietly(app: &App, sql: &str) -> Result<(), Failure> {
    let backend = Embedded::new(app.clone());
    match backend.run(sql, Arc::new(Meter::default()), CancellationToken::new()).await? {
        Reply::Done { .. } | Reply::Rows { .. } => Ok(()),
    }
}

async fn run_on(backend: Arc<dyn Backend>, args: &SqlArgs) -> Result<(), Failure> {
    let is_script = !args.commands.is_empty() || !args.files.is_empty() || !std::io::stdin().is_terminal();
    let audience = if is_script { Audience::Script } else { Audience::Person };
    let mut session = Session::new(backend, audience, args.format)?;
    session.timing = args.timing;
    session.set_output(args.output.as_deref())?;
    match audience {
        Audience::Person => interactive::run(&mut session).await,
        Audience::Script => run_scripts(&mut session, args).await,
    }
}

async fn run_scripts(session: &mut Session, args: &SqlArgs) -> Result<(), Failure> {
    for sql in &args.commands {
        session.run_script(sql).await?;
    }
    for file in &args.files {
        let text = session::read_script(file)?;
        session.run_script(&text).await?;
    }
    if args.commands.is_empty() && args.files.is_empty() {
        let text = session::read_script("-".as_ref())?;
        session.run_script(&text).await?;
    }
    Ok(())
}
