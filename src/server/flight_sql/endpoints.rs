//! Large results by several endpoints, which a client fetches at once: `SET adlake.result_endpoints = n`.
//!
//! ```text
//! GetFlightInfo ─► n tickets ─┬─► DoGet ─┐
//!                             ├─► DoGet ─┼─► one run of the query: who is ready takes the next batch, encodes and sends it
//!                             └─► DoGet ─┘
//! ```
//! The first `DoGet` runs the query; until then nothing is held but its text. It is one statement: one row of `system.queries`, one
//! turn, one time limit, one sum of rows and bytes; `KILL QUERY` and `CancelFlightInfo` end it for all endpoints.
//!
//! - **Every row comes by one endpoint, once.** Which one is chance, so only rows that nobody asked an order of are divided, and only
//!   where they may be many (`Prepared::is_divisible`). All other results have one endpoint, whose ticket holds the query.
//! - **No endpoint waits for another.** One that is not read takes nothing beyond the few messages that wait for the network. Who
//!   fetches them one after another gets all rows by the first, and none by the others. (Streams that are open and not read may use
//!   up the flow-control window of a connection; that is between its client and HTTP/2.)
//! - **A result that fails or is given up does so for all endpoints.** A client that leaves before the end of one takes rows with it
//!   that no other can bring, so the query ends, and the others end in an error, never as if they were complete.
//! - **An endpoint is fetched once**, by the caller who asked for the query, from this process, until `flight.session_idle` after the
//!   last use of any of them. Any other ticket is unknown here; then the query is to be run again. A fetch runs with the settings of the
//!   session that called `GetFlightInfo`; how its batches are compressed is its own call's or session's matter.

use super::error::{cancelled, from_stream, status};
use super::kept::{Keeping, Kept};
use super::outgoing::{Outgoing, Parts};
use super::parameters::Rows;
use super::running::{Run, Running};
use super::service::Service;
use super::statements::{described, rows_of};
use super::ticket::{StatementTicket, from_ipc};
use crate::auth::Identity;
use crate::base::{Clock, Kind, Span};
use crate::query::{IpcCompression, ResultEndpoints, Session};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};
use tonic::Status;

/// Divided results kept at once; those beyond have one endpoint.
const DIVIDED_MAX: usize = 1_000;
/// Longest text, parameters and schema of one; those that are longer have one endpoint.
const TICKET_BYTES_MAX: usize = 64 << 10;

/// All divided results that have endpoints nobody has fetched. Cheap to clone.
#[derive(Clone)]
pub(super) struct Endpoints(Arc<Kept<Offered>>);

struct Offered {
    /// Endpoints nobody has fetched.
    left: BTreeSet<u32>,
    divided: Arc<Divided>,
}

/// One result of several endpoints.
struct Divided {
    /// Of all its rows.
    ticket: StatementTicket,
    /// Who asked for it, with their settings.
    session: Arc<Session>,
    /// Of the query; a fetch has one of its own, by the same id.
    run: Run,
    begun: OnceCell<Result<Arc<Begun>, Status>>,
}

/// Its query, running or ended.
struct Begun {
    /// As promised by `FlightInfo`.
    schema: SchemaRef,
    /// As in the first message of any result.
    app_metadata: Bytes,
    /// Whoever waits for the next batch has it; the others wait in line.
    source: Mutex<Source>,
}

enum Source {
    Rows(SendableRecordBatchStream),
    Ended,
    Failed(Status),
}

/// One endpoint being fetched. Dropped before the result has ended, it gives that up.
struct Fetch {
    divided: Arc<Divided>,
    endpoints: Endpoints,
    /// The result has come to its end or to an error, which every other fetch finds for itself.
    has_ended: bool,
}

impl Endpoints {
    pub fn new(idle: Span, clock: Clock) -> Self {
        let gauge = ("flight_divided_results", "results of several endpoints, of which some were not fetched");
        Self(Arc::new(Kept::new(Keeping { most: DIVIDED_MAX, idle, gauge }, clock)))
    }

