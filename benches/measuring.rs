//! What the programs that measure have in common: a folder of their own, and how times are printed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

/// Two digits behind the point.
pub fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A temporary folder, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    /// `name` is that of the program.
    pub fn create(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("adlake-{name}-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's cleaning of its temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
