//! The files as they are at one moment, read before anything is made of them. Nothing is interpreted here.

use std::io;

use tokio::io::AsyncReadExt;

use super::config::PemFile;
use super::{TlsConfig, TlsError};

/// Chains and bundles of authorities are a few hundred kilobytes; larger is a wrong file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// One file, and what it is called in messages.
pub struct PemText {
    pub key: &'static str,
    pub path: String,
    pub bytes: Vec<u8>,
}

/// All files.
pub struct Files {
    pub certificate: PemText,
    pub key: PemText,
    /// When clients' certificates are looked at.
    pub client_ca: Option<PemText>,
}

impl Files {
    /// # Errors
    /// A file that cannot be read.
    pub async fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        let client_ca = match config.client_ca.is_empty() {
            true => None,
            false => Some(read("tls.client_ca", &config.client_ca).await?),
        };
        Ok(Self {
            certificate: read("tls.certificate", &config.certificate).await?,
            key: read("tls.key", &config.key).await?,
            client_ca,
        })
    }

    /// The same for the same content, whatever the files' times and names.
    pub fn fingerprint(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for part in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten() {
            hasher.update(&(part.bytes.len() as u64).to_le_bytes());
            hasher.update(&part.bytes);
        }
        hasher.finalize()
    }
}

async fn read(key: &'static str, file: &PemFile) -> Result<PemText, TlsError> {
    let path = file.to_string();
    let reading = async {
        let opened = tokio::fs::File::open(file.path()).await?;
        let mut bytes = Vec::new();
        opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
        Ok::<_, io::Error>(bytes)
    };
    match reading.await {
        Ok(bytes) if bytes.len() as u64 > FILE_BYTES_MAX => {
            Err(TlsError::TooLarge { key, path, limit: FILE_BYTES_MAX })
        }
        Ok(bytes) => Ok(PemText { key, path, bytes }),
        Err(source) => Err(TlsError::Read { key, path, source }),
    }
}
