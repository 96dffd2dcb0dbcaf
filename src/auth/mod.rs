//! Who a caller is, and what they may do: users, roles, tokens, grants, row policies, masks.
//!
//! Layer 2. Imports `storage`, `base`, `telemetry`; not `catalog`: what an object is, is none of its business, only its name.
//!
//! ```text
//! credential ─► authenticate (throttle, password, token, JWT) ─► Identity ─┐
//! document of the lake ─► store (compare-and-swap) ─► DirectorySnapshot ─┴─► Access: what this caller may do now
//! ```
//! An [`Identity`] is proved once; an [`Access`] is worked out for every statement from the newest snapshot, so that a dropped
//! user, a revoked token and a taken grant end at once, on every process within a second.
//!
//! What callers did is recorded in the [`audit`], beside it.
//!
//! Everything here refuses when in doubt. Applying an `Access` is not here: `query` does it for statements, `server` for ingest.

pub mod access;
pub mod audit;
pub mod authenticate;
pub mod config;
pub mod error;
pub mod limits;
// what is kept
mod edit;
mod model;
mod role;
mod store;
mod stored;
// proofs
mod jwt;
mod password;
mod recent;
mod scram;
mod secret;
mod throttle;
mod verified;

pub use access::{Access, Reading, Rows};
pub use audit::{AUDIT_PATH, AuditConfig, AuditEntry, AuditLog, AuditedText, Decision, audit_columns};
pub use authenticate::{Authenticator, Credential, Identity};
pub use config::{AuthConfig, AuthMode, JwtConfig};
pub use edit::{Edit, UserChange};
pub use error::AuthError;
pub use limits::{Allowance, ByRole, LimitsConfig};
pub use model::{
    DirectorySnapshot, Grant, Grantee, Mask, MaskRule, Policy, Privilege, Scope, ScopeUse, Subject, Token, User,
};
pub use password::PasswordHash;
pub use role::{ADMIN, BUILT_IN_ROLES, ENGINEER};
pub use scram::ScramExchange;
pub use secret::{NewToken, is_ours};
pub use store::Directory;
