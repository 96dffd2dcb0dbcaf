//! How a command ends: its exit code, and why it failed with what to do about it.

use std::process::ExitCode;

use crate::base::Kind;

/// The exit codes of `adlake`, documented in `adlake --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    /// Wrong arguments or configuration.
    Usage,
    /// `plan --exit-code` found changes. The same number as usage: the convention of such tools.
    Changes,
    /// `load` finished, some rows were rejected.
    Rejects,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage | Exit::Changes => 2,
            Exit::Rejects => 3,
            Exit::Interrupted => 130,
        }
    }
}

/// A command that could not do its work.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self::from(anyhow::Error::msg(message.into()))
    }

    /// Wrong arguments or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// The user pressed Ctrl-C.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self { exit: Exit::Interrupted, ..Self::new(message) }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what a person can do about errors of a kind whose messages cannot know (they come from deep below).
    #[must_use]
    pub fn with_hint_for(self, kind: Kind) -> Self {
        match kind {
            Kind::Conflict => self.with_hint("somebody else changed the same thing; run it again"),
            Kind::Internal => self.with_hint("this is a bug; please report it with the text above"),
            _ => self,
        }
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    pub fn error(&self) -> &anyhow::Error {
        &self.error
    }

    pub fn message(&self) -> String {
        self.error.to_string()
    }

    /// The causes, leaving out those whose text is already shown.
    pub fn causes(&self) -> Vec<String> {
        let mut shown = self.message();
        let mut causes = Vec::new();
        for cause in self.error.chain().skip(1) {
            let text = cause.to_string();
            if !shown.contains(&text) {
                shown.push_str(&text);
                causes.push(text);
            }
        }
        causes
    }

    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), hint: None, exit: Exit::Failed }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_listed_once() {
        let inner = Err::<(), _>(anyhow::Error::msg("disk full")).context("cannot write: disk full");
        let failure = Failure::from(inner.context("cannot export").unwrap_err());
        assert_eq!(failure.message(), "cannot export");
        assert_eq!(failure.causes(), ["cannot write: disk full"]);
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Changes, Exit::Rejects, Exit::Interrupted];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 2, 3, 130]);
    }
}
