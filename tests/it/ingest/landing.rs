//! Landing folders: new files are loaded, each once.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use adlake::app::App;
use adlake::base::Clock;
use adlake::config;
use adlake::ingest::LandingReport;
use tokio_util::sync::CancellationToken;

use super::Process;

/// A table that watches a folder.
struct Landing {
    process: Process,
    folder: PathBuf,
}

impl Landing {
    async fn start(options: &str) -> Self {
        let process = Process::start().await;
        let folder = process.folder.path().join("in");
        std::fs::create_dir(&folder).unwrap();
        let landing = Self { process, folder };
        landing.process.sql(&landing.create(options)).await;
        landing
    }

    fn create(&self, options: &str) -> String {
        let folder = self.folder.display();
        format!("CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR) WITH (landing='{folder}'{options})")
    }

    fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn look(&self) -> (u64, u64, u64) {
        look(&self.process).await.unwrap()
    }

    async fn files(&self) -> Vec<String> {
        let name = "regexp_replace(file, '^.*/', '')";
        let sql = format!(
            "SELECT {name}, status, rows FROM system.ingest WHERE source = 'landing' ORDER BY version, started_at, file"
        );
        self.process.sql(&sql).await
    }
}

/// Loaded, failed, pending.
async fn look(process: &Process) -> Result<(u64, u64, u64), String> {
    let report = process.app.ingestor.poll_landing("t", CancellationToken::new()).await;
    let LandingReport { loaded, failed, pending } = report.map_err(|error| error.to_string())?;
    Ok((loaded, failed, pending))
}

