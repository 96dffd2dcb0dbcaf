//! `adlake.ipc_compression`: how the batches of results are compressed where a protocol sends them as Arrow IPC messages. A setting
//! of the session, because only its client knows whether it can read them, and whether its network is slower than its processor.

use super::{QueryError, Session};

/// The setting's name.
pub const IPC_COMPRESSION: &str = "adlake.ipc_compression";

/// One of the compressions of the Arrow IPC format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpcCompression {
    #[default]
    None,
    /// LZ4 frames: little work, text to about a half.
    Lz4,
    Zstd,
}

impl IpcCompression {
    /// Reads a value of the setting, as a session or a single call gives it.
    ///
    /// # Errors
    /// Any other word.
    pub fn read(text: &str) -> Result<Self, QueryError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "none" | "default" => Ok(Self::None),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            _ => Err(QueryError::Invalid {
                message: format!("{IPC_COMPRESSION} is 'none', 'lz4' or 'zstd', not '{text}'"),
            }),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// What a session has set.
    pub fn of(session: &Session) -> Self {
        session.get(IPC_COMPRESSION).and_then(|text| Self::read(&text).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for compression in [IpcCompression::None, IpcCompression::Lz4, IpcCompression::Zstd] {
            assert_eq!(IpcCompression::read(compression.as_str()).unwrap(), compression);
        }
        assert_eq!(IpcCompression::read(" ZSTD ").unwrap(), IpcCompression::Zstd);
        let refused = IpcCompression::read("gzip").unwrap_err().to_string();
        assert_eq!(refused, "adlake.ipc_compression is 'none', 'lz4' or 'zstd', not 'gzip'");
    }
}
