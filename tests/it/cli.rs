//! The command line, driven as a user does: the real binary, its output, its exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const CLICKS: &str = "CREATE TABLE clicks (event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, \
                      ad_id VARCHAR NOT NULL, price_micros BIGINT) WITH (event_time='event_time', event_key='event_id')";

fn adlake(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adlake"));
    command.current_dir(folder).env("XDG_DATA_HOME", folder.join("data")).stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    adlake(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs, and wants this exit code; returns standard output and standard error.
#[track_caller]
fn check(folder: &Path, code: i32, arguments: &[&str]) -> (String, String) {
    let output = run(folder, arguments);
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{error}");
    (out, error)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn folder_with_clicks() -> TempDir {
    let folder = folder();
    check(folder.path(), 0, &["sql", "-c", CLICKS]);
    folder
}

#[test]
fn configuration_is_explained() {
    let folder = folder();
    let (out, _) = check(folder.path(), 0, &["config", "explain", "http.port", "--set", "http.port=9"]);
    assert!(out.contains("http.port = 9  # from "), "{out}");
    let (out, _) = check(folder.path(), 0, &["config", "default"]);
    assert!(out.contains("[http]"));
    let (_, error) = check(folder.path(), 2, &["config", "explain", "http.prot"]);
    assert!(error.contains("did you mean 'http.port'?"), "{error}");
    let (_, error) = check(folder.path(), 2, &["sql", "-c", "SELECT 1", "--set", "query.tiemout=1 s"]);
    assert!(error.contains("did you mean 'query.timeout'?"), "{error}");
    assert!(!folder.path().join("lake").exists(), "nothing is opened with a wrong configuration");
}

#[test]
fn plan_shows_and_apply_makes() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("sql/tables")).unwrap();
    fs::create_dir_all(folder.path().join("sql/views")).unwrap();
    fs::write(folder.path().join("sql/tables/t.sql"), "-- What?\nCREATE TABLE t (a BIGINT);").unwrap();
    fs::write(folder.path().join("sql/views/v.sql"), "-- What?\nCREATE VIEW v AS SELECT a FROM t;").unwrap();
    let (out, _) = check(folder.path(), 2, &["plan", "--exit-code"]);
    assert_eq!(out, "+ create table t\n+ create view v\n2 to change, 0 unchanged\n");
    check(folder.path(), 0, &["plan"]);
    let (out, _) = check(folder.path(), 0, &["apply"]);
    assert!(out.ends_with("2 changed, 0 unchanged\n"), "{out}");
    let (out, _) = check(folder.path(), 0, &["plan", "--exit-code"]);
    assert_eq!(out, "nothing to change; 2 unchanged\n");

    fs::write(folder.path().join("sql/views/v.sql"), "-- What?\nCREATE VIEW v AS SELECT b FROM t;").unwrap();
    let (_, error) = check(folder.path(), 1, &["apply"]);
    assert!(error.starts_with("error: "), "{error}");
    check(folder.path(), 0, &["sql", "-c", "SELECT a FROM v"]);
}

#[test]
fn results_go_to_standard_output_and_messages_do_not() {
    let folder = folder_with_clicks();
    let insert = "INSERT INTO clicks VALUES ('1', TIMESTAMP '2026-11-01T00:00:00Z', 'a,b', 5), ('2', TIMESTAMP '2026-11-01T00:00:01Z', '', NULL)";
    let select = "SELECT event_id, ad_id, price_micros FROM clicks ORDER BY event_id";
    let (out, error) = check(folder.path(), 0, &["sql", "--format", "csv", "-c", insert, "-c", select]);
    assert_eq!(out, "event_id,ad_id,price_micros\n1,\"a,b\",5\n2,\"\",\n");
    assert!(error.contains('2'), "the message of INSERT: {error}");
    let (out, _) = check(folder.path(), 0, &["sql", "--format", "json", "-c", select]);
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rows[1], serde_json::json!({"event_id": "2", "ad_id": "", "price_micros": null}));
}

#[test]
fn scripts_stop_at_the_first_error() {
    let folder = folder_with_clicks();
    fs::write(folder.path().join("s.sql"), "SELECT 1 AS one;\n-- a ; comment\nSELECT * FROM clikcs;\nSELECT 2 AS two;")
        .unwrap();
    let (out, error) = check(folder.path(), 1, &["sql", "--format", "csv", "-f", "s.sql"]);
    assert_eq!(out, "one\n1\n");
    assert!(error.contains("did you mean 'clicks'?"), "{error}");
    let (_, error) = check(folder.path(), 1, &["sql", "-c", "SELECT 1 FORM clicks"]);
    assert!(error.contains("line 1"), "{error}");
    check(folder.path(), 1, &["sql", "-f", "absent.sql"]);
}

