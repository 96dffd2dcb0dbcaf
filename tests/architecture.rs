//! The rules of `src/ARCHITECTURE.md` and `src/STYLE.md` that a text scan can hold: which module imports which, which
//! crate lives where, file sizes, file headers, banned words, who reads time and environment.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test, as it should")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module → the modules of ours it may import (itself is always allowed).
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("telemetry", &["base"]),
    ("storage", &["base", "telemetry"]),
    ("auth", &["storage", "base", "telemetry"]),
    ("catalog", &["storage", "base", "telemetry"]),
    ("scheduler", &["storage", "base", "telemetry"]),
    ("rollup", &["base"]),
    ("query", &["rollup", "catalog", "auth", "storage", "base", "telemetry"]),
    ("ingest", &["catalog", "storage", "base", "telemetry"]),
    ("materialize", &["rollup", "query", "catalog", "storage", "base", "telemetry"]),
    ("adops", &["query", "ingest", "catalog", "storage", "base", "telemetry"]),
    ("server", &["query", "ingest", "adops", "scheduler", "catalog", "auth", "base", "telemetry"]),
    ("config", &["materialize", "ingest", "query", "server", "auth", "storage", "base", "telemetry"]),
    (
        "jobs",
        &[
            "server",
            "adops",
            "materialize",
            "ingest",
            "query",
            "scheduler",
            "catalog",
            "auth",
            "storage",
            "base",
            "telemetry",
        ],
    ),
    (
        "app",
        &[
            "config",
            "jobs",
            "server",
            "adops",
            "materialize",
            "ingest",
            "query",
            "scheduler",
            "catalog",
            "auth",
            "storage",
            "base",
            "telemetry",
        ],
    ),
    // The CLI uses the public faces that `app` hands out (engine, ingestor, catalog), never storage.
    ("cli", &["app", "config", "base", "telemetry", "query", "ingest", "catalog"]),
];

/// Foreign crate → the modules it may appear in.
const CRATE_HOMES: &[(&str, &[&str])] = &[
    ("deltalake_core", &["storage"]),
    ("object_store", &["storage"]),
    ("aws_sdk_s3", &["storage"]),
    ("nix", &["storage", "main"]),
    ("mimalloc", &["main"]),
    ("axum", &["server"]),
    ("tower_http", &["server"]),
    ("tonic", &["server", "cli"]),
    ("lz4_flex", &["server"]),
    ("tokio_rustls", &["server", "cli"]),
    ("x509_parser", &["server"]),
    ("arrow_flight", &["server", "cli"]),
    ("utoipa", &["server"]),
    ("pgwire", &["server"]),
    ("reqwest", &["adops", "cli", "app"]),
    ("clap", &["cli"]),
    ("rustyline", &["cli"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["cli"]),
    ("prometheus_client", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("csv", &["ingest", "cli", "server"]),
    ("croner", &["base"]),
    ("argon2", &["auth"]),
    ("getrandom", &["auth"]),
    ("aws_lc_rs", &["auth"]),
];

/// Submodules that others may name, because their parent only groups them.
const OPEN_PATHS: &[&str] = &["base::", "telemetry::", "server::http", "server::flight_sql", "server::pgwire"];

/// Words of the ad business: they belong to `sql/`, `adops` and the demo's generator.
const BUSINESS_WORDS: &[&str] = &["campaign", "advertiser", "creative", "impression", "placement"];
const BUSINESS_HOMES: &[&str] = &["adops", "cli"];
/// Typed messages of gRPC name the columns of the shipped tables.
const BUSINESS_FOLDERS: &[&str] = &["server/grpc/"];

const LINES_MAX: usize = 500;
/// Files over the limit, with the size they may not exceed. Entries only shrink and go.
const LARGE_FILES: &[(&str, usize)] = &[];

/// `app.rs` stays readable at a glance.
const APP_LINES_MAX: usize = 250;

struct Source {
    /// Relative to `src/`, with `/`.
    path: String,
    module: String,
    text: String,
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let relative = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let module = relative.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        Source { path: relative, module, text: fs::read_to_string(path).unwrap() }
    };
    paths.iter().map(read).collect()
}

/// Lines of code with their 1-based numbers: comments and strings' contents are not interpreted, comment lines are left out.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Every identifier path that follows `crate::` in a line.
fn own_paths(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, found)| {
        let rest = &line[at + found.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
        &rest[..end]
    })
}

