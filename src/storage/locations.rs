//! Places outside the lake that SQL from elsewhere may read files from: `query.allowed_locations`.
//!
//! A place is checked twice: as it is written, before anything is looked at (so nobody can ask what exists), and each file
//! that was found, with symbolic links followed.

use std::path::{Component, Path};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::StorageError;
use super::external::{fixed_part, local_path};
use super::location::{LakeLocation, resolved};

/// Folders and buckets; none = nothing may be read. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Locations(Arc<[LakeLocation]>);

impl Locations {
    /// Whether all that `place` (a path, pattern, `file://` or `s3://` URL) can mean lies in one of these.
    ///
    /// # Errors
    /// [`StorageError::OutOfReach`], the same whether there is such a file or not.
    pub fn check(&self, place: &str) -> Result<(), StorageError> {
        match self.holds(place) {
            true => Ok(()),
            false => Err(StorageError::OutOfReach { place: place.to_owned() }),
        }
    }

    fn holds(&self, place: &str) -> bool {
        match place.split_once("://") {
            Some(("s3", rest)) => {
                let (bucket, key) = fixed_part(rest).split_once('/').unwrap_or((fixed_part(rest), ""));
                !has_steps_up(rest) && self.0.iter().any(|allowed| allowed.holds_key(bucket, key))
            }
            Some(("file", _)) => local_path(place).is_ok_and(|path| self.holds_pattern(&path.to_string_lossy())),
            Some(_) => false,
            None => self.holds_pattern(place),
        }
    }

    fn holds_pattern(&self, pattern: &str) -> bool {
        !has_steps_up(pattern) && self.holds_file(Path::new(fixed_part(pattern)))
    }

    /// Whether the file, wherever links lead, lies in one of these.
    pub(super) fn holds_file(&self, path: &Path) -> bool {
        // The working directory, of a pattern such as *.csv.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let real = resolved(path);
        self.0.iter().any(|allowed| match allowed {
            LakeLocation::Folder(folder) => real.starts_with(resolved(folder)),
            LakeLocation::S3 { .. } => false,
        })
    }
}

impl LakeLocation {
    /// Whether the key, or the folder of keys, lies in here.
    fn holds_key(&self, bucket: &str, key: &str) -> bool {
        match self {
            Self::Folder(_) => false,
            Self::S3 { bucket: own, prefix } => {
                let below = key.strip_prefix(prefix.as_str());
                own == bucket && below.is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

/// `..` is not needed, and not worth thinking through.
fn has_steps_up(text: &str) -> bool {
    Path::new(text).components().any(|component| component == Component::ParentDir)
}

impl<'de> Deserialize<'de> for Locations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let read: Result<Vec<_>, _> = texts.iter().map(|text| text.parse()).collect();
        read.map(|places| Self(places.into())).map_err(|error: StorageError| serde::de::Error::custom(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locations(places: &[&str]) -> Locations {
        let places = places.iter().map(|place| place.parse().unwrap());
        Locations(places.collect())
    }

    fn check(allowed: &[&str], place: &str, expected: bool) {
        assert_eq!(locations(allowed).check(place).is_ok(), expected, "{place} in {allowed:?}");
    }

    #[test]
    fn folders_hold_what_is_below_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| format!("{}/{path}", folder.path().display());
        std::fs::create_dir_all(at("in/deep")).unwrap();
        let inside = at("in");
        let allowed = [inside.as_str()];
        for (place, expected) in [
            (at("in/a.csv"), true),
            (at("in/*.csv"), true),
            (at("in/**/*.csv"), true),
            (at("in"), true),
            (format!("file://{}", at("in/a%20b.csv")), true),
            (at("inner/a.csv"), false),
            (at("in*/a.csv"), false),
            (at("in/../secret"), false),
            (at("in/*/../../secret"), false),
            (format!("file://{}", at("in/%2e%2e/secret")), false),
            (at("a.csv"), false),
            ("/etc/passwd".to_owned(), false),
            ("*.csv".to_owned(), false),
            ("a.csv".to_owned(), false),
            (String::new(), false),
            (format!("http://{}", at("in/a.csv")), false),
            ("s3://in/a.csv".to_owned(), false),
        ] {
            check(&allowed, &place, expected);
        }
        check(&[], &at("in/a.csv"), false);
        check(&["."], "a.csv", true);
        check(&["/"], "/etc/passwd", true);
    }

    #[test]
    fn links_do_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("in")).unwrap();
        std::fs::create_dir_all(at("out")).unwrap();
        std::fs::write(at("out/secret.csv"), "x").unwrap();
        std::os::unix::fs::symlink(at("out"), at("in/link")).unwrap();
        std::os::unix::fs::symlink(at("out/secret.csv"), at("in/secret.csv")).unwrap();
        std::os::unix::fs::symlink(at("in"), at("alias")).unwrap();
        let allowed = locations(&[&at("in").display().to_string()]);
        for inside in ["in/link/secret.csv", "in/link/*.csv", "in/secret.csv"] {
            assert!(allowed.check(&at(inside).display().to_string()).is_err(), "{inside}");
        }
        assert!(!allowed.holds_file(&at("in/secret.csv")));
        assert!(allowed.check(&at("alias/a.csv").display().to_string()).is_ok(), "links may lead in");
    }

    #[test]
    fn buckets_hold_keys_by_whole_names() {
        let allowed = ["s3://ads/in", "s3://open"];
        for (place, expected) in [
            ("s3://ads/in/a.csv", true),
            ("s3://ads/in/*.csv", true),
            ("s3://ads/in/day=1/*.csv", true),
            ("s3://open/a.csv", true),
            ("s3://open/*", true),
            ("s3://ads/inner/a.csv", false),
            ("s3://ads/in*", false),
            ("s3://ads/*/a.csv", false),
            ("s3://ads/in/../a.csv", false),
            ("s3://other/in/a.csv", false),
            ("s3://ads", false),
            ("/ads/in/a.csv", false),
        ] {
            check(&allowed, place, expected);
        }
    }
}
