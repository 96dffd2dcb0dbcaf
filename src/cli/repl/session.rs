//! One SQL session at the keyboard or in a script: its settings, and how a statement or backslash command is run.
//!
//! ```text
//! statement ─► backend ─► first batch (spinner until then) ─► writer ─► screen or file
//!                 ▲ Ctrl-C cancels; the session goes on
//! ```
//! Rows stream: nothing is collected, except what a table's widths need (`format::table`).

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::{FutureExt, StreamExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::base::Timestamp;

use super::super::args::OutputFormat;
use super::super::failure::{Exit, Failure};
use super::super::meter::{self, Display, Meter};
use super::super::out;
use super::backend::{Backend, Reply, Rows};
use super::command::{self, Command};
use super::format::{self, RowWriter, Sink, Style};
use super::objects;
use super::split::{Piece, split};

/// How long a cancelled statement may take to end before it is abandoned.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// Scripts may include scripts this deep.
const INCLUDE_DEPTH: usize = 16;

/// Whether to go on after a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Continue,
    Quit,
}

/// Who is on the other side; decides where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// At the prompt: messages on standard output, among the results.
    Person,
    /// `-c`, `-f`, a pipe: standard output carries results only, messages go to standard error.
    Script,
}

/// Settings and connection of one session.
pub struct Session {
    pub backend: Arc<dyn Backend>,
    pub audience: Audience,
    pub style: Style,
    pub timing: bool,
    output: Option<Output>,
    last: Option<String>,
    interrupts: Signal,
    depth: usize,
    /// Set when a statement may have changed which names exist.
    pub names_changed: bool,
}

struct Output {
    path: PathBuf,
    file: File,
    /// A Parquet file holds one result only.
    is_full: bool,
}

impl Session {
    /// # Errors
    /// When the system gives no signal handler.
    pub fn new(backend: Arc<dyn Backend>, audience: Audience, format: OutputFormat) -> Result<Self, Failure> {
        Ok(Self {
            backend,
            audience,
            style: Style { format, expanded: false, colour: out::colour_on_stdout() },
            timing: false,
            output: None,
            last: None,
            interrupts: signal(SignalKind::interrupt())?,
            depth: 0,
            names_changed: false,
        })
    }