    /// The tickets of the endpoints of a result, whose only ticket is `whole` where it has one. Runs nothing.
    pub fn divide(
        &self,
        whole: StatementTicket,
        wanted: ResultEndpoints,
        session: &Arc<Session>,
        running: &Arc<Running>,
    ) -> Vec<StatementTicket> {
        let id = whole.id.clone();
        if wanted.count() == 1 || whole.encoded_len() > TICKET_BYTES_MAX {
            return vec![whole];
        }
        let Some(run) = running.start(&id) else { return vec![whole] };
        let divided = Divided { ticket: whole.clone(), session: session.clone(), run, begun: OnceCell::new() };
        let offered = Offered { left: (0..wanted.count()).collect(), divided: Arc::new(divided) };
        if !self.0.add(&id, session.caller.clone(), offered) {
            return vec![whole];
        }
        let ticket =
            |endpoint| StatementTicket { id: id.clone(), endpoint: Some(endpoint), ..StatementTicket::default() };
        (0..wanted.count()).map(ticket).collect()
    }

    /// Begins to fetch an endpoint; nobody else can.
    ///
    /// # Errors
    /// `NOT_FOUND`: it is not there (any more), or not `owner`'s.
    fn fetch(&self, id: &str, endpoint: u32, owner: &Option<Identity>) -> Result<Fetch, Status> {
        let found = self.0.with(id, owner, |offered| {
            let divided = offered.left.remove(&endpoint).then(|| offered.divided.clone());
            (divided, offered.left.is_empty())
        });
        let Some(((Some(divided), was_last), _)) = found else { return Err(unknown()) };
        if was_last {
            self.0.remove(id);
        }
        Ok(Fetch { divided, endpoints: self.clone(), has_ended: false })
    }

    /// Lets nobody fetch what is left of a result.
    pub fn forget(&self, id: &str) {
        self.0.remove(id);
    }
}

fn unknown() -> Status {
    let message = "this endpoint of a result is not here (any more): each is fetched once, by who asked for the query, and none when \
                   another was given up or nobody fetched for long; run the query again";
    status(Kind::NotFound, message)
}

impl Service {
    /// `DoGet` of one endpoint of several.
    pub(super) async fn fetch_endpoint(
        &self,
        (id, endpoint): (&str, u32),
        session: &Session,
        compression: IpcCompression,
    ) -> Result<Parts, Status> {
        let run = self.running().start(id).ok_or_else(cancelled)?;
        let mut fetch = self.endpoints().fetch(id, endpoint, &session.caller)?;
        let divided = fetch.divided.clone();
        let begun = fetch.begun(Box::pin(self.begin(&divided))).await?;
        let (schema, app_metadata) = (begun.schema.clone(), begun.app_metadata.clone());
        let rows: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(schema.clone(), fetch.rows(begun)));
        Ok(Parts::stream(Outgoing { schema, app_metadata, rows, compression, run }, self.tasks()))
    }

    /// Runs the query of a divided result.
    async fn begin(&self, divided: &Divided) -> Result<Begun, Status> {
        let Divided { ticket, session, run, begun: _ } = divided;
        if run.cancel.is_cancelled() {
            return Err(cancelled());
        }
        let (schema, _) = from_ipc(&ticket.result)?;
        let params = Rows::of_ticket(&ticket.parameters)?.params(0)?;
        let answer = self.query(&ticket.sql, params, session, &run.cancel).await?;
        let app_metadata = described(&answer);
        Ok(Begun { schema, app_metadata, source: Mutex::new(Source::Rows(rows_of(answer)?)) })
    }
}

impl Fetch {
    /// The result, begun by `begin` unless another endpoint has begun it; what came of that is told to all.
    async fn begun<F>(&mut self, begin: F) -> Result<Arc<Begun>, Status>
    where
        F: Future<Output = Result<Begun, Status>>,
    {
        let begin = || async move { begin.await.map(Arc::new) };
        let begun = self.divided.begun.get_or_init(begin).await.clone();
        self.has_ended = begun.is_err();
        begun
    }

    /// The rows that come by this endpoint.
    fn rows(self, begun: Arc<Begun>) -> impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static {
        futures::stream::unfold(Some(self), move |fetch| {
            let begun = begun.clone();
            async move {
                let mut fetch = fetch?;
                match fetch.next(&begun).await? {
                    Ok(batch) => Some((Ok(batch), Some(fetch))),
                    Err(status) => Some((Err(DataFusionError::External(status.into())), None)),
                }
            }
        })
    }

