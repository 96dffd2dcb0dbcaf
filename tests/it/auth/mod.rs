//! Users, roles, grants, policies and masks over real connections: principal × protocol × statement.

mod at_random;
mod audit;
mod credentials;
mod derived;
mod divided;
mod fairness;
mod kill;
mod limits;
mod matrix;
mod policies;
mod replacing;

use adlake::app::{App, AppError, Running};
use adlake::base::Clock;
use adlake::config;
use arrow::array::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::process::{NOON, texts};

/// A served lake that asks who calls. Passwords of users are `<name>-password`.
struct Guarded {
    running: Running,
    client: Client,
    clock: Clock,
    admin: String,
    folder: TempDir,
}

/// Passwords cost next to nothing here.
const SETTINGS: [(&str, &str); 9] = [
    ("lake.sql", ""),
    ("http.port", "0"),
    ("flight.port", "0"),
    ("auth.mode", "on"),
    ("auth.password_memory", "64 KiB"),
    ("auth.password_passes", "1"),
    ("auth.password_length_min", "8"),
    ("query.threads", "2"),
    ("query.allowed_locations", "/nowhere"),
];

/// Never ends by itself.
const ENDLESS: &str = "SELECT value, 'some text' AS text FROM generate_series(1, 1000000000000)";
/// The same, without a row before its end.
const SILENT: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) WHERE value < 0";

/// A server over the lake of this folder.
async fn served(folder: &TempDir, settings: &[(&str, &str)], clock: &Clock) -> Result<Running, AppError> {
    // Other tests may have installed it before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut overrides = crate::place::settings(folder.path());
    let own = SETTINGS.into_iter().chain(settings.iter().copied());
    overrides.extend(own.map(|(key, value)| (key.into(), value.into())));
    let loaded = config::load(None, &[], &overrides).unwrap();
    App::open(loaded, clock.clone()).await?.serve().await
}

impl Guarded {
    async fn start() -> Self {
        Self::with(tempfile::tempdir().unwrap(), &[]).await
    }

    async fn with(folder: TempDir, settings: &[(&str, &str)]) -> Self {
        let clock = Clock::manual(NOON);
        let running = served(&folder, settings, &clock).await.unwrap();
        let admin = running.first_token.as_ref().map(|token| format!("Bearer {token}")).unwrap_or_default();
        Self { running, client: Client::new(), clock, admin, folder }
    }

    /// Users of every role, and a table, views and an endpoint that some of them may see some of.
    async fn with_people() -> Self {
        Self::with_people_and(&[]).await
    }

    async fn with_people_and(settings: &[(&str, &str)]) -> Self {
        let server = Self::with(tempfile::tempdir().unwrap(), settings).await;
        server.populate().await;
        server
    }

    async fn populate(&self) {
        for sql in PEOPLE.iter().chain(&OBJECTS).chain(&RIGHTS) {
            self.run(sql).await;
        }
    }

    fn request(&self, method: Method, path: &str, authorization: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.running.addresses.http));
        match authorization.is_empty() {
            true => request,
            false => request.header("authorization", authorization),
        }
    }

    /// Status and body of a statement over HTTP.
    async fn http(&self, authorization: &str, sql: &str) -> (u16, Value) {
        let request = self.request(Method::POST, "/v1/sql", authorization).json(&json!({ "sql": sql }));
        let reply = request.send().await.unwrap();
        let status = reply.status().as_u16();
        (status, serde_json::from_str(&reply.text().await.unwrap()).unwrap())
    }

    /// Runs a statement as admin; it must succeed.
    async fn run(&self, sql: &str) -> Value {
        let (status, body) = self.http(&self.admin, sql).await;
        assert_eq!(status, 200, "{sql}: {body}");
        body
    }

    /// What a statement comes to over HTTP: its rows, or the kind of its error.
    async fn over_http(&self, authorization: &str, sql: &str) -> String {
        either(self.try_http(authorization, sql).await)
    }

    async fn try_http(&self, authorization: &str, sql: &str) -> Result<String, String> {
        let (status, body) = self.http(authorization, sql).await;
        if status != 200 {
            return Err(body["kind"].as_str().unwrap().to_owned());
        }
        let Some(rows) = body["rows"].as_array() else { return Ok("done".to_owned()) };
        let cell = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
        let row = |row: &Value| row.as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join("|");
        Ok(rows.iter().map(row).collect::<Vec<_>>().join("; "))
    }

    async fn flight(&self, authorization: &str) -> FlightSqlServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.running.addresses.flight)).unwrap();
        let mut client = FlightSqlServiceClient::new(endpoint.connect().await.unwrap());
        if !authorization.is_empty() {
            client.set_header("authorization", authorization);
        }
        client
    }

    /// The same over Flight SQL.
    async fn over_flight(&self, authorization: &str, sql: &str) -> String {
        either(self.try_flight(authorization, sql).await)
    }

    async fn try_flight(&self, authorization: &str, sql: &str) -> Result<String, String> {
        let mut client = self.flight(authorization).await;
        outcome(fetch(&mut client, sql).await)
    }

    /// The same by a prepared statement.
    async fn over_prepared(&self, authorization: &str, sql: &str) -> String {
        let mut client = self.flight(authorization).await;
        let run = async {
            let mut prepared = client.clone().prepare(sql.to_owned(), None).await?;
            let info = prepared.execute().await?;
            rows_of(&mut client, info).await
        };
        cell(run.await)
    }

    async fn stop(self) {
        assert!(self.running.app.stop().await, "did not stop in time");
    }
}

