//! Events as Arrow columns, in the shape of the tables in `sql/tables`.

use std::net::Ipv4Addr;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use uuid::Builder;

use super::traffic::{Event, Kind};

/// The columns of a kind.
pub fn schema(kind: Kind) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let mut fields = vec![text("event_id")];
    fields.push(Field::new("event_time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false));
    fields.extend(cause_column(kind).map(|name| Field::new(name, DataType::Utf8, true)));
    fields.extend(["ad_id", "campaign_id", "user_id", "ip", "country", "device"].map(text));
    fields.push(Field::new(amount_column(kind), DataType::Int64, false));
    Arc::new(Schema::new(fields))
}

fn cause_column(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Impressions => None,
        Kind::Clicks => Some("impression_id"),
        Kind::Conversions => Some("click_id"),
    }
}

fn amount_column(kind: Kind) -> &'static str {
    match kind {
        Kind::Impressions | Kind::Clicks => "price_micros",
        Kind::Conversions => "revenue_micros",
    }
}

/// The name of an ad, as in tables and APIs.
pub fn ad_name(id: u32) -> String {
    format!("ad{id:08}")
}

/// The name of a campaign.
pub fn campaign_name(id: u32) -> String {
    format!("c{id:07}")
}

/// One batch of events.
///
/// # Errors
/// None that can happen; the columns fit the schema.
pub fn batch(kind: Kind, events: &[Event]) -> Result<RecordBatch, ArrowError> {
    let text =
        |cell: fn(&Event) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(events.iter().map(cell))) };
    let mut columns = vec![text(|event| event_name(event.id))];
    let times = TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| event.time.micros()));
    columns.push(Arc::new(times.with_timezone("UTC")));
    if cause_column(kind).is_some() {
        let causes = events.iter().map(|event| event.cause.map(event_name));
        columns.push(Arc::new(causes.collect::<StringArray>()));
    }
    columns.extend([
        text(|event| ad_name(event.ad.id)),
        text(|event| campaign_name(event.ad.campaign)),
        text(|event| format!("u{:08}", event.user.id)),
        text(|event| Ipv4Addr::from_bits(event.user.address).to_string()),
        text(|event| event.user.country.to_owned()),
        text(|event| event.user.device.to_owned()),
    ]);
    columns.push(Arc::new(Int64Array::from_iter_values(events.iter().map(|event| event.micros))));
    RecordBatch::try_new(schema(kind), columns)
}

/// Random bits in the form of a version 4 UUID.
fn event_name(id: u128) -> String {
    Builder::from_random_bytes(id.to_be_bytes()).into_uuid().to_string()
}