    async fn next(&mut self, begun: &Begun) -> Option<Result<RecordBatch, Status>> {
        let next = tokio::select! {
            biased;
            () = self.divided.run.cancel.cancelled() => return Some(Err(cancelled())),
            next = begun.next() => next,
        };
        self.endpoints.0.touch(&self.divided.ticket.id);
        self.has_ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if !self.has_ended {
            // First: who is told of it finds none of the others.
            self.endpoints.forget(&self.divided.ticket.id);
            self.divided.run.cancel.cancel();
        }
    }
}

impl Begun {
    /// The next batch, for whoever asks first. Dropped while it waits, it has taken none.
    async fn next(&self) -> Option<Result<RecordBatch, Status>> {
        let mut source = self.source.lock().await;
        let next = match &mut *source {
            Source::Rows(rows) => rows.next().await,
            Source::Ended => return None,
            Source::Failed(status) => return Some(Err(status.clone())),
        };
        match next {
            Some(Ok(batch)) => Some(Ok(batch)),
            Some(Err(error)) => {
                let status = from_stream(error);
                *source = Source::Failed(status.clone());
                Some(Err(status))
            }
            None => {
                *source = Source::Ended;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::query::{Origin, QueryError};
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use futures::TryStreamExt;
    use futures::stream::BoxStream;
    use std::time::Duration;
    use tonic::Code;

    type Batch = Result<RecordBatch, DataFusionError>;

    fn endpoints() -> (Endpoints, Clock) {
        let clock = Clock::manual(Timestamp(0));
        (Endpoints::new(Span::from_secs(60), clock.clone()), clock)
    }

    fn owner(user: &str) -> Option<Identity> {
        Some(Identity::of_user(user))
    }

    fn divide(endpoints: &Endpoints, sql: &str, count: &str) -> Vec<StatementTicket> {
        let whole = StatementTicket { id: "run".to_owned(), sql: sql.to_owned(), ..StatementTicket::default() };
        let session = Session::of_caller("s", Identity::of_user("ann"), Origin::FlightSql);
        endpoints.divide(whole, ResultEndpoints::read(count).unwrap(), &session, &Arc::default())
    }

    fn batch(number: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![number]));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    fn begun(rows: impl Stream<Item = Batch> + Send + 'static) -> Begun {
        let schema = batch(0).schema();
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows));
        Begun { schema, app_metadata: Bytes::new(), source: Mutex::new(Source::Rows(rows)) }
    }

    fn numbers(until: i64) -> impl Stream<Item = Batch> {
        futures::stream::iter((0..until).map(|number| Ok(batch(number))))
    }

    /// The streams of three endpoints of one result.
    async fn fetched(
        endpoints: &Endpoints,
        rows: impl Stream<Item = Batch> + Send + 'static,
    ) -> Vec<BoxStream<'static, Batch>> {
        let tickets = divide(endpoints, "SELECT 1", "3");
        assert_eq!(tickets.iter().map(|ticket| ticket.endpoint).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
        let mut rows = Some(rows);
        let mut streams = Vec::new();
        for endpoint in 0..3 {
            let mut fetch = endpoints.fetch("run", endpoint, &owner("ann")).unwrap();
            let rows = rows.take();
            let result = fetch.begun(async { Ok(begun(rows.expect("it is begun once"))) }).await.unwrap();
            streams.push(fetch.rows(result).boxed());
        }
        streams
    }

