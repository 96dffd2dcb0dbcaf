//! `adlake load`: files into a table, each exactly once; here, or by a server through `COPY INTO`.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use indicatif::HumanCount;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::base::{Classify, chain};
use crate::ingest::{FileReport, FileStatus, LoadRequest};

use super::args::{Global, LoadArgs, ServeArgs};
use super::failure::{Exit, Failure};
use super::meter::{self, Display, Meter};
use super::repl::{Backend, Reply};
use super::settings::{self, LogUse};
use super::{out, repl};

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub file: String,
    pub is_new: bool,
    pub rows: u64,
    pub duplicates: u64,
    pub rejected: u64,
}

/// Loads, and says per file what happened.
///
/// # Errors
/// A file that cannot be loaded; files before it stay loaded, and are skipped when the command is run again.
pub async fn run(global: &Global, args: &LoadArgs) -> Result<Exit, Failure> {
    let cancel = CancellationToken::new();
    let meter = Arc::new(Meter::default());
    let mut display = Display::of_load(&format!("load {}", args.table));
    let mut interrupts = signal(SignalKind::interrupt())?;
    let work = async {
        match &args.url {
            Some(url) => load_remote(global, args, url, &meter, &cancel).await,
            None => load_here(global, args, &meter, &cancel).await,
        }
    };
    let mut work = Box::pin(meter::watch(work, &meter, &mut display));
    let loaded = tokio::select! {
        loaded = &mut work => loaded?,
        _ = interrupts.recv() => {
            cancel.cancel();
            tokio::select! {
                _ = &mut work => {}
                _ = interrupts.recv() => {}
            }
            let failure = Failure::interrupted("interrupted; files reported as loaded are in the table, others are not");
            return Err(failure.with_hint("run the same command again: files already loaded are skipped"));
        }
    };
    drop(work);
    report(args, &loaded, &meter)
}

fn report(args: &LoadArgs, loaded: &[Loaded], meter: &Meter) -> Result<Exit, Failure> {
    for file in loaded {
        out::say(&sentence(file))?;
    }
    let rows: u64 = loaded.iter().map(|file| file.rows).sum();
    let rejected: u64 = loaded.iter().map(|file| file.rejected).sum();
    if loaded.len() > 1 {
        out::say(&format!(
            "{} files, {} rows in {:.1} s",
            loaded.len(),
            HumanCount(rows),
            meter.elapsed().as_secs_f64()
        ))?;
    }
    if rejected == 0 {
        return Ok(Exit::Done);
    }
    let table = &args.table;
    out::note(&format!("{rejected} rows were rejected; see SELECT * FROM system.rejects WHERE table_name = '{table}'"));
    Ok(Exit::Rejects)
}

/// `clicks.csv: loaded 100 rows, 2 duplicates dropped, 1 rejected`
pub fn sentence(file: &Loaded) -> String {
    if !file.is_new {
        return format!("{}: already loaded, nothing changed", file.file);
    }
    let mut text = format!("{}: loaded {} rows", file.file, HumanCount(file.rows));
    if file.duplicates > 0 {
        text.push_str(&format!(", {} duplicates dropped", HumanCount(file.duplicates)));
    }
    if file.rejected > 0 {
        text.push_str(&format!(", {} rejected", HumanCount(file.rejected)));
    }
    text
}

async fn load_here(
    global: &Global,
    args: &LoadArgs,
    meter: &Arc<Meter>,
    cancel: &CancellationToken,
) -> Result<Vec<Loaded>, Failure> {
    let loaded = settings::load(global, &ServeArgs::default(), LogUse::Quiet)?;
    let app = settings::open_app(loaded).await?;
    let request = LoadRequest {
        table: args.table.clone(),
        from: args.files.clone(),
        format: args.format.map(Into::into),
        map: args.map.clone(),
        time_format: args.time_format.clone(),
        max_rejects: args.max_rejects,
        header: !args.no_header,
        delimiter: args.delimiter,
        within: None,
    };
    let reports = load_into(&app, request, meter, cancel.clone()).await;
    app.stop().await;
    reports
}

/// Loads into an open lake.
///
/// # Errors
/// A file that cannot be loaded.
pub async fn load_into(
    app: &App,
    request: LoadRequest,
    meter: &Arc<Meter>,
    cancel: CancellationToken,
) -> Result<Vec<Loaded>, Failure> {
    let task = app.engine.task_context();
    let reports = Box::pin(app.ingestor.load(request, meter.clone(), task, cancel)).await;
    let reports = reports.map_err(|error| Failure::new(chain(&error)).with_hint_for(error.kind()))?;
    Ok(reports.into_iter().map(Loaded::from).collect())
}

impl From<FileReport> for Loaded {
    fn from(report: FileReport) -> Self {
        let FileReport { file, status, rows, duplicates, rejected, .. } = report;
        Self { file, is_new: status == FileStatus::Loaded, rows, duplicates, rejected }
    }
}

async fn load_remote(
    global: &Global,
    args: &LoadArgs,
    url: &str,
    meter: &Arc<Meter>,
    cancel: &CancellationToken,
) -> Result<Vec<Loaded>, Failure> {
    let backend = repl::open(global, Some(url), &args.tls).await?;
    let mut loaded = Vec::new();
    for file in &args.files {
        let path = path_for(url, file)?;
        crate::query::Progress::phase(meter.as_ref(), &path);
        loaded.extend(copy_one(backend.as_ref(), &copy_sql(args, &path), meter, cancel).await?);
    }
    backend.close().await;
    Ok(loaded)
}

