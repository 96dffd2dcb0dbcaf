//! Where the lakes of these tests lie: in the test's own folder or, with ADLAKE_TEST_LAKE=s3, in a bucket of the S3 server that
//! `tests/run.sh it-s3` starts. A test names its folder either way.

use std::path::{Path, PathBuf};

/// Of the server, as `tests/run.sh` starts it.
const BUCKET: &str = "lakes";

fn is_on_s3() -> bool {
    std::env::var("ADLAKE_TEST_LAKE").is_ok_and(|place| place == "s3")
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; tests/run.sh it-s3 sets it"))
}

/// The lake that belongs to `folder`, as `lake.location` names it.
pub fn location(folder: &Path) -> String {
    match is_on_s3() {
        true => format!("s3://{BUCKET}/{}", key(folder)),
        false => folder.join("lake").display().to_string(),
    }
}

/// Configuration of a process over the lake of `folder`.
pub fn settings(folder: &Path) -> Vec<(String, String)> {
    let mut settings = vec![("lake.location".to_owned(), location(folder))];
    if is_on_s3() {
        let store = [
            ("endpoint", variable("ADLAKE_TEST_S3_ENDPOINT")),
            ("region", variable("AWS_REGION")),
            ("access_key_id", variable("AWS_ACCESS_KEY_ID")),
            ("secret_access_key", variable("AWS_SECRET_ACCESS_KEY")),
            ("allow_http", "true".to_owned()),
        ];
        settings.extend(store.map(|(key, value)| (format!("storage.s3.{key}"), value)));
    }
    settings
}

/// The folder in which the files of that lake can be looked at: the server keeps a bucket as a folder, a key as a file.
pub fn files(folder: &Path) -> PathBuf {
    match is_on_s3() {
        true => Path::new(&variable("ADLAKE_TEST_S3_ROOT")).join(BUCKET).join(key(folder)),
        false => folder.join("lake"),
    }
}

fn key(folder: &Path) -> String {
    format!("{}/lake", folder.display().to_string().trim_start_matches('/'))
}
