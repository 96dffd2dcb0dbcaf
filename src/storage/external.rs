//! Files outside the lake that are loaded into it.
use super::StorageError;
/// One file to load: on this machine or in a bucket.
#[derive(Clone, Debug)]
pub struct ExternalFile {
    pub path: String,
    pub bytes: u64,
}
impl ExternalFile {
    /// A local copy to read from: the file itself, or a temporary download that lives as long as the guard.
    pub async fn local(&self) -> Result<LocalFile, StorageError> {
        todo!()
    }
}
#[derive(Debug)]
pub struct LocalFile {
    pub path: std::path::PathBuf,
}
