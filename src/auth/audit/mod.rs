//! The audit: who asked for what, from where, and what came of it. A table of the lake that rows are only added to, and that
//! expires by whole days (`audit.retention`); read as `system.audit` by those who may administer.
//!
//! ```text
//! a statement or request ends ─► record: bounded queue, never waits ─► every audit.write_interval: one commit, once
//!                                   └─ full: counted, and told by a row ("lost") of the next commit
//! ```
//! Rows are let go rather than answers held up: a lake that cannot be written for a while must not end all reading, and that
//! rows are missing is on record, with their number. Refused sign-ins take a quarter of the queue at most: who floods the
//! server with them cannot push out what callers did. What was recorded is written when the process stops; when it is killed, the
//! rows of the last interval are gone.
//!
//! Not here: what an entry says of a statement (`query`) or of rows put in (`server`).

pub mod config;
pub mod entry;
pub mod log;
mod queue;

pub use config::{AuditConfig, AuditedText};
pub use entry::{AUDIT_PATH, AuditEntry, Decision, audit_columns};
pub use log::AuditLog;
