//! VERIFY MATERIALIZED VIEW: the view and its query over the sources, compared at one version.
//!
//! Both are read in one statement, so they see the same versions. Rows of the view count +1, rows of the query −1; whatever does
//! not sum to zero differs. That is exact for rows that repeat and for NULLs, which `EXCEPT` is not.
//!
//! Columns that are by chance differ from one run to the next. Of a KLL sketch is compared what is exact (how many numbers, the
//! least, the greatest), of what is derived from one nothing; the differing rows show one such value each.

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::range::times_between;
use super::{MaterializeError, Refresher};
use crate::base::quoted;
use crate::catalog::Definition;
use crate::query::{QueryError, VERIFIED_SIDE};
use crate::rollup::{Certainty, Strategy};

/// Differing rows that are listed; one is one too many already.
const ROWS_MAX: usize = 10_000;

impl Refresher {
    /// Rows of the view that its query does not give, and the other way round; none when the view is right. A view kept by the
    /// full strategy is compared with its sources as they are now.
    ///
    /// # Errors
    /// Not a materialized view; a range over a view without a time key, or of no times; a query that fails.
    pub async fn verify(
        &self,
        view: &str,
        range: Option<&(String, String)>,
        cancel: CancellationToken,
    ) -> Result<RecordBatch, MaterializeError> {
        let parts = &self.0.parts;
        let object = parts.catalog.snapshot().relation(view)?.clone();
        let Definition::MaterializedView(definition) = &object.definition else {
            return Err(MaterializeError::NotMaterialized { name: view.to_owned(), kind: object.kind.to_string() });
        };
        let within = match range {
            None => String::new(),
            Some((from, to)) => {
                times_between(parts, (from, to), &cancel).await?;
                let time = quoted(&self.time_key(view)?);
                format!(" WHERE {time} >= ({from}) AND {time} < ({to})")
            }
        };
        let columns = parts.engine.relation_schema(view).await?;
        let names: Vec<String> = columns.fields().iter().map(|field| quoted(field.name())).collect();
        let Compared { shown, by } = compared(&names, &parts.engine.view_decision(view)?.certainties);
        let columns = names.join(", ");
        let group = if by.is_empty() { String::new() } else { format!(" GROUP BY {}", by.join(", ")) };
        let query = definition.query.trim_end().trim_end_matches(';');
        let sql = format!(
            "SELECT CASE WHEN \"__adlake_more\" > 0 THEN 'view' ELSE 'query' END AS {VERIFIED_SIDE}, {columns} FROM (\
             SELECT sum(\"__adlake_one\") AS \"__adlake_more\", {shown} FROM (\
             SELECT 1 AS \"__adlake_one\", {columns} FROM {view}{within} UNION ALL \
             SELECT -1 AS \"__adlake_one\", {columns} FROM (\n{query}\n) AS asked{within}\
             ) AS both_sides{group}\
             ) AS compared WHERE \"__adlake_more\" <> 0 LIMIT {ROWS_MAX}",
            shown = shown.join(", "),
            view = quoted(view)
        );
        let found = parts.engine.open_query(&sql, cancel).await?;
        let batches: Vec<RecordBatch> = found.stream.try_collect().await.map_err(QueryError::from)?;
        concat_batches(&found.schema, &batches)
            .map_err(|error| QueryError::Internal { message: error.to_string() }.into())
    }

    /// The column of the view that ranges of time are of.
    pub(super) fn time_key(&self, view: &str) -> Result<String, MaterializeError> {
        let decision = self.0.parts.engine.view_decision(view)?;
        let key = match &decision.strategy {
            Strategy::Incremental(design) => design.shown_time_key().map(str::to_owned),
            Strategy::Partition(design) => Some(design.key.clone()),
            Strategy::Full(_) => None,
        };
        key.ok_or_else(|| MaterializeError::NoTimeKey { view: view.to_owned() })
    }
}

/// Columns of rows that are compared.
struct Compared {
    /// One for each column.
    shown: Vec<String>,
    /// What rows are told apart by.
    by: Vec<String>,
}

/// `certainties` are those of the columns called `names`, as far as they are known.
fn compared(names: &[String], certainties: &[Certainty]) -> Compared {
    let (mut shown, mut by) = (Vec::new(), Vec::new());
    let all = certainties.iter().copied().chain(std::iter::repeat(Certainty::Certain));
    for (name, certainty) in names.iter().zip(all) {
        match certainty {
            Certainty::Certain => {
                shown.push(name.clone());
                by.push(name.clone());
            }
            Certainty::Sketch => {
                shown.push(format!("min({name}) AS {name}"));
                by.push(format!("kll_count({name})"));
                by.extend(["0", "1"].map(|share| format!("kll_quantile({name}, {share})")));
            }
            Certainty::Derived => shown.push(format!("min({name}) AS {name}")),
        }
    }
    Compared { shown, by }
}