#[tokio::test]
async fn files_are_loaded_in_order_and_once_over_restarts() {
    let landing = Landing::start("").await;
    assert_eq!(landing.look().await, (0, 0, 0));
    landing.put("b.csv", "id,name\n1,b\n2,b\n");
    landing.put("a.ndjson", "{\"id\":3,\"name\":\"a\"}\n");
    assert_eq!(landing.look().await, (0, 0, 2), "they may still be written");
    assert_eq!(landing.files().await, ["a.ndjson pending ", "b.csv pending "]);
    assert_eq!(landing.look().await, (2, 0, 0));
    assert_eq!(landing.look().await, (0, 0, 0));
    assert_eq!(landing.files().await, ["a.ndjson loaded 1", "b.csv loaded 2"]);
    let again = landing.process.another().await;
    assert_eq!((look(&again).await, look(&again).await), (Ok((0, 0, 0)), Ok((0, 0, 0))));
    // The same content under another name is no new content.
    landing.put("c.csv", "id,name\n1,b\n2,b\n");
    look(&again).await.unwrap();
    assert_eq!(look(&again).await, Ok((1, 0, 0)));
    assert_eq!((again.count("t").await, landing.process.count("system.ingest WHERE source = 'landing'").await), (3, 3));
    assert_eq!(again.count("system.ingest WHERE status = 'already loaded'").await, 1);
    // A table made anew has loaded nothing.
    landing.process.app.clock.advance(Duration::from_secs(1));
    landing.process.sql("DROP TABLE t").await;
    landing.process.sql(&landing.create(", landing_order='modified'")).await;
    for (name, age) in [("a.ndjson", 10), ("b.csv", 30), ("c.csv", 20)] {
        let file = std::fs::File::options().write(true).open(landing.folder.join(name)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a file's age is the machine's")]
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    landing.look().await;
    assert_eq!(landing.look().await, (3, 0, 0));
    let files = landing.files().await;
    assert_eq!(files[3..], ["b.csv loaded 2", "c.csv already loaded 0", "a.ndjson loaded 1"].map(str::to_owned)[..]);
}

#[tokio::test]
async fn files_that_are_being_written_are_left_alone() {
    let landing = Landing::start(", landing_map='number=id, *='").await;
    let growing = landing.put("a.csv", "number,x\n1,\n");
    for name in [".b.csv", "_b.csv", "b.csv.tmp", "b.csv.inprogress"] {
        landing.put(name, "number\n9\n");
    }
    assert_eq!(landing.look().await, (0, 0, 1));
    std::fs::write(&growing, "number,x\n1,\n2,\n").unwrap();
    assert_eq!(landing.look().await, (0, 0, 1));
    assert_eq!(landing.look().await, (1, 0, 0));
    std::fs::rename(landing.folder.join("b.csv.tmp"), landing.folder.join("b.csv")).unwrap();
    landing.look().await;
    assert_eq!(landing.look().await, (1, 0, 0));
    assert_eq!(landing.process.sql("SELECT id FROM t ORDER BY id").await, ["1", "2", "9"]);
}

#[tokio::test]
async fn a_bad_file_is_on_record_and_stops_no_other() {
    let landing = Landing::start(", on_error='fail'").await;
    landing.put("a.parquet", "PAR1 and then nothing");
    landing.put("b.csv", "id\n1\nx\n");
    landing.put("c.txt", "?");
    landing.put("d.csv", "id,nme\n1,x\n");
    landing.put("e.csv", "id\n5\n");
    landing.look().await;
    assert_eq!(landing.look().await, (1, 4, 0));
    assert_eq!(landing.look().await, (0, 0, 0), "bad files are not tried again as they are");
    assert_eq!(landing.process.sql("SELECT id FROM t").await, ["5"]);
    let errors = landing.process.sql("SELECT error FROM system.ingest WHERE status = 'failed' ORDER BY file").await;
    for (error, wanted) in errors.iter().zip(["not a whole Parquet", "bad rows", "its format", "did you mean 'name'"]) {
        assert!(error.contains(wanted), "{error}");
    }
    landing.put("b.csv", "id\n1\n2\n");
    landing.look().await;
    assert_eq!(landing.look().await, (1, 0, 0), "a mended file is a new one");
    assert_eq!(landing.process.count("t").await, 3);
}

#[tokio::test]
async fn the_rate_is_kept_and_the_folder_can_change() {
    let landing = Landing::start(", landing_rate='1 file per minute'").await;
    for name in ["a.csv", "b.csv", "c.csv"] {
        landing.put(name, &format!("id,name\n1,{name}\n"));
    }
    landing.look().await;
    assert_eq!(landing.look().await, (1, 0, 2));
    assert_eq!(landing.look().await, (0, 0, 2));
    landing.process.app.clock.advance(Duration::from_secs(60));
    assert_eq!(landing.look().await, (1, 0, 1));
    landing.process.sql("ALTER TABLE t RESET (landing_rate)").await;
    assert_eq!(landing.look().await, (1, 0, 0));

    let inside = format!("{}/tables", crate::place::location(landing.process.folder.path()));
    for inside in [inside.clone(), format!("{inside}/../tables/*")] {
        let refused = landing.process.try_sql(&format!("ALTER TABLE t SET (landing='{inside}')")).await.unwrap_err();
        assert!(refused.contains("is inside the lake"), "{refused}");
    }
    let absent = landing.process.folder.path().join("absent");
    landing.process.sql(&format!("ALTER TABLE t SET (landing='{}')", absent.display())).await;
    assert!(look(&landing.process).await.unwrap_err().contains("not found"));
    assert_eq!(landing.process.count("system.ingest WHERE status = 'unreadable' AND error LIKE '%not found'").await, 1);
    landing.process.sql("ALTER TABLE t RESET (landing)").await;
    assert_eq!(landing.look().await, (0, 0, 0));
    assert_eq!(landing.process.count("system.ingest WHERE source = 'landing'").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_served_lake_watches_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let at = |name: &str| root.join(name).display().to_string();
    let settings = [
        ("lake.sql", String::new()),
        ("http.port", "0".to_owned()),
        ("flight.port", "0".to_owned()),
        ("ingest.landing_interval", "5ms".to_owned()),
    ];
    let mut overrides = crate::place::settings(folder.path());
    overrides.extend(settings.map(|(key, value)| (key.to_owned(), value)));
    let loaded = config::load(None, &[], &overrides).unwrap();
    let clock = Clock::system();
    let running = App::open(loaded, clock.clone()).await.unwrap().serve().await.unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("in/a.csv"), "id\n1\n2\n").unwrap();
    let process = crate::process::Process::of(running.app.clone(), clock).await;
    let process = Process { process, folder: std::sync::Arc::new(folder) };
    process.sql(&format!("CREATE TABLE t (id BIGINT) WITH (landing='{}')", at("in"))).await;
    let loaded = async {
        while process.count("t").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), loaded).await.expect("the file is loaded");
    assert_eq!(process.count("t").await, 2);
    assert!(running.app.stop().await);
}
