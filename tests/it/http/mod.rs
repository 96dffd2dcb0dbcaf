//! The HTTP server over a real lake: replies, errors, rows, endpoints, streaming, stopping.

mod endpoints;
mod errors;
mod freshness;
mod rows;
mod sql;
mod streaming;

use std::time::Duration;

use adlake::app::{App, Running};
use adlake::base::{Clock, Timestamp};
use adlake::config;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// 2017-11-07T12:00:00Z, where the servers of these tests stand.
const NOON: Timestamp = Timestamp(1_510_056_000_000_000);

/// A served lake of its own.
pub(crate) struct Server {
    running: Running,
    client: Client,
    clock: Clock,
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        // Other tests may have installed it before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let fixed = [("lake.sql", ""), ("http.port", "0"), ("flight.port", "0"), ("server.drain", "10 minutes")];
        let fixed = fixed.into_iter().chain(settings.iter().copied());
        let mut overrides = crate::place::settings(folder.path());
        overrides.extend(fixed.map(|(key, value)| (key.into(), value.into())));
        let loaded = config::load(None, &[], &overrides).unwrap();
        let clock = Clock::manual(NOON);
        let running = App::open(loaded, clock.clone()).await.unwrap().serve().await.unwrap();
        let client = Client::builder().timeout(Duration::from_secs(600)).build().unwrap();
        Self { running, client, clock, _folder: folder }
    }

    /// With a small table of events: ad 'a' three times (KR, KR, US), ad 'b' once, on the half hours before noon.
    pub(crate) async fn with_clicks() -> Self {
        let server = Self::start().await;
        server
            .run(
                "CREATE TABLE clicks (event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, \
                 ad_id VARCHAR, country VARCHAR, user_id BIGINT, price DECIMAL(18, 6)) \
                 WITH (event_time='event_time', event_key='event_id')",
            )
            .await;
        let rows = [
            json!({"event_id":"1","event_time":"2017-11-07T10:30:00Z","ad_id":"a","country":"KR","user_id":1,"price":0.5}),
            json!({"event_id":"2","event_time":"2017-11-07T11:15:00Z","ad_id":"a","country":"KR","user_id":2,"price":0.25}),
            json!({"event_id":"3","event_time":"2017-11-07T11:30:00Z","ad_id":"a","country":"US","user_id":3,"price":1}),
            json!({"event_id":"4","event_time":"2017-11-07T11:45:00Z","ad_id":"b","country":"KR","user_id":1,"price":2}),
        ];
        let report = json_of(server.request(Method::POST, "/v1/tables/clicks/rows").json(&rows)).await;
        assert_eq!(report["accepted"], 4, "{report}");
        server
    }

    /// Of gRPC.
    pub(crate) fn flight(&self) -> std::net::SocketAddr {
        self.running.addresses.flight
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.addresses.http)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn sql(&self, sql: &str) -> RequestBuilder {
        self.request(Method::POST, "/v1/sql").json(&json!({ "sql": sql }))
    }

    /// Runs a statement that must succeed.
    pub(crate) async fn run(&self, sql: &str) -> Value {
        json_of(self.sql(sql)).await
    }

    /// Rows of a query that must succeed.
    pub(crate) async fn rows(&self, sql: &str) -> Value {
        self.run(sql).await["rows"].take()
    }

    pub(crate) async fn stop(self) {
        assert!(self.running.app.stop().await, "did not stop in time");
    }
}

/// The JSON of a reply that must be 200.
async fn json_of(request: RequestBuilder) -> Value {
    let reply = request.send().await.unwrap();
    let status = reply.status();
    let text = reply.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The problem of a reply that must have `status`, checked for its form.
async fn problem_of(request: RequestBuilder, status: u16) -> Value {
    let reply = request.send().await.unwrap();
    check_problem(reply, status).await
}

async fn check_problem(reply: Response, status: u16) -> Value {
    let actual = reply.status().as_u16();
    let content_type = header(&reply, "content-type");
    let request_id = header(&reply, "x-request-id");
    let text = reply.text().await.unwrap();
    assert_eq!(actual, status, "{text}");
    assert_eq!(content_type, "application/problem+json", "{text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], status, "{text}");
    assert_eq!(problem["request_id"], *request_id, "{text}");
    assert!(problem["title"].is_string() && problem["kind"].is_string(), "{text}");
    problem
}

fn header(reply: &Response, name: &str) -> String {
    reply.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// Fails unless the problem's detail holds `part`.
fn says(problem: &Value, part: &str) {
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(part), "'{detail}' does not say '{part}'");
}
