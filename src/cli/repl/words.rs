//! The words of SQL that are completed and highlighted, and the names that exist (asked from the backend).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::super::failure::Failure;
use super::super::meter::Meter;
use super::backend::{Backend, Reply};

/// Words of statements users write here, upper case, sorted.
pub const KEYWORDS: [&str; 95] = [
    "ADD",
    "ADVISE",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BIGINT",
    "BY",
    "CASCADE",
    "CASE",
    "CAST",
    "CHECK",
    "COLUMN",
    "COPY",
    "CREATE",
    "CROSS",
    "DATE",
    "DECIMAL",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DOUBLE",
    "DROP",
    "ELSE",
    "END",
    "ENDPOINT",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FIRST",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IF",
    "ILIKE",
    "IN",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KILL",
    "LAST",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MATERIALIZED",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OPTIMIZE",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "QUERY",
    "REFRESH",
    "REJECTS",
    "REPLACE",
    "REPLAY",
    "RESET",
    "RETAIN",
    "RIGHT",
    "SELECT",
    "SET",
    "SHOW",
    "TABLE",
    "THEN",
    "TIMESTAMP",
    "TRUE",
    "UNION",
    "USING",
    "VACUUM",
    "VALUES",
    "VARCHAR",
    "VERIFY",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "WITHIN",
    "ZONE",
];

/// Functions worth completing, lower case, sorted.
pub const FUNCTIONS: [&str; 27] = [
    "abs",
    "approx_distinct",
    "approx_percentile_cont",
    "array_agg",
    "avg",
    "coalesce",
    "concat",
    "count",
    "date_bin",
    "date_part",
    "date_trunc",
    "extract",
    "first_value",
    "last_value",
    "lower",
    "max",
    "median",
    "min",
    "now",
    "nullif",
    "round",
    "row_number",
    "stddev",
    "substr",
    "sum",
    "to_timestamp",
    "upper",
];

/// Relations and their columns. Names in another schema than `public` are kept with it: `system.queries`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub relations: BTreeMap<String, Vec<String>>,
}

const NAMES_SQL: &str =
    "SELECT table_schema, table_name, column_name FROM information_schema.columns ORDER BY 1, 2, ordinal_position";

/// Asks which names exist.
///
/// # Errors
/// As any statement; completion then goes on with the names it had.
pub async fn load_names(backend: &dyn Backend) -> Result<Names, Failure> {
    let reply = backend.run(NAMES_SQL, Arc::new(Meter::default()), CancellationToken::new()).await?;
    let Reply::Rows { mut rows, .. } = reply else {
        return Err(Failure::new("information_schema.columns gave no rows"));
    };
    let mut names = Names::default();
    while let Some(batch) = rows.next().await.transpose()? {
        names.add(&batch)?;
    }
    Ok(names)
}

impl Names {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let column = |at: usize| -> Result<StringArray, Failure> {
            let text = cast(batch.column(at), &DataType::Utf8)?;
            let text = text.as_any().downcast_ref::<StringArray>().cloned();
            text.ok_or_else(|| Failure::new("information_schema.columns has another shape"))
        };
        let (schemas, relations, columns) = (column(0)?, column(1)?, column(2)?);
        for row in 0..batch.num_rows() {
            let name = match schemas.value(row) {
                "public" => relations.value(row).to_owned(),
                schema => format!("{schema}.{}", relations.value(row)),
            };
            self.relations.entry(name).or_default().push(columns.value(row).to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_unique() {
        assert!(KEYWORDS.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
