//! What is stored of a lease, and how it is written down.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::process::ProcessMark;
use crate::base::Timestamp;
use crate::storage::StorageError;

/// The form below; others are refused rather than misread.
const FORMAT: u32 = 1;

/// Where a holder's servers listen, as URLs (`http://host:port`, `https://…`; `grpc://host:port`, `grpc+tls://…`); empty when
/// it serves nothing (a command).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub http: String,
    pub grpc: String,
}

impl Address {
    /// Processes that knew no TLS wrote `host:port`.
    fn into_urls(self) -> Self {
        let url = |scheme: &str, address: String| match address.is_empty() || address.contains("://") {
            true => address,
            false => format!("{scheme}://{address}"),
        };
        Self { http: url("http", self.http), grpc: url("grpc", self.grpc) }
    }
}

/// One lease as the lake holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    pub name: String,
    /// `None`: given back.
    pub holder: Option<Uuid>,
    /// Of the last holder.
    pub address: Address,
    /// Grows with every change of holder.
    pub fence: u64,
    /// Grows with every renewal of one holder.
    pub renewals: u64,
    /// By the holder's wall clock: for people, never compared.
    pub renewed_at: Timestamp,
    /// The holder's process, for observers on its machine.
    pub(super) process: Option<ProcessMark>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    holder: Option<Uuid>,
    #[serde(flatten)]
    address: Address,
    fence: u64,
    renewals: u64,
    renewed_at: Timestamp,
    process: Option<ProcessMark>,
}

impl LeaseRecord {
    pub(super) fn encode(&self) -> Result<Bytes, StorageError> {
        let LeaseRecord { name, holder, address, fence, renewals, renewed_at, process } = self.clone();
        let stored = Stored { format: FORMAT, holder, address, fence, renewals, renewed_at, process };
        serde_json::to_vec(&stored)
            .map(Bytes::from)
            .map_err(|error| StorageError::Invalid { message: format!("cannot write lease '{name}': {error}") })
    }

    pub(super) fn decode(name: &str, content: &[u8]) -> Result<Self, StorageError> {
        let damaged = |reason: String| StorageError::Damaged { message: format!("lease '{name}': {reason}") };
        let stored: Stored = serde_json::from_slice(content).map_err(|error| damaged(error.to_string()))?;
        let Stored { format, holder, address, fence, renewals, renewed_at, process } = stored;
        if format != FORMAT {
            return Err(damaged(format!("written in form {format}, this version of adlake reads form {FORMAT}")));
        }
        let address = address.into_urls();
        Ok(Self { name: name.to_owned(), holder, address, fence, renewals, renewed_at, process })
    }
}
