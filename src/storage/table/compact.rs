//! Which files to rewrite together: a pure decision over what the index knows.
//!
//! Size-tiered, without fixed tiers: the small files of a partition are taken in order of size for as long as the next one
//! is no larger than all before it together, or than twice the one before. So a file is rewritten only with about its own
//! size of others: its rows' file nearly doubles each time, and a byte is rewritten about log2(target / first size) times,
//! however long the table lives. A partition nobody has written to for a while, and a table with too many small files, are merged without that rule:
//! once more, and then they are quiet.
//!
//! Files of half the target and more are left alone, unless they are not in the table's order.
//! Source: the "universal" style of <https://github.com/facebook/rocksdb/wiki/Universal-Compaction>.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::Timestamp;

/// What the decision needs to know of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// Files of different partitions are never merged.
    pub partition: &'a str,
    pub bytes: u64,
    pub written_at: Timestamp,
    /// In the table's order; true when the table has none.
    pub is_sorted: bool,
}

/// How eagerly files are merged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactionLimits {
    /// Files grow to about this.
    pub target_bytes: u64,
    /// Files merged at once, at least.
    pub files_min: usize,
    /// Above this many small files in the table two are enough.
    pub small_files_max: usize,
    /// A partition without new files for so long is merged completely.
    pub settled_after: Duration,
    /// Read by one task at most.
    pub task_bytes: u64,
    pub task_files: usize,
}

/// Merge what pays, or everything that can be merged (`OPTIMIZE`)?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eagerness {
    WhatPays,
    Everything,
}

/// Whether a file counts as small.
pub(crate) fn is_small(bytes: u64, target_bytes: u64) -> bool {
    bytes < target_bytes / 2
}

/// Groups of positions in `files`, each to be rewritten by one task; those that relieve readers most come first.
pub(crate) fn decide(
    files: &[Candidate],
    limits: &CompactionLimits,
    eagerness: Eagerness,
    now: Timestamp,
) -> Vec<Vec<usize>> {
    let small_total = files.iter().filter(|file| is_small(file.bytes, limits.target_bytes)).count();
    let files_min = if small_total > limits.small_files_max { 2 } else { limits.files_min.max(2) };
    let mut partitions: BTreeMap<&str, Vec<(usize, &Candidate)>> = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        partitions.entry(file.partition).or_default().push((at, file));
    }
    let mut tasks = Vec::new();
    for members in partitions.into_values() {
        let newest = members.iter().map(|(_, file)| file.written_at).max().unwrap_or_default();
        let complete = eagerness == Eagerness::Everything || newest.plus(limits.settled_after) <= now;
        let (mut small, large): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|(_, file)| is_small(file.bytes, limits.target_bytes));
        small.sort_by_key(|(_, file)| file.bytes);
        let runs = if complete { vec![small.as_slice()] } else { runs(&small, files_min) };
        tasks.extend(runs.into_iter().flat_map(|run| cut(run, limits)));
        tasks.extend(large.into_iter().filter(|(_, file)| !file.is_sorted).map(|(at, file)| (vec![at], file.bytes)));
    }
    tasks.sort_by_key(|(members, bytes)| (Reverse(members.len()), *bytes));
    tasks.into_iter().map(|(members, _)| members).collect()
}