    fn values(batches: &[RecordBatch]) -> Vec<i64> {
        batches.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0)).collect()
    }

    fn code(error: DataFusionError) -> Code {
        from_stream(error).code()
    }

    #[tokio::test]
    async fn every_row_comes_by_one_endpoint() {
        let (endpoints, _) = endpoints();
        let streams = fetched(&endpoints, numbers(100)).await;
        assert_eq!(endpoints.0.count(), 0, "all are being fetched");
        let all = streams.into_iter().map(|stream| stream.try_collect::<Vec<_>>());
        let all: Vec<Vec<RecordBatch>> = futures::future::try_join_all(all).await.unwrap();
        let mut found: Vec<i64> = all.iter().flat_map(|batches| values(batches)).collect();
        found.sort_unstable();
        assert_eq!(found, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn one_after_another_the_first_gets_all() {
        let (endpoints, _) = endpoints();
        let mut found = Vec::new();
        for stream in fetched(&endpoints, numbers(5)).await {
            found.push(values(&stream.try_collect::<Vec<_>>().await.unwrap()));
        }
        assert_eq!(found, [vec![0, 1, 2, 3, 4], vec![], vec![]]);
    }

    #[tokio::test]
    async fn one_given_up_ends_all() {
        let (endpoints, _) = endpoints();
        let mut streams = fetched(&endpoints, numbers(1).chain(futures::stream::pending())).await;
        let (mut first, mut second) = (streams.remove(0), streams.remove(0));
        assert!(first.next().await.unwrap().is_ok());
        assert!(futures::poll!(second.next()).is_pending());
        drop(first);
        assert_eq!(code(second.next().await.unwrap().unwrap_err()), Code::Cancelled);
        assert!(second.next().await.is_none());
        let third = streams.remove(0).next().await.unwrap();
        assert_eq!(code(third.unwrap_err()), Code::Cancelled);
    }

    #[tokio::test]
    async fn an_error_is_told_to_all_who_fetch() {
        let (endpoints, _) = endpoints();
        let too_large = || QueryError::TooLarge { most: "1 row".to_owned() };
        let rows = futures::stream::once(async move { Err(DataFusionError::External(Box::new(too_large()))) });
        for stream in fetched(&endpoints, rows).await {
            let failed = stream.try_collect::<Vec<_>>().await.unwrap_err();
            assert_eq!(code(failed), Code::ResourceExhausted);
        }
    }

    #[tokio::test]
    async fn what_cannot_begin_says_so_to_all_who_fetch() {
        let (endpoints, _) = endpoints();
        divide(&endpoints, "SELECT 1", "2");
        for (endpoint, refusal) in [(0, "the first"), (1, "another")] {
            let mut fetch = endpoints.fetch("run", endpoint, &owner("ann")).unwrap();
            let refused = fetch.begun(async { Err(status(Kind::ResourceExhausted, refusal)) }).await.err().unwrap();
            assert_eq!(refused.message(), "the first");
        }
    }

    #[tokio::test]
    async fn an_endpoint_is_fetched_once_by_its_owner_and_in_time() {
        let (endpoints, clock) = endpoints();
        divide(&endpoints, "SELECT 1", "2");
        let refused = |endpoint: u32, owner: &Option<Identity>| endpoints.fetch("run", endpoint, owner).err().unwrap();
        assert_eq!(refused(0, &owner("bob")).code(), Code::NotFound);
        assert_eq!(refused(2, &owner("ann")).code(), Code::NotFound);
        let mut fetch = endpoints.fetch("run", 0, &owner("ann")).unwrap();
        let again = refused(0, &owner("ann"));
        assert_eq!(again.code(), Code::NotFound);
        assert!(again.message().ends_with("run the query again"), "{}", again.message());
        let result = fetch.begun(async { Ok(begun(numbers(1))) }).await.unwrap();
        let all: Vec<RecordBatch> = fetch.rows(result).try_collect().await.unwrap();
        assert_eq!((values(&all), endpoints.0.count()), (vec![0], 1), "the other may still be fetched");
        clock.advance(Duration::from_secs(60));
        assert_eq!(refused(1, &owner("ann")).code(), Code::NotFound);
    }

    #[tokio::test]
    async fn who_leaves_while_it_begins_gives_it_up() {
        let (endpoints, _) = endpoints();
        divide(&endpoints, "SELECT 1", "2");
        let mut first = endpoints.fetch("run", 0, &owner("ann")).unwrap();
        let second = endpoints.fetch("run", 1, &owner("ann")).unwrap();
        {
            let begin = first.begun(std::future::pending());
            tokio::pin!(begin);
            assert!(futures::poll!(&mut begin).is_pending());
        }
        drop(first);
        assert!(second.divided.run.cancel.is_cancelled());
    }

    #[test]
    fn what_is_not_divided_keeps_its_ticket() {
        let (endpoints, _) = endpoints();
        let long = "x".repeat(TICKET_BYTES_MAX);
        for (sql, count) in [("SELECT 1", "1"), (long.as_str(), "8")] {
            let tickets = divide(&endpoints, sql, count);
            let told: Vec<_> = tickets.iter().map(|ticket| (ticket.sql.as_str(), ticket.endpoint)).collect();
            assert_eq!(told, [(sql, None)]);
        }
        assert_eq!(endpoints.0.count(), 0);
    }
}