#[test]
fn standard_input_is_a_script_with_backslash_commands() {
    let folder = folder();
    let mut child = adlake(folder.path()).arg("sql").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let script = b"\\format ndjson\n\\o out.ndjson\nSELECT 1 AS a;\n\\o\nSELECT 2 AS b;\n\\q\nSELECT 3 AS c;";
    child.stdin.take().unwrap().write_all(script).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "{\"b\":2}\n");
    assert_eq!(fs::read_to_string(folder.path().join("out.ndjson")).unwrap(), "{\"a\":1}\n");
}

#[test]
fn parquet_goes_to_a_file_and_loads_again() {
    let folder = folder_with_clicks();
    let select =
        "SELECT 'x' AS event_id, TIMESTAMP '2026-11-01T00:00:00Z' AS event_time, 'a' AS ad_id, 7 AS price_micros";
    check(folder.path(), 0, &["sql", "--format", "parquet", "-o", "x.parquet", "-c", select]);
    let (out, _) = check(folder.path(), 0, &["load", "clicks", "x.parquet"]);
    assert!(out.contains("loaded 1 rows"), "{out}");
    let (_, error) = check(folder.path(), 1, &["sql", "--format", "parquet", "-c", "SELECT 1"]);
    assert!(error.contains("--output FILE"), "{error}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = folder();
    let sql = "SELECT * FROM generate_series(1, 3000000)";
    let mut child = adlake(folder.path())
        .args(["sql", "--format", "csv", "-c", sql])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((line.as_str(), text(&output.stderr).as_str(), output.status.code()), ("value\n", "", Some(0)));
}

#[test]
fn files_load_exactly_once_and_rejects_have_their_exit_code() {
    let folder = folder_with_clicks();
    fs::write(
        folder.path().join("a.csv"),
        "id,when,ad_id,price_micros\n1,2026-11-01T00:00:00Z,a,5\n2,2026-11-01T00:00:01Z,a,x\n1,2026-11-01T00:00:00Z,a,5\n",
    )
    .unwrap();
    let load = ["load", "clicks", "a.csv", "--map", "id=event_id,when=event_time", "--max-rejects"];
    let (_, error) = check(folder.path(), 1, &[&load[..], &["0"]].concat());
    assert!(error.contains("a.csv"), "{error}");
    let (out, error) = check(folder.path(), 3, &[&load[..], &["1"]].concat());
    assert!(out.contains("a.csv: loaded 1 rows, 1 duplicates dropped, 1 rejected"), "{out}");
    assert!(error.contains("system.rejects"), "{error}");
    let (out, _) = check(folder.path(), 0, &[&load[..], &["1"]].concat());
    assert!(out.contains("a.csv: already loaded, nothing changed"), "{out}");
    let (out, _) = check(folder.path(), 0, &["sql", "--format", "csv", "-c", "SELECT count(*) AS n FROM clicks"]);
    assert_eq!(out, "n\n1\n");
    check(folder.path(), 1, &["load", "clicks", "absent.csv"]);
    let (_, error) = check(folder.path(), 1, &["load", "clikcs", "a.csv"]);
    assert!(error.contains("did you mean 'clicks'?"), "{error}");
}

/// A server that has said where it listens.
struct Server {
    child: Child,
    flight: String,
    http: String,
}

impl Server {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let ports = ["--http-port", "0", "--flight-port", "0"];
        let mut child = adlake(folder).args(arguments).args(ports).stdout(Stdio::piped()).spawn().unwrap();
        let (mut flight, mut http) = (String::new(), String::new());
        for line in BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok) {
            let address = |scheme: &str| {
                let (_, rest) = line.split_once(scheme)?;
                Some(format!("{scheme}{}", rest.split_whitespace().next()?))
            };
            flight = address("grpc://").unwrap_or(flight);
            http = address("http://").unwrap_or(http);
            if !flight.is_empty() && !http.is_empty() {
                break;
            }
        }
        Self { child, flight, http }
    }

    fn terminate(&mut self) -> Option<i32> {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn a_server_is_used_by_url_and_stops_on_sigterm() {
    let folder = folder_with_clicks();
    let mut server = Server::start(folder.path(), &["serve", "--set", "query.allowed_locations=in"]);
    let url = server.flight.clone();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("out.csv"), "event_id,event_time,ad_id,price_micros\n").unwrap();
    let (_, error) = check(folder.path(), 1, &["load", "--url", &url, "clicks", "out.csv"]);
    assert!(error.contains("query.allowed_locations"), "{error}");
    fs::write(folder.path().join("in/a.csv"), "event_id,event_time,ad_id,price_micros\n1,2026-11-01T00:00:00Z,a,5\n")
        .unwrap();
    let (out, _) = check(folder.path(), 0, &["load", "--url", &url, "clicks", "in/a.csv"]);
    assert!(out.contains("a.csv: loaded 1 rows"), "{out}");
    let (out, _) = check(folder.path(), 0, &["load", "--url", &url, "clicks", "in/a.csv"]);
    assert!(out.contains("already loaded"), "{out}");
    let script = "CREATE VIEW v AS SELECT ad_id FROM clicks; SELECT * FROM v";
    let (out, _) = check(folder.path(), 0, &["sql", "--url", &url, "--format", "csv", "-c", script]);
    assert_eq!(out, "ad_id\na\n");
    let (_, error) = check(folder.path(), 0, &["sql", "--url", &url, "--timing", "-c", "SELECT 1"]);
    assert!(error.contains("data as of 20"), "{error}");
    // A view that was never refreshed holds nothing of any moment.
    let script =
        "CREATE MATERIALIZED VIEW ads WITH (strategy='full') AS SELECT DISTINCT ad_id FROM clicks; SELECT * FROM ads";
    let (_, error) = check(folder.path(), 0, &["sql", "--url", &url, "--timing", "-c", script]);
    assert!(error.contains("data as of 1970-01-01T00:00:00"), "{error}");
    let (_, error) = check(folder.path(), 1, &["sql", "--url", &url, "-c", "SELECT * FROM clikcs"]);
    assert!(error.contains("did you mean 'clicks'?"), "{error}");

    let port = server.http.rsplit_once(':').unwrap().1.to_owned();
    let (_, error) = check(folder.path(), 1, &["serve", "--http-port", &port, "--flight-port", "0"]);
    assert!(error.contains("http.port") && error.contains(&port), "{error}");

    assert_eq!(server.terminate(), Some(0));
    let (_, error) = check(folder.path(), 1, &["sql", "--url", &url, "-c", "SELECT 1"]);
    assert!(error.contains("cannot connect") && error.contains("hint:"), "{error}");
}