/// Files in order of size, cut where one is larger than all before it in its run together, and than twice the last. Runs of fewer than `files_min`
/// wait; they join the next run, to which they add little.
fn runs<'a, 'b>(small: &'a [(usize, &'b Candidate<'b>)], files_min: usize) -> Vec<&'a [(usize, &'b Candidate<'b>)]> {
    let mut found = Vec::new();
    let mut first = 0;
    let mut run_from = 0;
    let (mut sum, mut last) = (0_u64, 0_u64);
    for (at, (_, file)) in small.iter().enumerate() {
        let begins_anew = at > run_from && file.bytes > sum && file.bytes > last.saturating_mul(2);
        if begins_anew {
            if at - run_from >= files_min {
                found.extend(small.get(first..at));
                first = at;
            }
            run_from = at;
            sum = 0;
        }
        sum = sum.saturating_add(file.bytes);
        last = file.bytes;
    }
    if small.len() - run_from >= files_min {
        found.extend(small.get(first..));
    }
    found
}

/// A run in pieces one task can take. A file alone gains nothing, unless it is out of order.
fn cut(run: &[(usize, &Candidate)], limits: &CompactionLimits) -> Vec<(Vec<usize>, u64)> {
    let mut tasks: Vec<(Vec<usize>, u64)> = Vec::new();
    for (at, file) in run {
        match tasks.last_mut() {
            Some((members, bytes))
                if members.len() < limits.task_files && bytes.saturating_add(file.bytes) <= limits.task_bytes =>
            {
                members.push(*at);
                *bytes += file.bytes;
            }
            _ => tasks.push((vec![*at], file.bytes)),
        }
    }
    let unsorted = |members: &[usize]| run.iter().any(|(at, file)| members.contains(at) && !file.is_sorted);
    tasks.retain(|(members, _)| members.len() > 1 || unsorted(members));
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const NOW: Timestamp = Timestamp(10_000_000_000);

    fn limits() -> CompactionLimits {
        CompactionLimits {
            target_bytes: 256 * MIB,
            files_min: 4,
            small_files_max: 100,
            settled_after: Duration::from_secs(3600),
            task_bytes: 256 * MIB,
            task_files: 64,
        }
    }

    /// Sizes of the files of each task, of files written just now into one partition.
    fn check(sizes: &[u64], expected: &[&[u64]]) {
        let files: Vec<Candidate> = sizes
            .iter()
            .map(|bytes| Candidate { partition: "", bytes: *bytes, written_at: NOW, is_sorted: true })
            .collect();
        let tasks = decide(&files, &limits(), Eagerness::WhatPays, NOW);
        let tasks: Vec<Vec<u64>> = tasks.iter().map(|task| task.iter().map(|at| sizes[*at]).collect()).collect();
        assert_eq!(tasks, expected);
    }

    #[test]
    fn files_of_similar_size_are_merged() {
        check(&[5, 6, 5], &[]);
        check(&[5, 6, 5, 7], &[&[5, 5, 6, 7]]);
        check(&[5, 6, 7, 8], &[&[5, 6, 7, 8]]);
        check(&[5, 11, 23, 47], &[]);
        check(&[5, 5, 5, 5, 1000], &[&[5, 5, 5, 5]]);
        check(&[5, 5, 5, 5, 20], &[&[5, 5, 5, 5, 20]]);
        check(&[1, 50, 50, 50, 50], &[&[1, 50, 50, 50, 50]]);
        check(&[1, 1, 1, 1, 50, 50, 50, 50], &[&[1, 1, 1, 1], &[50, 50, 50, 50]]);
    }

    #[test]
    fn large_files_are_left_alone_and_tasks_are_bounded() {
        check(&[128 * MIB; 10], &[]);
        check(&[100 * MIB; 5], &[&[100 * MIB; 2], &[100 * MIB; 2]]);
        let many = [10_u64; 130];
        check(&many, &[&many[..64], &many[..64], &many[..2]]);
    }

    #[test]
    fn partitions_are_apart_quiet_ones_are_finished() {
        let old = NOW.minus(Duration::from_secs(3600));
        let file = |partition, bytes, written_at| Candidate { partition, bytes, written_at, is_sorted: true };
        let files = [file("a", 1, old), file("b", 1, NOW), file("a", 90 * MIB, old), file("b", 1, old)];
        assert_eq!(decide(&files, &limits(), Eagerness::WhatPays, NOW), [vec![0, 2]]);
        assert_eq!(decide(&files, &limits(), Eagerness::Everything, NOW), [vec![1, 3], vec![0, 2]]);
    }

    #[test]
    fn files_out_of_order_are_rewritten_whatever_their_size() {
        let file = |bytes, is_sorted| Candidate { partition: "", bytes, written_at: NOW, is_sorted };
        let files = [file(300 * MIB, false), file(300 * MIB, true), file(1, false)];
        assert_eq!(decide(&files, &limits(), Eagerness::WhatPays, NOW), [vec![0]]);
        assert_eq!(decide(&files, &limits(), Eagerness::Everything, NOW), [vec![2], vec![0]]);
    }

    #[test]
    fn too_many_small_files_are_merged_by_twos() {
        let names: Vec<String> = (0..60).map(|n| n.to_string()).collect();
        let file = |partition| Candidate { partition, bytes: 5, written_at: NOW, is_sorted: true };
        let files: Vec<Candidate> = names.iter().flat_map(|name| [file(name), file(name)]).collect();
        assert_eq!(decide(&files, &limits(), Eagerness::WhatPays, NOW).len(), 60);
        assert_eq!(decide(&files[..100], &limits(), Eagerness::WhatPays, NOW).len(), 0);
    }

    /// One file a step for a long time: few are left, and each byte was written a few times only.
    #[test]
    fn a_long_life_costs_little() {
        let limits = CompactionLimits { task_bytes: u64::MAX, ..limits() };
        let mut sizes: Vec<u64> = Vec::new();
        let (mut written, mut most) = (0_u64, 0);
        let count = 20_000_u64;
        for _ in 0..count {
            sizes.push(MIB / 64);
            let files: Vec<Candidate> = sizes
                .iter()
                .map(|bytes| Candidate { partition: "", bytes: *bytes, written_at: NOW, is_sorted: true })
                .collect();
            if let Some(task) = decide(&files, &limits, Eagerness::WhatPays, NOW).first() {
                let merged: u64 = task.iter().map(|at| sizes[*at]).sum();
                written += merged;
                let mut at = 0;
                sizes.retain(|_| {
                    at += 1;
                    !task.contains(&(at - 1))
                });
                sizes.push(merged);
            }
            most = most.max(sizes.iter().filter(|bytes| is_small(**bytes, limits.target_bytes)).count());
        }
        assert_eq!(sizes.iter().sum::<u64>(), count * (MIB / 64));
        assert!(most <= 40, "{most} small files at once");
        assert!(written <= 14 * count * (MIB / 64), "each byte was written {} times", written / count / (MIB / 64));
    }
}
