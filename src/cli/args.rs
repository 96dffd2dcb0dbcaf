//! What can be typed: commands, options and their help texts. Values are parsed here, meaning is given elsewhere.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::ingest::FileFormat;

use super::bench::BenchCommand;
use super::connect::TlsArgs;
use super::generate::GenerateArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed; the reason is on standard error
  2    wrong usage or configuration; also `plan --exit-code` when there are changes
  3    `load` finished, but some rows were rejected (see system.rejects)
  130  interrupted with Ctrl-C

Every configuration key can be set in a file (--config), in the environment
(ADLAKE__SECTION__KEY) or with --set section.key=value; later ones win.
`adlake config default` prints all keys with their documentation.";

/// Analytical query server for advertising data: Delta tables, SQL views, Flight SQL, HTTP.
#[derive(Debug, Parser)]
#[command(name = "adlake", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Set one configuration key, such as query.timeout='5 minutes'; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value, help_heading = "Configuration")]
    pub set: Vec<(String, String)>,
    /// The lake: a folder or s3://bucket/prefix [default: ./lake]
    #[arg(long, global = true, value_name = "DIR|S3-URL", help_heading = "Configuration")]
    pub lake: Option<String>,
    /// Folder of SQL definitions [default: ./sql]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Configuration")]
    pub sql: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the lake: Flight SQL and HTTP, until SIGTERM or Ctrl-C
    Serve(ServeArgs),
    /// Run SQL: interactively, from -c, a file or standard input
    Sql(SqlArgs),
    /// Load files into a table, each exactly once
    Load(LoadArgs),
    /// Show what `apply` would change; changes nothing
    Plan(PlanArgs),
    /// Make the lake's definitions what the SQL folder says, all or nothing
    Apply,
    /// Put load on a running server and measure it
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Show configuration: every key, its value and where it came from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Try everything: generate a day of ad traffic, load it, serve it, show five things to try
    Demo(DemoArgs),
    /// Is the lake's place fit: permissions, atomic commits, consistency, clock, latency, space, tables
    Doctor(DoctorArgs),
    /// Make the lake's place and set it up: a folder, or a bucket with its settings
    Init(InitArgs),
    /// Generate deterministic ad traffic as files, or as NDJSON at a given rate
    Generate(GenerateArgs),
}

#[derive(Args, Debug, Default)]
pub struct ServeArgs {
    /// Address to listen on (server.bind)
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<String>,
    /// Port of Flight SQL (flight.port)
    #[arg(long, value_name = "PORT")]
    pub flight_port: Option<u16>,
    /// Port of HTTP (http.port)
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// A read replica: follow the lake, refuse every change (server.read_only)
    #[arg(long)]
    pub read_only: bool,
}

#[derive(Args, Debug, Default)]
pub struct DoctorArgs {
    /// One JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug, Default)]
pub struct InitArgs {
    /// The lake: a folder or s3://bucket/prefix [default: --lake]
    #[arg(value_name = "DIR|S3-URL")]
    pub location: Option<String>,
    /// Say what would be done; change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Aligned columns for people
    #[default]
    Table,
    /// Comma-separated with a header; NULL is empty, an empty text is ""
    Csv,
    /// Tab-separated with a header; NULL is \N
    Tsv,
    /// One JSON array of objects
    Json,
    /// One JSON object per line
    Ndjson,
    /// A Markdown table
    Markdown,
    /// A Parquet file; needs --output or \o
    Parquet,
}

impl OutputFormat {
    /// The name users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Markdown => "markdown",
            Self::Parquet => "parquet",
        }
    }
}

#[derive(Args, Debug, Default)]
pub struct SqlArgs {
    /// A running server, instead of opening the lake here: grpc://host:50051, or grpc+tls://host:50051
    #[arg(long, value_name = "URL", conflicts_with = "lake")]
    pub url: Option<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// SQL to run; may be repeated. Stops at the first error
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub commands: Vec<String>,
    /// Script to run after the -c commands; may be repeated, - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Format of results
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// Write results to this file instead of standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print the time each statement took, and the moment its data is complete to
    #[arg(long)]
    pub timing: bool,
}

/// Formats `load` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    Csv,
    Tsv,
    Parquet,
    Ndjson,
}