fn fail_if_any(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn imports_go_down_only() {
    let table: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut found = Vec::new();
    for source in sources() {
        let Some(allowed) = table.get(source.module.as_str()) else {
            if !["lib", "main"].contains(&source.module.as_str()) {
                found.push(format!("{}: module '{}' has no row in MAY_IMPORT", source.path, source.module));
            }
            continue;
        };
        for (number, line) in code_lines(&source.text) {
            for path in own_paths(line) {
                let first = path.split("::").next().unwrap_or_default();
                if first.is_empty() {
                    found.push(format!("{}:{number}: write one `use crate::module::…` per module", source.path));
                } else if first != source.module && !allowed.contains(&first) {
                    found.push(format!("{}:{number}: {} may not import {first}", source.path, source.module));
                }
            }
        }
    }
    fail_if_any("imports go down only (src/ARCHITECTURE.md, Layers)", &found);
}

#[test]
fn nobody_imports_past_a_modules_public_face() {
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in code_lines(&source.text) {
            for path in own_paths(line) {
                let mut parts = path.split("::");
                let first = parts.next().unwrap_or_default();
                let second = parts.next().unwrap_or_default();
                let third = parts.next();
                let names_submodule = third.is_some() && second.starts_with(|c: char| c.is_lowercase());
                let open = OPEN_PATHS.iter().any(|open| path.starts_with(open));
                if first != source.module && names_submodule && !open {
                    found.push(format!("{}:{number}: crate::{path} reaches past {first}'s mod.rs", source.path));
                }
            }
        }
    }
    fail_if_any("a module's public face is its mod.rs (rule 6)", &found);
}

#[test]
fn protocols_do_not_import_one_another() {
    let protocols = ["http", "grpc", "flight_sql", "pgwire", "console"];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("server/")) {
        let own = source.path.split('/').nth(1).unwrap_or_default().trim_end_matches(".rs");
        for (number, line) in code_lines(&source.text) {
            for other in protocols.iter().filter(|other| **other != own && protocols.contains(&own)) {
                if line.contains(&format!("server::{other}")) || line.contains(&format!("super::{other}::")) {
                    found.push(format!("{}:{number}: {own} imports {other}", source.path));
                }
            }
        }
    }
    fail_if_any("one protocol never imports another", &found);
}

#[test]
fn foreign_crates_stay_at_home() {
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in code_lines(&source.text) {
            for (name, homes) in CRATE_HOMES {
                let named = line
                    .match_indices(&format!("{name}::"))
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
                if named && !homes.contains(&source.module.as_str()) {
                    found.push(format!("{}:{number}: {name} belongs to {}", source.path, homes.join(", ")));
                }
            }
        }
    }
    fail_if_any("each foreign crate has one home (rule 3)", &found);
}

#[test]
fn files_are_small_and_open_with_what_they_are() {
    let mut found = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let listed = LARGE_FILES.iter().find(|(path, _)| *path == source.path);
        let limit = match listed {
            Some((_, limit)) => *limit,
            None if source.path == "app.rs" => APP_LINES_MAX,
            None => LINES_MAX,
        };
        if lines > limit {
            found.push(format!("{}: {lines} lines, limit {limit}; what is the second idea in it?", source.path));
        }
        if listed.is_some() && lines <= LINES_MAX {
            found.push(format!("{}: now within the limit, remove it from LARGE_FILES", source.path));
        }
        if !source.text.starts_with("//!") && !source.text.starts_with("#![doc") {
            found.push(format!("{}: does not open with `//!` saying what it does", source.path));
        }
    }
    fail_if_any("file shape (src/STYLE.md, Shape)", &found);
}

#[test]
fn the_engine_knows_no_ad_business() {
    let mut found = Vec::new();
    let at_home = |source: &&Source| {
        BUSINESS_HOMES.contains(&source.module.as_str())
            || BUSINESS_FOLDERS.iter().any(|folder| source.path.starts_with(folder))
    };
    for source in sources().iter().filter(|source| !at_home(source)) {
        for (number, line) in source.text.lines().enumerate() {
            let line = line.to_lowercase();
            let words: Vec<&str> = line.split(|c: char| !c.is_alphabetic()).collect();
            let named = |business: &&&str| words.iter().any(|word| word.starts_with(**business));
            for word in BUSINESS_WORDS.iter().filter(named) {
                found.push(format!("{}:{}: '{word}' belongs in sql/ or adops", source.path, number + 1));
            }
        }
    }
    fail_if_any("the engine is general; the ad business is SQL", &found);
}

#[test]
fn time_and_environment_are_read_in_one_place() {
    let rules: [(&str, &[&str]); 5] = [
        ("Utc::now(", &["base/clock.rs"]),
        ("Instant::now(", &["base/clock.rs"]),
        ("SystemTime::now(", &["base/clock.rs"]),
        // Tests at random take their number of cases from there.
        ("env::var", &["cli/", "config.rs", "rollup/tests/"]),
        ("process::exit(", &["cli/"]),
    ];
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in code_lines(&source.text) {
            for (call, homes) in rules {
                if line.contains(call) && !homes.iter().any(|home| source.path.starts_with(home)) {
                    found.push(format!("{}:{number}: {call} belongs in {}", source.path, homes.join(", ")));
                }
            }
        }
    }
    fail_if_any("only base::clock reads time, only config and cli the environment (rule 4)", &found);
}

#[test]
fn the_scan_itself_sees_what_it_should() {
    assert_eq!(
        own_paths("use crate::storage::table::X; crate::base::Y").collect::<Vec<_>>(),
        ["storage::table::X", "base::Y"]
    );
    assert_eq!(code_lines("// crate::a\nlet b = 1;").collect::<Vec<_>>(), [(2, "let b = 1;")]);
    assert!(sources().iter().any(|source| source.path == "base/clock.rs"));
}
