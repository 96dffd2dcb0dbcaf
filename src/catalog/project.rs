//! `sql/`: one object per file, file name = object name, folder = kind.
//!
//! Every error names the file, line and column. What would be ignored by mistake (a `.sql` file at the wrong place, a folder
//! of another name with `.sql` files in it) is an error too.

use std::fs;
use std::path::{Path, PathBuf};

use super::{CatalogError, Create, DefinedBy, ObjectKind, Statement, parse_statement};
use crate::base::suggestion;

/// Folders of a project, in reading order.
const FOLDERS: [(&str, ObjectKind); 4] = [
    ("tables", ObjectKind::Table),
    ("views", ObjectKind::View),
    ("materialized", ObjectKind::MaterializedView),
    ("endpoints", ObjectKind::Endpoint),
];
/// Largest definition file: far above any real one, far below memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One file and what it defines.
#[derive(Clone, Debug)]
pub struct SourceFile {
    pub path: PathBuf,
    pub create: Create,
}

/// Reads `tables/ views/ materialized/ endpoints/` below `dir`, in that order, files by name.
pub fn load_project(dir: &Path) -> Result<Vec<SourceFile>, CatalogError> {
    if !dir.is_dir() {
        return Err(project(format!("'{}' is not a folder of definitions", dir.display())));
    }
    for entry in entries(dir)? {
        check_top_level(&entry)?;
    }
    let mut files: Vec<SourceFile> = Vec::new();
    for (folder, kind) in FOLDERS {
        let folder = dir.join(folder);
        if !folder.is_dir() {
            continue;
        }
        for path in entries(&folder)?.into_iter().filter(|path| is_sql(path)) {
            let file = load_file(&path, kind)?;
            let same = |other: &&SourceFile| {
                other.create.name == file.create.name && other.create.kind().is_relation() == kind.is_relation()
            };
            if let Some(other) = files.iter().find(same) {
                return Err(project(format!(
                    "{}: '{}' is defined in {} too",
                    path.display(),
                    file.create.name,
                    other.path.display()
                )));
            }
            files.push(file);
        }
    }
    Ok(files)
}

fn load_file(path: &Path, kind: ObjectKind) -> Result<SourceFile, CatalogError> {
    let shown = path.display();
    let cannot_read = |error: std::io::Error| project(format!("cannot read {shown}: {error}"));
    let size = fs::metadata(path).map_err(cannot_read)?.len();
    if size > FILE_BYTES_MAX {
        return Err(project(format!("{shown}: {size} bytes are too many for a definition (at most {FILE_BYTES_MAX})")));
    }
    let text = fs::read_to_string(path).map_err(cannot_read)?;
    let mut create = match parse_statement(&text).map_err(|error| at_file(path, error))? {
        Statement::Create(create) => *create,
        _ => return Err(project(format!("{shown}: expected one CREATE statement"))),
    };
    if create.kind() != kind {
        let folder = FOLDERS.iter().find(|(_, other)| *other == create.kind()).map_or("?", |(folder, _)| folder);
        return Err(project(format!("{shown}: a {} belongs into the folder {folder}/", create.kind())));
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if stem != create.name {
        return Err(project(format!("{shown}: defines '{0}'; call the file {0}.sql", create.name)));
    }
    create.defined_by = DefinedBy::Project;
    Ok(SourceFile { path: path.to_owned(), create })
}

/// The error with the file in front: `sql/tables/clicks.sql:3:5: …`.
fn at_file(path: &Path, error: CatalogError) -> CatalogError {
    let path = path.display();
    match error {
        CatalogError::Syntax { line, column, message } => {
            project(format!("{path}:{line}:{column}: syntax error: {message}"))
        }
        CatalogError::BadDefinition { line, column, message } => project(format!("{path}:{line}:{column}: {message}")),
        CatalogError::Unimplemented { line, column, message } => {
            CatalogError::Unimplemented { line, column, message: format!("{path}: {message}") }
        }
        other => project(format!("{path}: {other}")),
    }
}

fn check_top_level(path: &Path) -> Result<(), CatalogError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let known = FOLDERS.map(|(folder, _)| folder);
    if is_sql(path) && path.is_file() {
        return Err(project(format!("{}: definitions lie in the folders {}", path.display(), known.join(", "))));
    }
    if !path.is_dir() || name.starts_with('.') || known.contains(&name.as_str()) {
        return Ok(());
    }
    if entries(path)?.iter().any(|inner| is_sql(inner)) {
        let near = suggestion(&name, known);
        return Err(project(format!("{}: unknown folder; use {}{near}", path.display(), known.join(", "))));
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let cannot_list = |error: std::io::Error| project(format!("cannot list {}: {error}", dir.display()));
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(cannot_list)? {
        paths.push(entry.map_err(cannot_list)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn is_sql(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sql")
}

fn project(message: String) -> CatalogError {
    CatalogError::Project { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads a project of these files; the folder's own path is cut out of the answer.
    fn load(files: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let answer = match load_project(dir.path()) {
            Ok(files) => files.iter().map(|file| file.create.name.as_str()).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        answer.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn files_come_by_folder_then_name() {
        let files = [
            ("views/a.sql", "CREATE VIEW a AS SELECT 1"),
            ("tables/z.sql", "CREATE TABLE z (a INT);\n"),
            ("tables/b.sql", "CREATE TABLE b (a INT)"),
            ("endpoints/a.sql", "CREATE ENDPOINT a WITH (path='/v1/a') AS SELECT 1"),
            ("tables/README.md", "no sql"),
        ];
        assert_eq!(load(&files), "b z a a");
    }

    #[test]
    fn errors_name_file_line_and_column() {
        assert_eq!(
            load(&[("tables/t.sql", "-- t\nCREATE TABLE t (\n  a IMT)")]),
            "tables/t.sql:3:5: unknown type 'IMT'; did you mean 'INT'?"
        );
        assert_eq!(load(&[("tables/t.sql", "SELECT 1")]), "tables/t.sql: expected one CREATE statement");
    }

    #[test]
    fn names_and_folders_must_fit() {
        let table = "CREATE TABLE t (a INT)";
        assert_eq!(load(&[("tables/u.sql", table)]), "tables/u.sql: defines 't'; call the file t.sql");
        assert_eq!(load(&[("views/t.sql", table)]), "views/t.sql: a table belongs into the folder tables/");
        assert_eq!(
            load(&[("table/t.sql", table)]),
            "table: unknown folder; use tables, views, materialized, endpoints; did you mean 'tables'?"
        );
        assert_eq!(
            load(&[("t.sql", table)]),
            "t.sql: definitions lie in the folders tables, views, materialized, endpoints"
        );
        assert_eq!(
            load(&[("tables/t.sql", table), ("views/t.sql", "CREATE VIEW t AS SELECT 1")]),
            "views/t.sql: 't' is defined in tables/t.sql too"
        );
    }
}