async fn copy_one(
    backend: &dyn Backend,
    sql: &str,
    meter: &Arc<Meter>,
    cancel: &CancellationToken,
) -> Result<Vec<Loaded>, Failure> {
    match backend.run(sql, meter.clone(), cancel.clone()).await? {
        Reply::Done { details: Some(details), .. } => read_report(&details),
        Reply::Done { message, details: None } => {
            Err(Failure::new(format!("server loaded, but sent no report: {message}")))
        }
        Reply::Rows { mut rows, .. } => {
            let mut all = Vec::new();
            while let Some(batch) = futures::StreamExt::next(&mut rows).await.transpose()? {
                all.extend(read_report(&batch)?);
            }
            Ok(all)
        }
    }
}

/// Reads the table `COPY INTO` answers: file, status, rows, duplicates, rejected.
fn read_report(batch: &RecordBatch) -> Result<Vec<Loaded>, Failure> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| Failure::new(format!("server's load report has no column '{name}'")))
    };
    let text = |name: &str| column(name).map(|column| column.as_string_opt::<i32>());
    let number = |name: &str| column(name).map(|column| column.as_primitive_opt::<Int64Type>());
    let (Some(file), Some(status)) = (text("file")?, text("status")?) else {
        return Err(Failure::new("server's load report has other column types"));
    };
    let (rows, duplicates, rejected) = (number("rows")?, number("duplicates")?, number("rejected")?);
    let at = |column: Option<&arrow::array::Int64Array>, row: usize| {
        let value = column.filter(|column| column.is_valid(row)).map_or(0, |column| column.value(row));
        u64::try_from(value).unwrap_or(0)
    };
    let row = |row: usize| Loaded {
        file: file.value(row).to_owned(),
        is_new: status.value(row) == "loaded",
        rows: at(rows, row),
        duplicates: at(duplicates, row),
        rejected: at(rejected, row),
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// A relative path means this process's folder; a server on this machine has another one.
fn path_for(url: &str, file: &str) -> Result<String, Failure> {
    let is_url = file.contains("://");
    if is_url || Path::new(file).is_absolute() || !is_this_machine(url) {
        return Ok(file.to_owned());
    }
    let here = std::env::current_dir()?;
    Ok(here.join(file).to_string_lossy().into_owned())
}

fn is_this_machine(url: &str) -> bool {
    let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn copy_sql(args: &LoadArgs, file: &str) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut options: Vec<(&str, String)> = Vec::new();
    options.extend(args.format.map(|format| ("format", format.name().to_owned())));
    if !args.map.is_empty() {
        let pairs = args.map.iter().map(|(from, to)| format!("{from}={to}"));
        options.push(("map", pairs.collect::<Vec<_>>().join(", ")));
    }
    options.extend(args.time_format.clone().map(|format| ("time_format", format)));
    options.extend(args.max_rejects.map(|count| ("max_rejects", count.to_string())));
    if args.no_header {
        options.push(("header", "false".to_owned()));
    }
    options.extend(args.delimiter.map(|byte| ("delimiter", char::from(byte).to_string())));
    let mut sql = format!("COPY INTO {} FROM {}", args.table, quote(file));
    if !options.is_empty() {
        let pairs = options.iter().map(|(key, value)| format!("{key}={}", quote(value)));
        sql.push_str(&format!(" WITH ({})", pairs.collect::<Vec<_>>().join(", ")));
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let file = Loaded { file: "a.csv".to_owned(), is_new: true, rows: 1_200, duplicates: 2, rejected: 1 };
        assert_eq!(sentence(&file), "a.csv: loaded 1,200 rows, 2 duplicates dropped, 1 rejected");
        let again = Loaded { is_new: false, ..file };
        assert_eq!(sentence(&again), "a.csv: already loaded, nothing changed");
    }

    #[test]
    fn options_become_sql() {
        let args = LoadArgs {
            table: "clicks".to_owned(),
            map: vec![("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())],
            time_format: Some("%H o'clock".to_owned()),
            no_header: true,
            delimiter: Some(b';'),
            max_rejects: Some(5),
            ..LoadArgs::default()
        };
        let wanted = "COPY INTO clicks FROM 'it''s.csv' WITH (map='a=b, c=d', time_format='%H o''clock', \
                      max_rejects='5', header='false', delimiter=';')";
        assert_eq!(copy_sql(&args, "it's.csv"), wanted);
    }

    #[test]
    fn relative_paths_mean_this_folder_only_on_this_machine() {
        let here = std::env::current_dir().unwrap().join("x.csv").to_string_lossy().into_owned();
        for url in ["grpc://localhost:1", "grpc+tls://127.0.0.1:1", "grpc://[::1]:1"] {
            assert_eq!(path_for(url, "x.csv").unwrap(), here, "{url}");
        }
        assert_eq!(path_for("grpc://other:1", "x.csv").unwrap(), "x.csv");
        assert_eq!(path_for("grpc://localhost:1", "s3://b/x").unwrap(), "s3://b/x");
    }
}
