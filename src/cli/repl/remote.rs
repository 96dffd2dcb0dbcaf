//! Statements on a server, over Flight SQL.
//!
//! ```text
//! GetFlightInfo(statement) ─► queries: planned; everything else: done when this returns
//! DoGet(ticket)            ─► schema (with query id and data_as_of), batches …
//! ```
//! A thin client of our own server's dialect: what changes something answers one row (`rows_affected`, `message`), or
//! (COPY) a table with the rows affected as `total_records`. Dropping a call cancels its statement on the server.
//! Settings made by SET live as long as the TCP connection. Where the server asks who calls, `ADLAKE_TOKEN` holds a token of it: an
//! argument would be seen by everybody on this machine.

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
use tonic::transport::Channel;

use crate::base::Timestamp;

use super::super::connect::{Dialer, Encryption, ServerUrl, TlsArgs, explain, speaks_tls};
use super::super::failure::Failure;
use super::super::meter::Meter;
use super::backend::{Backend, Reply, Rows};

/// The environment variable with a token for the server.
const TOKEN: &str = "ADLAKE_TOKEN";
const EXAMPLE: &str = "grpc://127.0.0.1:50051 (with TLS: grpc+tls://ads.example.com:50051)";
const PORT: u16 = 50051;
/// A server that vanished is noticed while a long statement runs.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// A connection to a server.
pub struct Remote {
    dialer: Dialer,
    channel: Channel,
    /// Value of the authorization header.
    authorization: Option<String>,
}

impl Remote {
    /// Connects to `grpc://host:port` or `grpc+tls://host:port`.
    ///
    /// # Errors
    /// A URL of another form, a server that does not answer or is not believed.
    pub async fn connect(url: &str, tls: &TlsArgs) -> Result<Self, Failure> {
        let dialer = Dialer::grpc(ServerUrl::parse(url, EXAMPLE, PORT)?, tls)?;
        let channel = dialer.channel(|endpoint| endpoint.http2_keep_alive_interval(KEEPALIVE)).await?;
        let authorization = std::env::var(TOKEN).ok().and_then(|token| bearer(&token));
        Ok(Self { dialer, channel, authorization })
    }

    fn client(&self) -> FlightSqlServiceClient<Channel> {
        let inner = FlightServiceClient::new(self.channel.clone());
        let mut client = FlightSqlServiceClient::new_from_inner(inner.max_decoding_message_size(usize::MAX));
        if let Some(authorization) = &self.authorization {
            client.set_header("authorization", authorization);
        }
        client
    }

    async fn call(&self, sql: &str, cancel: CancellationToken) -> Result<Reply, Failure> {
        let mut client = self.client();
        let info = match client.execute(sql.to_owned(), None).await {
            Ok(info) => info,
            Err(error) => return Err(self.why(error).await),
        };
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

    /// A first call may fail for what a connection is only told after it was made: that TLS is wanted, or a certificate.
    async fn why(&self, error: FlightError) -> Failure {
        let url = &self.dialer.url;
        // The transport's own errors have a cause, the server's have none.
        let is_transport =
            matches!(&error, FlightError::Tonic(status) if std::error::Error::source(&**status).is_some());
        match url.encryption {
            Encryption::Tls if is_transport => match self.dialer.refusal().await {
                Some(told) => explain(url, &told),
                None => failure(error),
            },
            Encryption::None if is_transport && speaks_tls(url).await => {
                let hint = format!("use grpc+tls://{}", url.authority());
                Failure::new(format!("the server at {url} speaks TLS")).with_hint(hint)
            }
            Encryption::Tls | Encryption::None => failure(error),
        }
    }
}

#[async_trait]
impl Backend for Remote {
    fn place(&self) -> String {
        self.dialer.url.to_string()
    }

    async fn run(&self, sql: &str, _meter: Arc<Meter>, cancel: CancellationToken) -> Result<Reply, Failure> {
        tokio::select! {
            reply = self.call(sql, cancel.clone()) => reply,
            () = cancel.cancelled() => Err(Failure::interrupted("cancelled")),
        }
    }

    async fn close(&self) {}
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

/// Value of the header; none when the token is empty, as a variable that is not set may be.
fn bearer(token: &str) -> Option<String> {
    let token = token.trim();
    (!token.is_empty()).then(|| format!("Bearer {token}"))
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
    fn an_empty_token_is_none() {
        assert_eq!(bearer(" adlake_1_2\n"), Some("Bearer adlake_1_2".to_owned()));
        assert_eq!((bearer(""), bearer(" \n")), (None, None));
    }
}
