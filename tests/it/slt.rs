//! Runs every `tests/sql/*.slt` through the engine, each over a fresh lake.
//!
//! `ADLAKE_SLT_UPDATE=1 cargo test --test it slt` writes the answers into the files; review the difference.

use std::path::PathBuf;

use adlake::base::Classify;
use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::lab::Lab;

struct Database(Lab);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

#[async_trait]
impl AsyncDB for Database {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let answered = self.0.try_run(sql).await;
        let answered = answered.map_err(|error| Failure(format!("{}: {}", error.kind(), error.public_message())))?;
        let Some(batch) = answered.batches.first() else {
            let is_query = answered.affected.is_none() && answered.message.is_empty();
            return Ok(match is_query {
                true => DBOutput::Rows { types: Vec::new(), rows: Vec::new() },
                false => DBOutput::StatementComplete(answered.affected.unwrap_or(0)),
            });
        };
        let schema = batch.schema();
        let types = schema.fields().iter().map(|field| match field.data_type() {
            data_type if data_type.is_integer() => DefaultColumnType::Integer,
            data_type if data_type.is_numeric() => DefaultColumnType::FloatingPoint,
            _ => DefaultColumnType::Text,
        });
        let visible = |cell: String| if cell.is_empty() { "(empty)".to_owned() } else { cell };
        let rows = answered.rows.into_iter().map(|row| row.into_iter().map(visible).collect()).collect();
        Ok(DBOutput::Rows { types: types.collect(), rows })
    }

    async fn shutdown(&mut self) {}
}

/// A value may hold line breaks: answers are compared line by line and word by word. `<slt:ignore>` stands for any word.
fn same_lines(_: sqllogictest::Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let words = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| !line.is_empty()).collect()
    };
    let rows: Vec<String> = actual.iter().map(|row| row.join(" ")).collect();
    let (found, wanted) = (words(&rows.join("\n")), words(&expected.join("\n")));
    let same_word = |(found, wanted): (&String, &String)| wanted == "<slt:ignore>" || found == wanted;
    let same_line = |(found, wanted): (&Vec<String>, &Vec<String>)| {
        found.len() == wanted.len() && found.iter().zip(wanted).all(same_word)
    };
    found.len() == wanted.len() && found.iter().zip(&wanted).all(same_line)
}

fn files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "slt")).collect();
    files.sort();
    assert!(files.len() >= 8, "tests/sql holds {} files", files.len());
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_gives_its_answers() {
    let update = std::env::var_os("ADLAKE_SLT_UPDATE").is_some();
    let mut failures = Vec::new();
    for file in files() {
        let mut runner = Runner::new(|| async { Ok(Database(Lab::open().await)) });
        runner.with_validator(same_lines);
        let outcome = match update {
            true => {
                let validator = same_lines;
                let normalizer = sqllogictest::default_normalizer;
                let columns = sqllogictest::default_column_validator;
                let updated = runner.update_test_file(&file, " ", validator, normalizer, columns).await;
                updated.map_err(|error| error.to_string())
            }
            false => runner.run_file_async(&file).await.map_err(|error| error.display(false).to_string()),
        };
        failures.extend(outcome.err().map(|error| format!("{}\n{error}", file.display())));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
