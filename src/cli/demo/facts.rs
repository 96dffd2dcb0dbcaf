//! What the demo asks the lake about itself: is the traffic there already, which ad and hour make good examples?

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::base::Timestamp;

use super::super::failure::Failure;
use super::super::meter::Meter;
use super::super::repl::{Backend, Embedded, Reply};

/// About the clicks that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub clicks: i64,
    pub top_ad: String,
    pub last_click: Timestamp,
    pub now: Timestamp,
}

/// Whether an earlier demo has loaded all of its traffic: conversions are loaded last.
///
/// # Errors
/// As any query.
pub async fn is_loaded(app: &App) -> Result<bool, Failure> {
    let row = one_row(app, "SELECT count(*) AS n FROM conversions").await?;
    Ok(number(&row, 0)? > 0)
}

/// What the examples need.
///
/// # Errors
/// As any query; also when there are no clicks.
pub async fn facts(app: &App) -> Result<Facts, Failure> {
    let sql = "SELECT count(*) AS clicks, max(event_time) AS last_click FROM clicks";
    let row = one_row(app, sql).await?;
    let clicks = number(&row, 0)?;
    let last_click = Timestamp(number(&row, 1)?);
    let top = one_row(app, "SELECT ad_id FROM clicks GROUP BY ad_id ORDER BY count(*) DESC, ad_id LIMIT 1").await?;
    let text = cast(top.column(0), &DataType::Utf8)?;
    let text = text.as_string_opt::<i32>().filter(|text| text.is_valid(0));
    let top_ad = text.ok_or_else(|| Failure::new("there are no clicks"))?.value(0).to_owned();
    Ok(Facts { clicks, top_ad, last_click, now: app.clock.now() })
}

async fn one_row(app: &App, sql: &str) -> Result<RecordBatch, Failure> {
    let backend = Embedded::new(app.clone());
    let Reply::Rows { mut rows, .. } = backend.run(sql, Arc::new(Meter::default()), CancellationToken::new()).await?
    else {
        return Err(Failure::new("a query gave no rows"));
    };
    while let Some(batch) = rows.next().await.transpose()? {
        if batch.num_rows() > 0 {
            return Ok(batch.slice(0, 1));
        }
    }
    Err(Failure::new(format!("no rows: {sql}")))
}

/// A whole number, or a time in microseconds.
fn number(row: &RecordBatch, column: usize) -> Result<i64, Failure> {
    let mut array = row.column(column).clone();
    if matches!(array.data_type(), DataType::Timestamp(_, _)) {
        array = cast(&array, &DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())))?;
    }
    let array = cast(&array, &DataType::Int64)?;
    let value = array.as_primitive_opt::<Int64Type>().filter(|array| array.is_valid(0)).map(|array| array.value(0));
    value.ok_or_else(|| Failure::new("there are no events yet"))
}