#[test]
fn a_lake_that_is_a_file_is_refused() {
    let folder = folder();
    fs::write(folder.path().join("lake"), "not a folder").unwrap();
    for arguments in [&["serve"][..], &["sql", "-c", "SELECT 1"]] {
        let (_, error) = check(folder.path(), 1, arguments);
        assert!(error.contains("lake") && error.starts_with("error: "), "{error}");
    }
}

#[test]
fn generated_files_are_reproducible_and_load_without_their_duplicates() {
    let folder = folder();
    let common = ["--rows", "20000", "--ads", "50", "--day", "2026-11-01", "--kind", "clicks"];
    for out in ["one", "two"] {
        let (_, error) = check(folder.path(), 0, &[&["generate", "--out", out][..], &common].concat());
        assert!(error.contains("clicks: 20,000 rows"), "{error}");
    }
    let read = |out: &str| fs::read(folder.path().join(out).join("clicks-0000.parquet")).unwrap();
    assert_eq!(read("one"), read("two"));
    let sql = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
    check(folder.path(), 0, &["apply", "--sql", sql]);
    let (out, _) = check(folder.path(), 0, &["load", "clicks", "one/clicks-*.parquet"]);
    let (out_again, _) = check(folder.path(), 0, &["load", "clicks", "two/clicks-*.parquet"]);
    assert!(out.contains("duplicates dropped"), "{out}");
    assert!(out_again.contains("already loaded"), "the same content under another name: {out_again}");
    let count = "SELECT count(*) = count(DISTINCT event_id) AND count(*) BETWEEN 19700 AND 19900 AS exact FROM clicks";
    let (out, _) = check(folder.path(), 0, &["sql", "--format", "csv", "-c", count]);
    assert_eq!(out, "exact\ntrue\n");
}

#[test]
fn the_demo_runs_and_runs_again() {
    let folder = folder();
    let sql = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
    let demo = ["demo", "--exit", "--rows", "20000", "--sql", sql, "--http-port", "0", "--flight-port", "0"];
    let (out, _) = check(folder.path(), 0, &demo);
    for wanted in
        ["impressions-0000.parquet: loaded", "products.ndjson: loaded 33 rows", "\"count\"", "\"ad_ids\"", "(5 rows)"]
    {
        assert!(out.contains(wanted), "{wanted} is not in:\n{out}");
    }
    assert!(!out.contains("\"ad_ids\":[]") && !out.contains("(0 rows)"), "{out}");
    let count = ["sql", "--format", "csv", "-c", "SELECT count(*) AS n FROM impressions"];
    let (before, _) = check(folder.path(), 0, &count);
    let (out, _) = check(folder.path(), 0, &demo);
    assert!(out.contains("loaded already, nothing changed"), "{out}");
    assert_eq!(check(folder.path(), 0, &count).0, before);
}
