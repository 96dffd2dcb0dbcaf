//! The loop between prompt and session. An error is shown and the session goes on.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::base::Tasks;

use super::super::failure::{Exit, Failure};
use super::super::out;
use super::editor::{Line, Prompt};
use super::session::{Next, Session};
use super::words::{Names, load_names};

/// Talks until the person leaves.
///
/// # Errors
/// A terminal that cannot be used.
pub async fn run(session: &mut Session) -> Result<(), Failure> {
    let tasks = Tasks::new();
    let names = Arc::new(RwLock::new(Names::default()));
    let mut prompt = Prompt::new(names.clone(), session.style.colour)?;
    out::say(&format!("adlake {}, {}; \\? for help", env!("CARGO_PKG_VERSION"), session.backend.place()))?;
    session.names_changed = true;
    loop {
        if std::mem::take(&mut session.names_changed) {
            learn_names(session, &names, &tasks);
        }
        let input = match prompt.read()? {
            Line::Input(input) => input,
            Line::Cancelled => continue,
            Line::End => return Ok(()),
        };
        session.forget_interrupts();
        let next = match input.trim() {
            "quit" | "exit" => Ok(Next::Quit),
            "help" => session.run_script("\\?").await,
            _ => session.run_script(&input).await,
        };
        match next {
            Ok(Next::Continue) => {}
            Ok(Next::Quit) => return Ok(()),
            Err(failure) if failure.exit() == Exit::Interrupted => out::say(&failure.message())?,
            Err(failure) => out::error(&failure),
        }
    }
}

/// Fetches the names for completion beside the prompt; until they are here, completion does without.
fn learn_names(session: &Session, names: &Arc<RwLock<Names>>, tasks: &Tasks) {
    let (backend, names) = (session.backend.clone(), names.clone());
    tasks.spawn("learn-names", async move {
        if let Ok(found) = load_names(backend.as_ref()).await {
            *names.write() = found;
        }
    });
}