    /// Sends results to `path` from now on; `None` is the screen again.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn set_output(&mut self, path: Option<&Path>) -> Result<(), Failure> {
        self.output = match path {
            None => None,
            Some(path) => {
                let file = File::create(path).map_err(|error| cannot("write", path, &error))?;
                Some(Output { path: path.to_owned(), file, is_full: false })
            }
        };
        Ok(())
    }

    /// Runs all of `text`; stops at the first error. What is not ended by `;` counts as a statement, too.
    ///
    /// # Errors
    /// The first error, or that the user interrupted.
    pub async fn run_script(&mut self, text: &str) -> Result<Next, Failure> {
        let split = split(text);
        let rest = (!split.rest.is_empty()).then_some(Piece::Statement(split.rest));
        for piece in split.pieces.into_iter().chain(rest) {
            if self.run_piece(&piece).await? == Next::Quit {
                return Ok(Next::Quit);
            }
        }
        Ok(Next::Continue)
    }

    /// Runs one statement or command.
    ///
    /// # Errors
    /// Its error, or that the user interrupted it.
    pub async fn run_piece(&mut self, piece: &Piece) -> Result<Next, Failure> {
        match piece {
            Piece::Statement(sql) => {
                self.last = Some(sql.clone());
                self.run_statement(sql).await?;
                Ok(Next::Continue)
            }
            Piece::Command(line) => {
                let command = command::parse(line).map_err(Failure::new)?;
                Box::pin(self.run_command(command)).await
            }
        }
    }

    /// Ctrl-C pressed while nothing ran means nothing for the next statement.
    pub fn forget_interrupts(&mut self) {
        while self.interrupts.recv().now_or_never().flatten().is_some() {}
    }

    async fn run_command(&mut self, command: Command) -> Result<Next, Failure> {
        match command {
            Command::Quit => return Ok(Next::Quit),
            Command::Help => self.say(command::HELP)?,
            Command::Objects(listing) => self.run_statement(objects::list_sql(listing)).await?,
            Command::Describe(name) => objects::describe(self, &name).await?,
            Command::Timing(switch) => {
                self.timing = switch.apply(self.timing);
                self.say(&format!("timing is {}", on_off(self.timing)))?;
            }
            Command::Expanded(switch) => {
                self.style.expanded = switch.apply(self.style.expanded);
                self.say(&format!("expanded display is {}", on_off(self.style.expanded)))?;
            }
            Command::Format(format) => {
                self.style.format = format.unwrap_or(self.style.format);
                self.say(&format!("format is {}", self.style.format.name()))?;
            }
            Command::Output(path) => self.set_output(path.as_deref())?,
            Command::Include(path) => return self.include(&path).await,
            Command::Watch { every, sql } => self.watch(every, sql).await?,
        }
        Ok(Next::Continue)
    }

    async fn include(&mut self, path: &Path) -> Result<Next, Failure> {
        if self.depth >= INCLUDE_DEPTH {
            return Err(Failure::new(format!("scripts include one another {INCLUDE_DEPTH} deep; is there a cycle?")));
        }
        let text = read_script(path)?;
        self.depth += 1;
        let next = self.run_script(&text).await;
        self.depth -= 1;
        next
    }

    /// Repeats until Ctrl-C, which is the normal end and no error.
    async fn watch(&mut self, every: Duration, sql: Option<String>) -> Result<(), Failure> {
        let nothing = || Failure::new("\\watch has nothing to repeat; write \\watch SECONDS SQL");
        let sql = sql.or_else(|| self.last.clone()).ok_or_else(nothing)?;
        loop {
            match self.run_statement(&sql).await {
                Err(failure) if failure.exit() == Exit::Interrupted => return Ok(()),
                other => other?,
            }
            tokio::select! {
                _ = self.interrupts.recv() => return Ok(()),
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    /// Runs one statement and writes its result.
    ///
    /// # Errors
    /// Its error, or that the user interrupted it.
    pub async fn run_statement(&mut self, sql: &str) -> Result<(), Failure> {
        let meter = Arc::new(Meter::default());
        let cancel = CancellationToken::new();
        let backend = self.backend.clone();
        let mut display = Display::of_statement();
        let started = start(backend.as_ref(), sql, &meter, &cancel);
        let started = meter::watch(started, &meter, &mut display);
        let started = interruptible(&mut self.interrupts, &cancel, &meter, started).await?;
        let data_as_of = started.data_as_of();
        match started {
            Started::Done { message, details } => {
                self.names_changed = true;
                self.say(&message)?;
                if let Some(details) = details {
                    let mut writer = self.writer(&details.schema())?;
                    writer.write(&details)?;
                    writer.finish()?;
                }
            }
            Started::Rows { schema, first, rows, .. } => {
                let mut writer = self.writer(&schema)?;
                let mut display = if self.output.is_some() { Display::of_statement() } else { Display::Nothing };
                let work = meter::watch(write_all(writer.as_mut(), first, rows, &meter, &cancel), &meter, &mut display);
                interruptible(&mut self.interrupts, &cancel, &meter, work).await?;
            }
        }
        if self.timing {
            self.say(&timing(meter.elapsed(), data_as_of))?;
        }
        Ok(())
    }

    fn writer(&mut self, schema: &SchemaRef) -> Result<Box<dyn RowWriter>, Failure> {
        let is_parquet = self.style.format == OutputFormat::Parquet;
        let sink: Sink = match &mut self.output {
            Some(output) if output.is_full => {
                let message = format!("'{}' is a finished Parquet file with one result", output.path.display());
                return Err(Failure::new(message).with_hint("name the next file with \\o FILE"));
            }
            Some(output) => {
                output.is_full = is_parquet;
                Box::new(BufWriter::new(output.file.try_clone()?))
            }
            None if is_parquet => {
                let failure = Failure::new("Parquet results need a file");
                return Err(failure.with_hint("use --output FILE, or \\o FILE before the statement"));
            }
            None => Box::new(BufWriter::new(io::stdout())),
        };
        let colour = self.style.colour && self.output.is_none();
        format::writer(Style { colour, ..self.style }, schema, sink)
    }

    /// The first column of a small answer, as text; NULLs left out.
    ///
    /// # Errors
    /// The statement's.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        let reply = self.backend.run(sql, Arc::new(Meter::default()), CancellationToken::new()).await?;
        let Reply::Rows { mut rows, .. } = reply else { return Ok(Vec::new()) };
        let mut texts = Vec::new();
        while let Some(batch) = rows.next().await.transpose()? {
            let column = cast(batch.column(0), &DataType::Utf8)?;
            texts.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
        }
        Ok(texts)
    }

    /// A message for people.
    ///
    /// # Errors
    /// When standard output is gone.
    pub fn say(&self, text: &str) -> Result<(), Failure> {
        match self.audience {
            Audience::Person => out::say(text)?,
            Audience::Script => out::note(text),
        }
        Ok(())
    }
}

/// A statement whose first batch is here.
enum Started {
    Done { message: String, details: Option<RecordBatch> },
    Rows { schema: SchemaRef, first: Option<RecordBatch>, rows: Rows, data_as_of: Option<Timestamp> },
}

impl Started {
    fn data_as_of(&self) -> Option<Timestamp> {
        match self {
            Self::Done { .. } => None,
            Self::Rows { data_as_of, .. } => *data_as_of,
        }
    }
}

async fn start(
    backend: &dyn Backend,
    sql: &str,
    meter: &Arc<Meter>,
    cancel: &CancellationToken,
) -> Result<Started, Failure> {
    Ok(match backend.run(sql, meter.clone(), cancel.clone()).await? {
        Reply::Done { message, details } => Started::Done { message, details },
        Reply::Rows { schema, mut rows, data_as_of } => {
            let first = next_batch(&mut rows, cancel).await?;
            Started::Rows { schema, first, rows, data_as_of }
        }
    })
}

async fn write_all(
    writer: &mut dyn RowWriter,
    first: Option<RecordBatch>,
    mut rows: Rows,
    meter: &Meter,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let mut next = first;
    while let Some(batch) = next {
        writer.write(&batch)?;
        meter.add_rows(batch.num_rows() as u64);
        next = next_batch(&mut rows, cancel).await?;
    }
    writer.finish()
}

/// The next batch. A cancelled statement keeps nobody waiting until it notices: its rows are dropped, which stops it.
async fn next_batch(rows: &mut Rows, cancel: &CancellationToken) -> Result<Option<RecordBatch>, Failure> {
    tokio::select! {
        next = rows.next() => next.transpose(),
        () = cancel.cancelled() => Err(Failure::interrupted("cancelled")),
    }
}

/// Lets Ctrl-C cancel `work`: it then has [`CANCEL_GRACE`], or until a second Ctrl-C, to end.
async fn interruptible<T>(
    interrupts: &mut Signal,
    cancel: &CancellationToken,
    meter: &Meter,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = Box::pin(work);
    tokio::select! {
        result = &mut work => return result,
        _ = interrupts.recv() => cancel.cancel(),
    }
    tokio::select! {
        _ = &mut work => {}
        _ = interrupts.recv() => {}
        () = tokio::time::sleep(CANCEL_GRACE) => {}
    }
    Err(Failure::interrupted(format!("cancelled after {:.1} s", meter.elapsed().as_secs_f64())))
}

/// Reads a script; `-` is standard input.
///
/// # Errors
/// A file that cannot be read, or is not UTF-8.
pub fn read_script(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    read.map_err(|error| cannot("read", path, &error))
}

fn cannot(action: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot {action} '{}': {error}", path.display()))
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn timing(elapsed: Duration, data_as_of: Option<Timestamp>) -> String {
    let millis = elapsed.as_secs_f64() * 1_000.0;
    match data_as_of {
        Some(moment) => format!("time: {millis:.1} ms, data as of {moment}"),
        None => format!("time: {millis:.1} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_says_how_fresh_the_data_is() {
        let elapsed = Duration::from_micros(12_340);
        assert_eq!(timing(elapsed, None), "time: 12.3 ms");
        let moment = Some(Timestamp(0));
        assert_eq!(timing(elapsed, moment), "time: 12.3 ms, data as of 1970-01-01T00:00:00.000000Z");
    }
}
