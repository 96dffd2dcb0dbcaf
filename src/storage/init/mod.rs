//! `adlake init`: makes the place a lake lives in, and sets it up as a lake wants it.
//!
//! ```text
//! folder: make it
//! bucket: make it ─► block public access ─► encryption ─► lifecycle ─► versioning (advice only)
//! ```
//! Every step looks first and changes only what is missing, so running it again changes nothing; what the user has set is
//! never taken away. A step that the server does not know, or these keys may not do, is said, and the next one goes on.
//!
//! Not here: proving that the store works (`doctor`), printing (cli).

mod bucket;
mod lifecycle;

use super::{LakeLocation, S3Config, StorageError};

/// Whether to change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitMode {
    Change,
    /// Say what would be done.
    DryRun,
}

/// What became of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    Done,
    /// With [`InitMode::DryRun`]: it is missing.
    WouldDo,
    /// It was so before.
    AlreadySo,
    /// The server has no such feature.
    Unsupported,
    /// For a person to decide.
    Advice,
    /// It could not be done; the detail says why.
    Failed,
}

/// One step of setting up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitStep {
    pub name: &'static str,
    pub outcome: StepOutcome,
    pub detail: String,
}

impl InitStep {
    fn new(name: &'static str, outcome: StepOutcome, detail: impl Into<String>) -> Self {
        Self { name, outcome, detail: detail.into() }
    }
}

/// Sets up `location`; idempotent.
///
/// # Errors
/// When there is no place to set up at all: a path that is a file, a bucket of somebody else's, keys that are refused.
pub async fn init(location: &LakeLocation, s3: &S3Config, mode: InitMode) -> Result<Vec<InitStep>, StorageError> {
    match location {
        LakeLocation::Folder(path) => folder(location, path, mode).map(|step| vec![step]),
        LakeLocation::S3 { bucket, prefix } => bucket::init(bucket, prefix, s3, mode).await,
    }
}

fn folder(location: &LakeLocation, path: &std::path::Path, mode: InitMode) -> Result<InitStep, StorageError> {
    const NAME: &str = "folder";
    if path.exists() && !path.is_dir() {
        return Err(StorageError::BadLocation {
            location: location.to_string(),
            reason: "it is a file; give a folder".to_owned(),
        });
    }
    if path.is_dir() {
        return Ok(InitStep::new(NAME, StepOutcome::AlreadySo, format!("'{location}' is there")));
    }
    if mode == InitMode::DryRun {
        return Ok(InitStep::new(NAME, StepOutcome::WouldDo, format!("make '{location}'")));
    }
    std::fs::create_dir_all(path).map_err(|error| StorageError::io(format!("make the folder '{location}'"), error))?;
    Ok(InitStep::new(NAME, StepOutcome::Done, format!("'{location}' made")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config_value::Secret;

    fn s3() -> S3Config {
        S3Config {
            endpoint: String::new(),
            region: String::new(),
            access_key_id: Secret::default(),
            secret_access_key: Secret::default(),
            allow_http: false,
        }
    }

    #[tokio::test]
    async fn a_folder_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let location = LakeLocation::Folder(root.path().join("new/lake"));
        for (mode, outcome, exists) in [
            (InitMode::DryRun, StepOutcome::WouldDo, false),
            (InitMode::Change, StepOutcome::Done, true),
            (InitMode::Change, StepOutcome::AlreadySo, true),
        ] {
            let steps = init(&location, &s3(), mode).await.unwrap();
            assert_eq!(steps[0].outcome, outcome);
            assert_eq!(root.path().join("new/lake").is_dir(), exists);
        }
    }

    #[tokio::test]
    async fn a_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("lake");
        std::fs::write(&file, "").unwrap();
        let error = init(&LakeLocation::Folder(file), &s3(), InitMode::Change).await.unwrap_err();
        assert!(error.to_string().contains("is a file; give a folder"), "{error}");
    }
}
