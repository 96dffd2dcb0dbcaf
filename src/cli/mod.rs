//! The command line: `adlake serve | sql | load | plan | apply | config | doctor | init | demo | generate | bench`.
//!
//! ```text
//! args ─► settings (configuration, log) ─► one file per command ─► exit code, or `error: …` with causes and a hint
//! ```
//! Layer 8. Imports `app`, `config`, `base`, and the public faces that `app` hands out (`query`, `ingest`, `catalog`).
//! Only this module prints, exits, and (with `config`) reads the environment. `anyhow` lives here only.
//! Not here: anything a server or a test of the engine would need.

mod args;
mod bench;
mod connect;
mod demo;
mod doctor;
mod explain;
mod failure;
mod generate;
mod load;
mod meter;
mod out;
mod project;
mod repl;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::{Exit, Failure};

/// Threads for reading files and decoding rows, beside those that serve connections. Each keeps some memory of its own; more
/// work than this at once waits its turn. Work that itself waits for such a thread (`ingest.landing_files`) must stay below.
const BLOCKING_THREADS_MAX: usize = 64;

/// Runs the command line; returns the process's exit code.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _unheard = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run_command(&cli) {
        Ok(exit) => exit.into(),
        Err(failure) if out::is_closed_pipe(failure.error()) => Exit::Done.into(),
        Err(failure) => {
            out::error(&failure);
            failure.exit().into()
        }
    }
}

fn run_command(cli: &Cli) -> Result<Exit, Failure> {
    // Fails only when a provider is installed already, which is as good.
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let global = &cli.global;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("adlake-io")
        .build()?;
    runtime.block_on(async {
        match &cli.command {
            Command::Serve(args) => Box::pin(serve::run(global, args)).await,
            Command::Sql(args) => Box::pin(repl::run(global, args)).await,
            Command::Load(args) => Box::pin(load::run(global, args)).await,
            Command::Plan(args) => Box::pin(project::plan(global, args)).await,
            Command::Apply => Box::pin(project::apply(global)).await,
            Command::Doctor(args) => Box::pin(doctor::doctor(global, args)).await,
            Command::Init(args) => Box::pin(doctor::init(global, args)).await,
            Command::Generate(args) => Box::pin(generate::run(args)).await,
            Command::Demo(args) => Box::pin(demo::run(global, args)).await,
            Command::Bench(command) => {
                out::say(&Box::pin(bench::run(command.clone())).await?)?;
                Ok(Exit::Done)
            }
            Command::Config(command) => explain::run(global, command),
        }
    })
}
