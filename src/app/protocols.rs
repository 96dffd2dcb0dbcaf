//! Starts the protocols on ports that are bound already. Connects parts; decides nothing.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::App;
use crate::base::Classify;
use crate::server::{self, Gate, Tls, flight_sql, grpc, http};

impl App {
    pub(super) fn start_http(&self, listener: TcpListener, tls: Option<Arc<Tls>>) {
        let lake = self.lake.clone();
        let ready = Arc::new(move || {
            let lake = lake.clone();
            let probe = async move { lake.probe().await.map_err(|error| error.public_message()) };
            Box::pin(probe) as futures::future::BoxFuture<'static, Result<(), String>>
        });
        let parts = http::HttpParts {
            engine: self.engine.clone(),
            gate: Gate::new(&self.authenticator, "http"),
            ingestor: self.ingestor.clone(),
            catalog: self.catalog.clone(),
            server: self.loaded.config.server.clone(),
            config: self.loaded.config.http.clone(),
            clock: self.clock.clone(),
            tasks: self.tasks.clone(),
            tls,
            ready,
        };
        self.tasks.spawn("http", async move {
            if let Err(error) = http::serve(parts, listener).await {
                tracing::error!(%error, "HTTP server ended; restart the process");
            }
        });
    }

    pub(super) fn start_flight(&self, listener: TcpListener, tls: Option<Arc<Tls>>) {
        let parts = flight_sql::FlightParts {
            engine: self.engine.clone(),
            gate: Gate::new(&self.authenticator, "grpc"),
            ingestor: self.ingestor.clone(),
            catalog: self.catalog.clone(),
            server: self.loaded.config.server.clone(),
            config: self.loaded.config.flight.clone(),
            clock: self.clock.clone(),
            tasks: self.tasks.clone(),
            tls,
        };
        let ingest = grpc::routes(grpc::GrpcParts {
            gate: Gate::new(&self.authenticator, "grpc"),
            catalog: self.catalog.clone(),
            ingestor: self.ingestor.clone(),
            server: self.loaded.config.server.clone(),
            config: self.loaded.config.flight.clone(),
            tasks: self.tasks.clone(),
        });
        self.tasks.spawn("flight", async move {
            if let Err(error) = flight_sql::serve(parts, ingest, listener).await {
                tracing::error!(%error, "Flight SQL server ended; restart the process");
            }
        });
    }

    pub(super) fn start_pgwire(&self, listener: TcpListener, tls: Option<Arc<Tls>>) {
        let parts = server::pgwire::PgwireParts {
            engine: self.engine.clone(),
            gate: Gate::new(&self.authenticator, "pgwire"),
            config: self.loaded.config.pgwire.clone(),
            tasks: self.tasks.clone(),
            tls,
        };
        self.tasks.spawn("pgwire", server::pgwire::serve(parts, listener));
    }
}
