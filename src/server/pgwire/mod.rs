//! pgwire: PostgreSQL's protocol, version 3, for psql, drivers of PostgreSQL and the tools that stand on them.
//!
//! ```text
//! connection ─► opening (TLS, who) ─► dialogue: one message after another ─┬─► script (simple) ─────┐
//!     ▲                                                                    └─► prepared (extended) ─┴─► own · query::Engine ─► rows ─► client
//!   cancels ◄── another connection: CancelRequest
//! ```
//!
//! What clients can rely on
//! - **A statement is its own transaction.** `BEGIN`, `COMMIT` and `ROLLBACK` are taken, because drivers send them unasked; what a
//!   statement between them changed is there at once (a notice says so). After an error a block takes nothing but its end, as
//!   in PostgreSQL. An end that would have to take changes back (`ROLLBACK`, or `COMMIT` after an error) is an error that says
//!   what stays. Savepoints and isolation levels above READ COMMITTED are refused. A block that is `READ ONLY` is, also when it is
//!   set so after its beginning.
//! - **One session per connection**: what is SET holds until it ends. What PostgreSQL has and we have one value of (`settings`)
//!   can be SET to this value only.
//! - **Types**: exact NUMERIC up to 76 digits; unsigned integers as the next larger type; structs, maps and lists of these as
//!   JSON; nanoseconds are cut to microseconds. Times are UTC. Text and binary form of all of them (`encode`).
//! - **Errors** carry the SQLSTATE of `server/error.rs`, and the place in the statement where it is known.
//! - **Results stream**; a portal with a row limit keeps its query open until it is closed, `Sync` outside a block, or the
//!   time limit, and passes the gate for every part. A client that leaves, and `CancelRequest`, end the statement and free its memory.
//! - `COPY … FROM STDIN`, `LISTEN`, cursors in SQL, functions calls of protocol 2 and replication are refused.
//!
//! Not here: what SQL means (`query`), who may do what (`auth`, `gate`).

mod block;
mod cancels;
mod complaint;
mod connection;
mod dialogue;
mod encode;
mod inbox;
mod interval;
mod kept;
mod numeric;
mod opening;
mod outbox;
mod own;
mod parameters;
mod prepared;
mod rows;
mod script;
mod settings;
mod shape;
mod tag;
mod values;

use std::sync::Arc;

use tokio::net::TcpListener;

use super::{Gate, PgwireConfig, Tls};
use crate::base::Tasks;
use crate::query::Engine;

/// The one database.
const DATABASE: &str = "adlake";
/// The version of PostgreSQL whose catalog and grammar clients may expect.
const SERVER_VERSION: &str = "15.0";

/// What the port works with.
#[derive(Clone)]
pub struct PgwireParts {
    pub engine: Engine,
    pub gate: Gate,
    pub config: PgwireConfig,
    pub tasks: Tasks,
    /// `None` = plain text.
    pub tls: Option<Arc<Tls>>,
}

/// Serves until `tasks` stops: takes no more connections, lets running statements end, returns.
pub async fn serve(parts: PgwireParts, listener: TcpListener) {
    connection::run(parts, listener).await;
}
