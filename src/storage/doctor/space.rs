//! Room on the disk that holds the lake.

use std::path::Path;

use super::Check;
use crate::base::ByteSize;

const NAME: &str = "disk space";
/// Below this, the next compaction or load may fill the disk.
const FREE_WARN: u64 = 10 << 30;
const FREE_FAIL: u64 = 1 << 30;

pub(super) fn check(root: &Path) -> Check {
    match nix::sys::statvfs::statvfs(root) {
        Ok(found) => {
            let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
            judge(bytes(found.blocks_available()), bytes(found.blocks()))
        }
        Err(error) => Check::warn(NAME, format!("cannot be read: {error}"), "look at it with `df`"),
    }
}

fn judge(free: u64, whole: u64) -> Check {
    let detail = format!("{} of {} are free", gibibytes(free), gibibytes(whole));
    let fix = "free some space, or move the lake to a larger disk";
    match free {
        free if free < FREE_FAIL => Check::fail(NAME, detail, fix),
        free if free < FREE_WARN => Check::warn(NAME, detail, fix),
        _ => Check::ok(NAME, detail),
    }
}

fn gibibytes(bytes: u64) -> String {
    match bytes >> 30 {
        0 => ByteSize(bytes).to_string(),
        gibibytes => format!("{gibibytes} GiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_full_disk_fails_and_a_filling_one_warns() {
        assert_eq!(judge(500 << 20, 100 << 30).verdict, Verdict::Fail);
        assert_eq!(judge(5 << 30, 100 << 30).verdict, Verdict::Warn);
        assert_eq!(judge(50 << 30, 100 << 30), Check::ok(NAME, "50 GiB of 100 GiB are free"));
    }
}
