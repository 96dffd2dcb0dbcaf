//! Whether a process on this machine still runs: what lets a restarted server take its leases back without waiting.
//!
//! A process is named by the kernel's boot, its pid namespace, its pid and the moment it started, so that neither a reboot,
//! nor a container, nor a pid used again is mistaken for it. Where `/proc` does not say (not Linux), nothing is known, and
//! leases end by time alone.

use std::os::unix::fs::MetadataExt;
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// One process, as `/proc` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessMark {
    /// Boot id and pid namespace: pids of equal machines can be compared.
    machine: String,
    pid: u32,
    /// Clock ticks after boot.
    started: u64,
}

impl ProcessMark {
    /// This process; `None` where it cannot be known.
    pub(super) fn own() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        // `/proc` may hide the processes of other users.
        let user = fs::metadata("/proc/self").ok()?.uid();
        let pid = std::process::id();
        let machine = format!("{} {} user {user}", boot.trim(), namespace.display());
        match life(pid) {
            Life::Since(started) => Some(Self { machine, pid, started }),
            Life::Ended | Life::Unknown => None,
        }
    }

    /// Whether `other` ran on this machine and has ended. False when that is not certain.
    pub(super) fn knows_gone(&self, other: &ProcessMark) -> bool {
        let ended = match life(other.pid) {
            Life::Since(started) => started != other.started,
            Life::Ended => true,
            Life::Unknown => false,
        };
        self.machine == other.machine && ended
    }
}

/// What `/proc` says of a pid.
#[derive(Debug, PartialEq, Eq)]
enum Life {
    Since(u64),
    Ended,
    /// It could not be read.
    Unknown,
}

fn life(pid: u32) -> Life {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse(&stat).unwrap_or(Life::Unknown),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Life::Ended,
        Err(_) => Life::Unknown,
    }
}

/// The second field is a name in brackets and may hold anything; after it come the state (3) … start time (22).
fn parse(stat: &str) -> Option<Life> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // A process that has ended and is not collected yet does nothing any more.
    if matches!(*fields.first()?, "Z" | "X") {
        return Some(Life::Ended);
    }
    Some(Life::Since(fields.get(19)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_is_not_gone_and_an_ended_one_is() {
        let own = ProcessMark::own().unwrap();
        assert!(!own.knows_gone(&own));
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let Life::Since(started) = life(child.id()) else { panic!("a running child has no start time") };
        let mark = ProcessMark { pid: child.id(), started, ..own.clone() };
        assert!(!own.knows_gone(&mark));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(own.knows_gone(&mark));
        let elsewhere = ProcessMark { machine: "another".to_owned(), ..mark };
        assert!(!own.knows_gone(&elsewhere), "pids of other machines say nothing here");
        let reused = ProcessMark { started: own.started + 1, ..own.clone() };
        assert!(own.knows_gone(&reused));
    }
}
