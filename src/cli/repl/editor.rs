//! The prompt: rustyline with history, completion, colours, and Enter that runs only complete input.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper, Hinter};

use crate::catalog::redacted;

use super::super::failure::Failure;
use super::complete::complete;
use super::highlight::highlight;
use super::split::is_complete;
use super::words::Names;

const PROMPT: &str = "adlake> ";
const HISTORY_MAX: usize = 10_000;

/// What was typed.
pub enum Line {
    Input(String),
    /// Ctrl-C: forget what was typed.
    Cancelled,
    /// Ctrl-D.
    End,
}

/// Reads input from a person.
pub struct Prompt {
    editor: Editor<Assistant, DefaultHistory>,
    history: Option<PathBuf>,
}

impl Prompt {
    /// `names` may be filled later, from another thread.
    ///
    /// # Errors
    /// A terminal that cannot be used.
    pub fn new(names: Arc<RwLock<Names>>, colour: bool) -> Result<Self, Failure> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .history_ignore_space(true)
            .max_history_size(HISTORY_MAX)?
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Assistant { names, colour, files: FilenameCompleter::new() }));
        let history = history_file();
        if let Some(path) = &history {
            // The first time there is none.
            let _absent = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// Waits for input that is complete.
    ///
    /// # Errors
    /// A terminal that went away.
    pub fn read(&mut self) -> Result<Line, Failure> {
        match self.editor.readline(PROMPT) {
            Ok(text) => {
                self.remember(&text);
                Ok(Line::Input(text))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Cancelled),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error.into()),
        }
    }

    /// Input with a password is not kept at all.
    ///
    /// Written after each input, so that a crash or a second session loses nothing. A history that cannot be written is
    /// no reason to stop.
    fn remember(&mut self, text: &str) {
        let has_secret = matches!(redacted(text), Cow::Owned(_));
        if has_secret || text.trim().is_empty() || !self.editor.add_history_entry(text.trim_end()).unwrap_or(false) {
            return;
        }
        if let Some(path) = &self.history {
            let _lost = self.editor.append_history(path);
        }
    }
}

/// `$XDG_DATA_HOME/adlake/history`, by default in `~/.local/share`.
fn history_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")))?;
    let folder = data.join("adlake");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

#[derive(Helper, Hinter)]
struct Assistant {
    names: Arc<RwLock<Names>>,
    colour: bool,
    files: FilenameCompleter,
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if line.starts_with("\\i ") || line.starts_with("\\o ") {
            return self.files.complete(line, at, context);
        }
        let (start, offers) = complete(&line[..at], &self.names.read());
        let pair = |offer: String| Pair { display: offer.clone(), replacement: offer };
        Ok((start, offers.into_iter().map(pair).collect()))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _at: usize) -> Cow<'l, str> {
        if self.colour { Cow::Owned(highlight(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        if self.colour { Cow::Owned(format!("\x1b[1;34m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_char(&self, _line: &str, _at: usize, kind: CmdKind) -> bool {
        self.colour && kind != CmdKind::MoveCursor
    }
}
