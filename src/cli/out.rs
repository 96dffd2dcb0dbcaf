//! Everything the command line says passes through here: results and answers on standard output, the rest on standard error.
//!
//! A reader that goes away (`adlake sql … | head`) is not an error: [`is_closed_pipe`] lets `cli::run` end quietly.

use std::io::{self, IsTerminal, Write};

use super::failure::Failure;

/// One line on standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// One line on standard error. Nobody can be told when that fails.
pub fn note(text: &str) {
    let _unheard = writeln!(io::stderr().lock(), "{text}");
}

/// `error: …`, its causes and a hint, on standard error.
pub fn error(failure: &Failure) {
    let paint = |code: &str, text: &str| {
        if colour_on_stderr() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    note(&format!("{} {}", paint("1;31", "error:"), failure.message()));
    for cause in failure.causes() {
        note(&format!("  caused by: {cause}"));
    }
    if let Some(hint) = failure.hint() {
        note(&format!("{} {hint}", paint("1;36", "hint:")));
    }
}

/// Whether a person reads standard output.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether a person reads standard error.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}

/// Colour is used for people only, and not when `NO_COLOR` is set (no-color.org).
pub fn colour_on_stdout() -> bool {
    stdout_is_terminal() && !no_colour()
}

fn colour_on_stderr() -> bool {
    stderr_is_terminal() && !no_colour()
}

/// Whether `error` says that whoever read our output has gone.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|inner| inner.kind() == io::ErrorKind::BrokenPipe))
}
