//! Where a lake is: text → [`LakeLocation`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use super::StorageError;

/// `./lake`, `/data/lake` or `s3://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LakeLocation {
    Folder(PathBuf),
    S3 { bucket: String, prefix: String },
}

impl FromStr for LakeLocation {
    type Err = StorageError;

    /// A path, a `file://` URL, or `s3://bucket/prefix` (the prefix may be empty).
    fn from_str(text: &str) -> Result<Self, StorageError> {
        let wrong = |reason: &str| StorageError::BadLocation { location: text.to_owned(), reason: reason.to_owned() };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(wrong("it is empty; give a folder, or s3://bucket/prefix"));
        }
        let Some((scheme, rest)) = trimmed.split_once("://") else {
            return Ok(Self::Folder(PathBuf::from(trimmed)));
        };
        match scheme {
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(wrong("the bucket is missing; write s3://bucket/prefix"));
                }
                Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
            }
            "file" => Url::parse(trimmed)
                .ok()
                .and_then(|url| url.to_file_path().ok())
                .map(Self::Folder)
                .ok_or_else(|| wrong("a file URL has an absolute path, such as file:///data/lake")),
            "s3a" | "s3n" => Err(wrong("write s3:// instead")),
            _ => Err(wrong("only folders and s3://bucket/prefix are supported")),
        }
    }
}

impl fmt::Display for LakeLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// The path with links followed, as far as it exists.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = whole.ancestors().find_map(|known| Some((known, known.canonicalize().ok()?)));
    match known {
        Some((known, real)) => whole.strip_prefix(known).map_or(real.clone(), |rest| real.join(rest)),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets() {
        let parse = |text: &str| text.parse::<LakeLocation>().unwrap();
        assert_eq!(parse("./lake"), LakeLocation::Folder("./lake".into()));
        assert_eq!(parse("file:///data/my%20lake"), LakeLocation::Folder("/data/my lake".into()));
        let bucket = parse("s3://ads/lake/prod/");
        assert_eq!(bucket, LakeLocation::S3 { bucket: "ads".into(), prefix: "lake/prod".into() });
        assert_eq!(bucket.to_string(), "s3://ads/lake/prod");
        assert_eq!(parse("s3://ads").to_string(), "s3://ads");
    }

    #[test]
    fn others_are_refused_with_a_reason() {
        for (text, reason) in
            [("", "empty"), ("s3:///x", "bucket is missing"), ("s3a://b/x", "s3://"), ("gs://b", "only")]
        {
            let error = text.parse::<LakeLocation>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
