//! The command line: `adlake serve | sql | load | plan | apply | config | demo | generate | bench`.
//!
//! Layer 8. Imports `app`, `config`, `base` (and the public faces they hand out). Only the CLI prints or exits.
pub mod bench;

/// Runs the command line; returns the process's exit code.
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