/// Credentials of one of `PEOPLE`.
fn as_user(name: &str) -> String {
    basic(name, &format!("{name}-password"))
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

async fn fetch(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> Result<Vec<String>, FlightError> {
    let info = client.execute(sql.to_owned(), None).await?;
    rows_of(client, info).await
}

async fn rows_of(
    client: &mut FlightSqlServiceClient<Channel>,
    info: arrow_flight::FlightInfo,
) -> Result<Vec<String>, FlightError> {
    let mut rows = Vec::new();
    for endpoint in info.endpoint {
        let batches: Vec<RecordBatch> = client.do_get(endpoint.ticket.unwrap()).await?.try_collect().await?;
        let is_summary = batches.iter().any(|batch| batch.schema().fields()[0].name() == "rows_affected");
        if !is_summary {
            rows.extend(texts(&batches, "|", "null"));
        }
    }
    Ok(rows)
}

fn status_of(error: &FlightError) -> &Status {
    match error {
        FlightError::Tonic(status) => status,
        other => panic!("not a status: {other}"),
    }
}

/// Rows in a line, or the kind of the error.
fn outcome(fetched: Result<Vec<String>, FlightError>) -> Result<String, String> {
    fetched.map(|rows| rows.join("; ")).map_err(|error| {
        let status = status_of(&error);
        let kind = status.metadata().get("error-kind").map(|kind| kind.to_str().unwrap().to_owned());
        kind.unwrap_or_else(|| format!("{:?}", status.code()))
    })
}

fn cell(fetched: Result<Vec<String>, FlightError>) -> String {
    either(outcome(fetched))
}

fn either(outcome: Result<String, String>) -> String {
    outcome.unwrap_or_else(|kind| kind)
}

const PEOPLE: [&str; 8] = [
    "CREATE ROLE partner",
    "CREATE USER eve PASSWORD 'eve-password' ROLE engineer",
    "CREATE USER ana PASSWORD 'ana-password' ROLE analyst",
    "CREATE USER ida PASSWORD 'ida-password' ROLE ingest",
    "CREATE USER pat PASSWORD 'pat-password' ROLE partner ATTRIBUTE region = 'KR'",
    "CREATE USER pia PASSWORD 'pia-password' ROLE partner ATTRIBUTE region = 'US'",
    "CREATE USER nia PASSWORD 'nia-password'",
    "CREATE USER rob PASSWORD 'rob-password' ROLE analyst, partner ATTRIBUTE region = 'US'",
];

const OBJECTS: [&str; 10] = [
    "CREATE TABLE sales (id BIGINT NOT NULL, region VARCHAR, item VARCHAR, ip VARCHAR, price BIGINT)",
    "INSERT INTO sales VALUES (1, 'KR', 'a', '10.0.0.1', 10), (2, 'KR', 'b', '10.0.0.2', 20), (3, 'US', 'a', '10.0.0.3', 5), \
     (4, 'US', 'a', '10.0.0.4', 40), (5, 'JP', 'c', '10.0.0.5', 50)",
    "CREATE VIEW sales_view AS SELECT region, item, price FROM sales",
    "CREATE MATERIALIZED VIEW by_region WITH (refresh='manual') AS SELECT region, count(*) AS n FROM sales GROUP BY region",
    "CREATE MATERIALIZED VIEW by_item WITH (refresh='manual') AS SELECT item, count(*) AS n FROM sales GROUP BY item",
    "CREATE MATERIALIZED VIEW items WITH (refresh='manual', strategy='full') AS SELECT DISTINCT item FROM sales",
    "REFRESH MATERIALIZED VIEW by_region",
    "REFRESH MATERIALIZED VIEW by_item",
    "REFRESH MATERIALIZED VIEW items",
    "CREATE ENDPOINT totals (item VARCHAR) WITH (path='/v1/totals/{item}', result='object') AS \
     SELECT count(*) AS n FROM sales WHERE item = $item",
];

const RIGHTS: [&str; 6] = [
    "CREATE TABLE secret (x BIGINT)",
    "CREATE POLICY own ON sales TO ROLE partner USING (region = current_attribute('region'))",
    "ALTER TABLE sales ALTER COLUMN ip SET MASK hash(ip) EXCEPT ROLE analyst",
    "GRANT SELECT ON TABLE sales TO ROLE partner",
    "GRANT SELECT ON SCHEMA public TO USER pia",
    "GRANT EXECUTE ON ENDPOINT totals TO ROLE partner",
];
