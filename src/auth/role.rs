//! The roles every lake has. What they may do is fixed; custom roles may only what is granted to them.
//!
//! | role | reads | calls | rows in | objects | users, roles, grants, policies |
//! |---|---|---|---|---|---|
//! | `reader` | what is granted | what is granted | | | |
//! | `analyst` | all tables and views | all endpoints | | | |
//! | `engineer` | all tables and views | all endpoints | all tables | makes, changes, drops, refreshes, maintains | |
//! | `ingest` | | | all tables | | |
//! | `admin` | all, without policies and masks | all | all, also files of the server (COPY) | all | all |
//!
//! Row policies and masks hold for every role but `admin`.

pub const READER: &str = "reader";
pub const ANALYST: &str = "analyst";
pub const ENGINEER: &str = "engineer";
pub const INGEST: &str = "ingest";
pub const ADMIN: &str = "admin";

/// They exist in every lake and cannot be dropped.
pub const BUILT_IN_ROLES: [&str; 5] = [READER, ANALYST, ENGINEER, INGEST, ADMIN];
