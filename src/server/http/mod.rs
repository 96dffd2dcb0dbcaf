//! HTTP: `/v1/sql`, `/v1/tables/{table}/rows`, endpoints, health, metrics, OpenAPI.
//!
//! ```text
//! connection (limits, drain) ─► observe (id, metrics, log, problems) ─► catch panics ─► gate (who calls) ─► route
//!                                                  static: sql · rows · health · openapi ┤
//!                                                  everything else: endpoint ────────────┘
//! ```
//!
//! Errors are RFC 9457 problem JSON everywhere (`problem`). Rows stream in the form `Accept` names (`reply`,
//! `row_encoder`). Bodies may be gzip or zstd and are bounded before and after decompression (`body`).
//!
//! Not here: what SQL means (`query`), how rows are checked and committed (`ingest`), which endpoints exist (`catalog`).

mod accept;
mod body;
mod connection;
mod endpoint;
mod gate;
mod health;
mod observe;
mod openapi;
mod params;
mod problem;
mod query_string;
mod reply;
mod row_encoder;
mod rows;
mod sql;
mod sql_type;
mod staleness;
mod value;

use std::any::Any;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::tls::{Acceptor, Speaks};
use super::{HttpConfig, ServerConfig, Tls};
use crate::base::{Clock, Kind, Tasks};
use crate::catalog::Catalog;
use crate::ingest::Ingestor;
use crate::query::Engine;
use crate::server::gate::Gate;
use body::{BodyLimits, Pace};
use endpoint::Endpoints;
use problem::Problem;

/// Replies shorter than this are not worth compressing.
const COMPRESSED_BYTES_MIN: u16 = 1024;

/// What the server works with.
#[derive(Clone)]
pub struct HttpParts {
    pub engine: Engine,
    pub gate: Gate,
    pub ingestor: Ingestor,
    pub catalog: Arc<Catalog>,
    pub server: ServerConfig,
    pub config: HttpConfig,
    pub clock: Clock,
    pub tasks: Tasks,
    /// `None` = plain text.
    pub tls: Option<Arc<Tls>>,
    /// `/readyz` asks this.
    pub ready: Arc<dyn Fn() -> futures::future::BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// The parts and what is kept between requests.
struct Shared {
    parts: HttpParts,
    endpoints: Endpoints,
    bodies: BodyLimits,
}

/// Serves until `tasks` stops: refuses new requests, answers accepted ones, returns.
///
/// # Errors
/// None at present: a failed accept is logged and the next one tried.
pub async fn serve(parts: HttpParts, listener: TcpListener) -> std::io::Result<()> {
    let limits = connection::Limits {
        connections_max: parts.config.max_connections,
        head_timeout: parts.config.head_timeout.duration(),
        ping_interval: parts.config.ping_interval.duration(),
        ping_timeout: parts.config.ping_timeout.duration(),
        drain: parts.server.drain.duration(),
    };
    let tasks = parts.tasks.clone();
    let entrance = connection::Entrance { listener, acceptor: Acceptor::new(parts.tls.clone(), Speaks::Http) };
    let pace = Pace { patience: parts.config.body_timeout.duration(), rate: parts.config.body_rate };
    let bodies = BodyLimits::new(parts.config.max_body_size, parts.config.max_bodies_memory, pace);
    let router = router(Arc::new(Shared { parts, endpoints: Endpoints::default(), bodies }));
    connection::run(router, entrance, limits, &tasks).await
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(health::index).fallback(read_only))
        .route("/healthz", get(health::healthz).fallback(read_only))
        .route("/readyz", get(health::readyz).fallback(read_only))
        .route("/metrics", get(health::metrics_text).fallback(read_only))
        .route("/openapi.json", get(openapi::document).fallback(read_only))
        .route("/v1/sql", post(sql::post).fallback(post_only))
        .route("/v1/tables/{table}/rows", post(rows::post).fallback(post_only))
        .fallback(endpoint::serve)
        .layer(middleware::from_fn_with_state(shared.clone(), gate::gate))
        .with_state(shared)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(observe::observe))
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN)))
}

async fn read_only(request: Request) -> Problem {
    Problem::method_not_allowed(request.method().as_str(), "GET, HEAD")
}

async fn post_only(request: Request) -> Problem {
    Problem::method_not_allowed(request.method().as_str(), "POST")
}

/// A bug of ours ends one request, not the server.
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a request handler panicked; this is a bug, please report it with the log above");
    let detail = "this request met a bug of the server; the log has the details under this request's id";
    axum::response::IntoResponse::into_response(Problem::new(Kind::Internal, detail))
}
