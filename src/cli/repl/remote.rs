//! Statements on a server, over Flight SQL.
//!
//! ```text
//! GetFlightInfo(statement) ─► queries: planned; everything else: done when this returns
//! DoGet(ticket)            ─► schema (with query id and data_as_of), batches …
//! ```
//! A thin client of our own server's dialect: what changes something answers one row (`rows_affected`, `message`), or
//! (COPY) a table with the rows affected as `total_records`. Dropping a call cancels its statement on the server.
//! Settings made by SET live as long as the TCP connection.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::{DecodedFlightData, DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, Ticket};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::base::Timestamp;

use super::super::failure::Failure;
use super::super::meter::Meter;
use super::backend::{Backend, Reply, Rows};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that vanished is noticed while a long statement runs.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Flow-control window: fetching is then bound by the server and the disk, not by round trips.
const WINDOW: u32 = 8 << 20;

/// A connection to a server.
pub struct Remote {
    url: String,
    channel: Channel,
}

impl Remote {
    /// Connects to `grpc://host:port`.
    ///
    /// # Errors
    /// A URL of another form, a server that does not answer.
    pub async fn connect(url: &str) -> Result<Self, Failure> {
        let address = address(url)?;
        let endpoint = Endpoint::from_shared(address)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let channel = endpoint.connect().await.map_err(|error| {
            Failure::from(anyhow::Error::from(error).context(format!("cannot connect to {url}")))
                .with_hint("is `adlake serve` running there? It prints its addresses when it starts")
        })?;
        Ok(Self { url: url.to_owned(), channel })
    }

    fn client(&self) -> FlightSqlServiceClient<Channel> {
        let inner = FlightServiceClient::new(self.channel.clone());
        FlightSqlServiceClient::new_from_inner(inner.max_decoding_message_size(usize::MAX))
    }

    async fn call(&self, sql: &str, cancel: CancellationToken) -> Result<Reply, Failure> {
        let mut client = self.client();
        let info = client.execute(sql.to_owned(), None).await.map_err(failure)?;
        let changed = info.total_records;
        let ticket = ticket_of(info)?;
        let mut decoder = client.do_get(ticket).await.map_err(failure)?.into_inner();
        let (schema, data_as_of) = read_schema(&mut decoder).await?;
        let rows = rows_of(decoder, cancel);
        if is_summary(&schema) {
            return Ok(Reply::Done { message: message_of(rows).await?, details: None });
        }
        if changed >= 0 {
            let message = format!("{changed} rows");
            return Ok(Reply::Done { message, details: Some(collect(&schema, rows).await?) });
        }
        Ok(Reply::Rows { schema, rows, data_as_of })
    }
}

#[async_trait]
impl Backend for Remote {
    fn place(&self) -> String {
        self.url.clone()
    }

    async fn run(&self, sql: &str, _meter: Arc<Meter>, cancel: CancellationToken) -> Result<Reply, Failure> {
        tokio::select! {
            reply = self.call(sql, cancel.clone()) => reply,
            () = cancel.cancelled() => Err(Failure::interrupted("cancelled")),
        }
    }

    async fn close(&self) {}
}

/// `grpc://host:port` → what the transport wants.
fn address(url: &str) -> Result<String, Failure> {
    let wrong = |reason: &str| {
        Failure::usage(format!("'{url}' {reason}")).with_hint("write a URL such as grpc://127.0.0.1:50051")
    };
    if url.starts_with("grpc+tls://") || url.starts_with("https://") {
        return Err(wrong("asks for TLS, which servers do not offer yet"));
    }
    let rest = ["grpc://", "grpc+tcp://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let parsed = rest.and_then(|rest| url::Url::parse(&format!("http://{rest}")).ok());
    let host = parsed.as_ref().and_then(url::Url::host_str).filter(|host| !host.is_empty());
    let (Some(parsed), Some(host)) = (parsed.as_ref(), host) else {
        return Err(wrong("is not a server URL"));
    };
    Ok(format!("http://{host}:{}", parsed.port().unwrap_or(50051)))
}

fn ticket_of(info: FlightInfo) -> Result<Ticket, Failure> {
    let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
    ticket.ok_or_else(|| Failure::new("server sent no ticket for the result"))
}

/// The first message of a stream, and the moment its rows are complete to.
async fn read_schema(decoder: &mut FlightDataDecoder) -> Result<(SchemaRef, Option<Timestamp>), Failure> {
    while let Some(message) = decoder.next().await.transpose().map_err(failure)? {
        if let DecodedPayload::Schema(schema) = &message.payload {
            return Ok((schema.clone(), data_as_of(&message)));
        }
    }
    Err(Failure::new("server sent no schema; is it an adlake server?"))
}

fn data_as_of(message: &DecodedFlightData) -> Option<Timestamp> {
    let described: serde_json::Value = serde_json::from_slice(&message.app_metadata()).ok()?;
    let text = described.get("data_as_of")?.as_str()?;
    let moment = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp(moment.timestamp_micros()))
}

/// The batches that follow; a cancelled stream ends with an error, so that no result looks complete that is not.
fn rows_of(decoder: FlightDataDecoder, cancel: CancellationToken) -> Rows {
    let batches = decoder.filter_map(|message| async {
        match message {
            Ok(DecodedFlightData { payload: DecodedPayload::RecordBatch(batch), .. }) => Some(Ok(batch)),
            Ok(_) => None,
            Err(error) => Some(Err(failure(error))),
        }
    });
    let cancelled = async move {
        cancel.cancelled_owned().await;
        Err(Failure::interrupted("cancelled"))
    };
    let batches = batches.map(Some).chain(stream::once(async { None }));
    let ended = stream::select(batches, stream::once(cancelled).map(Some));
    ended.take_while(|item| futures::future::ready(item.is_some())).filter_map(futures::future::ready).boxed()
}

fn is_summary(schema: &SchemaRef) -> bool {
    schema.fields().iter().map(|field| field.name().as_str()).eq(["rows_affected", "message"])
}

async fn message_of(mut rows: Rows) -> Result<String, Failure> {
    while let Some(batch) = rows.next().await.transpose()? {
        let message = batch.column(1).as_string_opt::<i32>();
        if let Some(message) = message.filter(|message| !message.is_empty() && message.is_valid(0)) {
            return Ok(message.value(0).to_owned());
        }
    }
    Ok("done".to_owned())
}

/// What a changing statement reports: bounded by the server to about a megabyte.
async fn collect(schema: &SchemaRef, mut rows: Rows) -> Result<RecordBatch, Failure> {
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await.transpose()? {
        batches.push(batch);
    }
    Ok(arrow::compute::concat_batches(schema, &batches)?)
}

fn failure(error: FlightError) -> Failure {
    match error {
        FlightError::Tonic(status) if status.code() == tonic::Code::Unavailable => {
            Failure::new(status.message()).with_hint("the server stopped or cannot be reached; try again")
        }
        FlightError::Tonic(status) => Failure::new(status.message()),
        other => Failure::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls() {
        assert_eq!(address("grpc://h:1").unwrap(), "http://h:1");
        assert_eq!(address("grpc://127.0.0.1").unwrap(), "http://127.0.0.1:50051");
        assert_eq!(address("grpc://[::1]:7/").unwrap(), "http://[::1]:7");
        for wrong in ["h:1", "grpc://", "ftp://h:1", "grpc+tls://h:1", "grpc://h:99999"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
