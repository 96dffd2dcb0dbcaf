//! `[lease]`: how long an owner is believed to live.

use serde::Deserialize;

use crate::base::Span;
use crate::storage::StorageError;

/// `[lease]` in the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseConfig {
    /// A lease not renewed for this long is dead, and others take over.
    pub ttl: Span,
    /// How often the holder renews.
    pub renew: Span,
    /// A lease unused for this long is given back.
    pub idle_release: Span,
}

impl LeaseConfig {
    /// # Errors
    /// When one lost renewal would already end a lease.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        let LeaseConfig { ttl, renew, .. } = self;
        if renew.0.is_zero() || renew.0 * 3 > ttl.0 {
            return Err(StorageError::Invalid {
                message: format!(
                    "lease.renew ({renew}) must be above zero and at most a third of lease.ttl ({ttl}), so that one lost \
                     renewal does not end a lease"
                ),
            });
        }
        Ok(())
    }
}