impl InputFormat {
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Parquet => "parquet",
            Self::Ndjson => "ndjson",
        }
    }
}

impl From<InputFormat> for FileFormat {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Csv => Self::Csv,
            InputFormat::Tsv => Self::Tsv,
            InputFormat::Parquet => Self::Parquet,
            InputFormat::Ndjson => Self::Ndjson,
        }
    }
}

#[derive(Args, Clone, Debug, Default)]
pub struct LoadArgs {
    /// A running server that does the loading: grpc://host:50051, or grpc+tls://host:50051. Paths are then the server's; a
    /// relative path is made absolute when the server is on this machine
    #[arg(long, value_name = "URL", conflicts_with = "lake")]
    pub url: Option<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// The table to load into
    pub table: String,
    /// Paths, globs or s3:// URLs; .gz and .zst files are decompressed
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<String>,
    /// Name of a column in the files = its name in the table; may be repeated, or separated by commas. 'a=' leaves
    /// column a out, '*=' all that the table does not have
    #[arg(long, value_name = "SRC=DST", value_parser = key_value, value_delimiter = ',')]
    pub map: Vec<(String, String)>,
    /// Pattern of times in text files, strftime style, with the clock's offset when the text has none:
    /// '%Y%m%d%H%M%S%3f@+08:00', '%s' for epoch seconds [default: RFC 3339, SQL style or epoch milliseconds]
    #[arg(long, value_name = "PATTERN")]
    pub time_format: Option<String>,
    /// Format of the files [default: by extension]
    #[arg(long, value_enum)]
    pub format: Option<InputFormat>,
    /// The files have no header line; columns are named column_1, column_2 …
    #[arg(long)]
    pub no_header: bool,
    /// Character between fields, such as ';' or '\t' [default: by format]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// Bad rows tolerated per file; they go to system.rejects [default: ingest.max_rejects]
    #[arg(long, value_name = "N")]
    pub max_rejects: Option<u64>,
}

#[derive(Args, Debug, Default)]
pub struct PlanArgs {
    /// Exit with code 2 when there are changes
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the value of a key and where it came from; without a key, of all keys
    Explain { key: Option<String> },
    /// Print the documented default configuration
    Default,
}

#[derive(Args, Debug, Default)]
pub struct DemoArgs {
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Impressions to generate; about one in twenty is clicked
    #[arg(long, default_value_t = 190_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..))]
    pub rows: u64,
    /// The same seed and day give the same events
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    pub seed: u64,
    /// Stop after printing the five things, instead of serving on
    #[arg(long)]
    pub exit: bool,
}

/// Reads `key=value`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("'{text}' is not of the form name=value")),
    }
}

/// Reads one ASCII character, or `\t`.
fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "\\t" | "tab" => Ok(b'\t'),
        _ => match text.as_bytes() {
            [byte] if byte.is_ascii() => Ok(*byte),
            _ => Err(format!("'{text}' is not one ASCII character; write for example ';' or '\\t'")),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_load_are_read() {
        let cli = parse(
            "adlake load --lake l clicks a.csv b.csv --map ip=ip,click_time=event_time --delimiter \\t --no-header",
        )
        .unwrap();
        let Command::Load(load) = cli.command else { panic!("not load") };
        assert_eq!(cli.global.lake.as_deref(), Some("l"));
        assert_eq!(load.files, ["a.csv", "b.csv"]);
        assert_eq!(load.map[1], ("click_time".to_owned(), "event_time".to_owned()));
        assert_eq!(load.delimiter, Some(b'\t'));
        assert!(load.no_header);
    }

    #[test]
    fn global_options_may_stand_after_the_command() {
        let cli = parse("adlake apply --set http.port=0 --lake x --sql y").unwrap();
        assert_eq!(cli.global.set, [("http.port".to_owned(), "0".to_owned())]);
        assert_eq!(cli.global.sql.as_deref(), Some("y"));
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "adlake",
            "adlake load clicks",
            "adlake sql --url grpc://x --lake y",
            "adlake sql --url grpcs://x --client-cert c",
            "adlake serve --set novalue",
            "adlake load t f --delimiter ab",
            "adlake sql --format xls",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
