//! `[auth]`: whether callers must say who they are, and what proving it costs.

use serde::Deserialize;

use super::limits::LimitsConfig;
use crate::base::{ByteSize, Span};

/// Whether the servers ask who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Everybody may do everything; the servers listen on loopback only, unless `server.insecure`.
    Off,
    /// Every call proves who it is from; grants and policies hold.
    On,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    pub mode: AuthMode,
    /// Argon2id (RFC 9106): memory of one hash.
    pub password_memory: ByteSize,
    /// Passes over that memory.
    pub password_passes: u32,
    /// Lanes of one hash.
    pub password_lanes: u32,
    /// Passwords checked at the same time; further ones wait.
    pub password_checks: usize,
    /// Shortest password, in characters.
    pub password_length_min: usize,
    /// Iterations of the SCRAM-SHA-256 verifiers kept of new passwords; 0 = none are kept.
    pub scram_iterations: u32,
    /// Life of a token whose CREATE TOKEN does not say.
    pub token_lifetime: Span,
    /// Longest life of a token.
    pub token_lifetime_max: Span,
    /// Credentials remembered as verified.
    pub verified_max: usize,
    /// Failed attempts for one user before attempts have to wait.
    pub attempts_per_user: u32,
    /// The same for one source address.
    pub attempts_per_address: u32,
    /// Longest such wait.
    pub attempts_pause_max: Span,
    pub jwt: JwtConfig,
    pub limits: LimitsConfig,
}

/// `[auth.jwt]`: tokens of an identity provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// `iss` of its tokens; empty = none are taken.
    pub issuer: String,
    /// What `aud` has to hold.
    pub audience: String,
    /// Its key set (JWKS): a file, or an `https://` address.
    pub keys: String,
    /// How often the key set is read again.
    pub refresh: Span,
    /// Algorithms taken, separated by commas.
    pub algorithms: String,
    /// How far its clock and ours may differ.
    pub clock_skew: Span,
    /// The claim that is the user's name.
    pub user_claim: String,
    /// The claim that lists roles or groups: an array of text, or text with spaces.
    pub roles_claim: String,
    /// `theirs=ours, …`: roles here by values of that claim; others give none.
    pub roles: String,
    /// `claim=attribute, …`.
    pub attributes: String,
}
