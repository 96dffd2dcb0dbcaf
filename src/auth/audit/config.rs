//! `[audit]`: whether uses of rights are recorded, for how long, and what of statements.

use serde::Deserialize;

use crate::auth::AuthMode;
use crate::base::Span;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// Recorded while `auth.mode` is on.
    pub mode: AuthMode,
    pub statements: AuditedText,
    /// How long rows are kept, by whole days.
    pub retention: Span,
    /// Time between two commits.
    pub write_interval: Span,
    /// Rows that wait to be written, at most.
    pub queue_length: usize,
}

/// What of a statement's text is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditedText {
    /// As it was sent, without passwords.
    Text,
    /// Without any value.
    Shape,
    None,
}
