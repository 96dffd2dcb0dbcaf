//! `adlake doctor` and `adlake init`: storage asks the store, this file adds what only the whole knows: the catalog's
//! tables and the configuration against the machine.

use std::collections::BTreeSet;
use std::fs;

use super::AppError;
use crate::base::{ByteSize, Clock, chain};
use crate::catalog::Catalog;
use crate::config::{Config, Loaded};
use crate::storage::{self, Check, InitMode, InitStep, Lake, LakeLocation, Verdict};

/// Every check of the configured lake, in the order they were made.
///
/// # Errors
/// A location that cannot be read as one.
pub async fn doctor(loaded: &Loaded, clock: &Clock) -> Result<Vec<Check>, AppError> {
    let config = &loaded.config;
    let location: LakeLocation = config.lake.location.parse().map_err(|error| AppError::from_error(&error))?;
    let mut checks = storage::examine(&location, &config.storage, clock).await;
    if checks.iter().all(|check| check.verdict != Verdict::Fail) {
        checks.push(catalog(&location, config, clock).await);
    }
    checks.push(memory(config, machine_memory()));
    Ok(checks)
}

/// Makes and sets up the configured lake's place.
///
/// # Errors
/// As [`storage::init`].
pub async fn init(loaded: &Loaded, mode: InitMode) -> Result<Vec<InitStep>, AppError> {
    let config = &loaded.config;
    let location: LakeLocation = config.lake.location.parse().map_err(|error| AppError::from_error(&error))?;
    storage::init(&location, &config.storage.s3, mode).await.map_err(|error| AppError::from_error(&error))
}

/// Every object of the catalog that has rows has its table.
async fn catalog(location: &LakeLocation, config: &Config, clock: &Clock) -> Check {
    const NAME: &str = "catalog";
    let fix = "restore documents/catalog or the table from a copy of the lake, or DROP what is lost";
    let opened = async {
        let lake = Lake::open(location, &config.storage, clock.clone()).await.map_err(|error| chain(&error))?;
        let catalog = Catalog::open(&lake, clock.clone()).await.map_err(|error| chain(&error))?;
        let snapshot = catalog.snapshot();
        let mut lost = BTreeSet::new();
        for object in snapshot.relations.values() {
            if let Some(path) = &object.table_path
                && lake.open_table(path).await.is_err()
            {
                lost.insert(object.name.clone());
            }
        }
        Ok::<_, String>((snapshot.relations.len(), lost))
    };
    match opened.await {
        Ok((count, lost)) if lost.is_empty() => {
            Check::ok(NAME, format!("{count} tables and views, all with their files"))
        }
        Ok((_, lost)) => {
            let names = lost.into_iter().collect::<Vec<_>>().join(", ");
            Check::fail(NAME, format!("tables whose files cannot be opened: {names}"), fix)
        }
        Err(reason) => Check::fail(NAME, reason, fix),
    }
}

/// What the process may take in the worst case, against what the machine has.
fn memory(config: &Config, machine: Option<u64>) -> Check {
    const NAME: &str = "memory";
    let limits = [
        ("query.memory_limit", config.query.memory_limit.bytes()),
        ("ingest.key_index_size", config.ingest.key_index_size.bytes()),
        ("http.max_bodies_memory", config.http.max_bodies_memory.bytes()),
        ("storage.metadata_cache", config.storage.metadata_cache.bytes()),
    ];
    let sum: u64 = limits.iter().map(|(_, bytes)| bytes).sum();
    let Some(machine) = machine else {
        return Check::ok(NAME, format!("limits add up to {}; this machine's memory is not known", mebibytes(sum)));
    };
    let detail = format!("limits add up to {} of {}", mebibytes(sum), mebibytes(machine));
    if sum <= machine / 10 * 9 {
        return Check::ok(NAME, detail);
    }
    let shares = limits.map(|(key, bytes)| format!("{key} {}", mebibytes(bytes))).join(", ");
    Check::warn(NAME, detail, format!("lower them, so that the kernel does not end the process under load: {shares}"))
}

fn mebibytes(bytes: u64) -> ByteSize {
    ByteSize(bytes >> 20 << 20)
}

/// Memory of the container, or of the machine.
fn machine_memory() -> Option<u64> {
    let whole = meminfo(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(container.map_or(whole, |container: u64| container.min(whole)))
}

fn meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn limits_beyond_the_machine_are_said_with_their_keys() {
        let config = config::load(None, &[], &[]).unwrap().config;
        assert_eq!(memory(&config, Some(64 << 30)).verdict, Verdict::Ok);
        let small = memory(&config, Some(4 << 30));
        assert_eq!(small.verdict, Verdict::Warn);
        assert!(small.fix.contains("query.memory_limit 2 GiB"), "{}", small.fix);
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        assert_eq!(meminfo("MemTotal:       16384 kB\nMemFree:  1 kB\n"), Some(16 << 20));
        assert_eq!(meminfo("nothing"), None);
    }

    #[tokio::test]
    async fn a_sound_lake_has_no_complaint_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let lake = folder.path().join("lake");
        let overrides = [("lake.location".to_owned(), lake.display().to_string())];
        let loaded = config::load(None, &[], &overrides).unwrap();
        let verdicts = |checks: &[Check]| checks.iter().map(|check| (check.name, check.verdict)).collect::<Vec<_>>();

        let absent = doctor(&loaded, &Clock::system()).await.unwrap();
        assert_eq!(verdicts(&absent)[0], ("location", Verdict::Fail));
        assert!(absent[0].fix.contains("adlake init"), "{}", absent[0].fix);

        assert_eq!(init(&loaded, InitMode::Change).await.unwrap().len(), 1);
        let app = super::super::App::open(loaded.clone(), Clock::system()).await.unwrap();
        let session = crate::query::Session::new("doctor", "tester", crate::query::Origin::Internal);
        let request = crate::query::Request::new("CREATE TABLE t (a BIGINT)", &session);
        app.engine.execute(request).await.unwrap();
        app.stop().await;
        let sound = doctor(&loaded, &Clock::system()).await.unwrap();
        let failed: Vec<_> = sound.iter().filter(|check| check.verdict == Verdict::Fail).collect();
        assert!(failed.is_empty(), "{failed:?}");
        let names: Vec<_> = sound.iter().map(|check| check.name).collect();
        assert!(
            [
                "put",
                "create if absent",
                "consistency",
                "multipart upload",
                "clock",
                "latency",
                "disk space",
                "tables",
                "catalog"
            ]
            .iter()
            .all(|name| names.contains(name)),
            "{names:?}"
        );
        assert!(!lake.join("_doctor").exists(), "the probe's folder must go");

        fs::remove_file(lake.join("tables/t/_delta_log/00000000000000000000.json")).unwrap();
        let damaged = doctor(&loaded, &Clock::system()).await.unwrap();
        let tables = damaged.iter().find(|check| check.name == "tables").unwrap();
        assert_eq!(tables.verdict, Verdict::Fail);
        assert!(tables.detail.contains("'t'"), "{}", tables.detail);
    }
}
