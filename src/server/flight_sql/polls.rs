//! `PollFlightInfo`: a call that may take long is asked about again and again, instead of waited for.
//!
//! ```text
//! a command ────────► GetFlightInfo in a task of its own ─┐
//! a poll's descriptor ────────────────────────────────────┴─► done in time? ─ yes ─► its FlightInfo, progress 1, no descriptor
//!                                                                 └ no ─► no endpoints yet, the descriptor to ask with
//! ```
//! Long is what changes something (INSERT … SELECT, COPY, REFRESH): it takes effect in `GetFlightInfo`. A query is complete when
//! it is planned, for its rows are computed while `DoGet` reads them. How far a statement is cannot be told, so progress is not.
//!
//! - The first answer comes within [`FIRST_WAIT`], the next ones when there is news, or after [`LONGEST_WAIT`].
//! - A first call that is dropped before it is answered cancels its statement; a later one cancels nothing, for another may ask.
//!   `CancelFlightInfo` with a poll's `FlightInfo` cancels, and so does not asking: a descriptor is good until its
//!   `expiration_time`, `flight.session_idle` after it was last used.
//! - What is complete is told again to who asks again. A descriptor is its maker's; to any other caller it is unknown.

use super::error::{cancelled, internal, status};
use super::kept::{Keeping, Kept};
use crate::auth::Identity;
use crate::base::{Clock, Kind, Span, Tasks, Timestamp};
use arrow_flight::{CancelStatus, FlightDescriptor, FlightInfo, PollInfo};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

/// How long the first call waits: most statements need no second one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How long further calls wait for news; shorter than proxies let a call be silent.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Polled statements kept at once; further ones are refused until some have expired.
const POLLS_MAX: usize = 1_000;
/// Begins the command of every descriptor made here; no protobuf message begins so.
const PREFIX: &str = "adlake-poll-";

type Outcome = Result<FlightInfo, Status>;

/// All statements that are asked about.
pub(super) struct Polls(Kept<Polled>);

struct Polled {
    /// `None` while it runs.
    outcome: watch::Receiver<Option<Outcome>>,
    /// Dropped when it is no longer kept, and with it the statement cancelled.
    cancel: Option<DropGuard>,
}

/// The poll a descriptor of ours asks about.
pub(super) fn id_of(descriptor: &FlightDescriptor) -> Option<&str> {
    std::str::from_utf8(&descriptor.cmd).ok()?.strip_prefix(PREFIX)
}

impl Polls {
    pub fn new(idle: Span, clock: Clock) -> Self {
        let gauge = ("flight_polls", "statements kept for who polls them");
        Self(Kept::new(Keeping { most: POLLS_MAX, idle, gauge }, clock))
    }

    /// Starts `work` for `owner` and tells how it stands soon after. Who leaves before being told has nothing to ask with: then it
    /// ends with the call, as it does when it is complete.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`: too many are kept; the statement's own.
    pub async fn begin<F>(&self, owner: &Option<Identity>, work: F, tasks: &Tasks) -> Result<PollInfo, Status>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let id = self.start(owner.clone(), work, tasks)?;
        let mut untold = Untold { polls: self, id: Some(id.clone()) };
        let told = self.ask(&id, owner, FIRST_WAIT).await;
        if told.as_ref().is_ok_and(|told| told.flight_descriptor.is_some()) {
            untold.id = None;
        }
        told
    }

    /// Returns the id to ask with.
    fn start<F>(&self, owner: Option<Identity>, work: F, tasks: &Tasks) -> Result<String, Status>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let id = uuid::Uuid::new_v4().to_string();
        let (sender, outcome) = watch::channel(None);
        let (cancel, stop) = (CancellationToken::new(), tasks.stop_signal());
        let polled = Polled { outcome, cancel: Some(cancel.clone().drop_guard()) };
        if !self.0.add(&id, owner, polled) {
            let message = format!("{POLLS_MAX} statements are polled already; try again later, or call GetFlightInfo");
            return Err(status(Kind::ResourceExhausted, message));
        }
        tasks.spawn("flight poll", async move {
            let outcome = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(cancelled()),
                () = stop.cancelled() => Err(cancelled()),
                outcome = work => outcome,
            };
            sender.send_replace(Some(outcome));
        });
        Ok(id)
    }

    /// What there is to tell of a statement, at the latest after `longest`.
    ///
    /// # Errors
    /// The statement's own; `NOT_FOUND` when there is none of this id and owner.
    pub async fn ask(&self, id: &str, owner: &Option<Identity>, longest: Duration) -> Result<PollInfo, Status> {
        let asked = self.0.with(id, owner, |polled| polled.outcome.clone());
        let (mut outcome, expires_at) = asked.ok_or_else(unknown)?;
        match tokio::time::timeout(longest, outcome.wait_for(Option::is_some)).await {
            Err(_elapsed) => Ok(pending(id, expires_at)),
            Ok(Err(_died)) => Err(internal("the statement died; its effect is unknown")),
            Ok(Ok(done)) => done.clone().map_or_else(|| Ok(pending(id, expires_at)), |outcome| outcome.map(complete)),
        }
    }

    /// Tells a statement to stop; whoever asks after it is told that it was cancelled.
    ///
    /// # Errors
    /// `NOT_FOUND`, as [`Self::ask`].
    pub fn cancel(&self, id: &str, owner: &Option<Identity>) -> Result<CancelStatus, Status> {
        let told = self.0.with(id, owner, |polled| {
            if polled.outcome.borrow().is_some() {
                return CancelStatus::NotCancellable;
            }
            drop(polled.cancel.take());
            CancelStatus::Cancelling
        });
        told.map(|(told, _)| told).ok_or_else(unknown)
    }
}

/// A statement that nobody can ask about; dropped, it is forgotten.
struct Untold<'a> {
    polls: &'a Polls,
    /// `None`: its descriptor was told.
    id: Option<String>,
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.polls.0.remove(&id);
        }
    }
}

fn unknown() -> Status {
    status(Kind::NotFound, "no statement is polled by this descriptor here (any more); run it again")
}

fn complete(info: FlightInfo) -> PollInfo {
    PollInfo { info: Some(info), flight_descriptor: None, progress: Some(1.0), expiration_time: None }
}

/// Nothing yet, and what to ask with.
fn pending(id: &str, expires_at: Timestamp) -> PollInfo {
    let again = FlightDescriptor::new_cmd(format!("{PREFIX}{id}"));
    let info = FlightInfo::new().with_descriptor(again.clone());
    let mut told = PollInfo { info: Some(info), flight_descriptor: Some(again), progress: None, expiration_time: None };
    let time = told.expiration_time.get_or_insert_default();
    time.seconds = expires_at.micros().div_euclid(1_000_000);
    time.nanos = i32::try_from(expires_at.micros().rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    const NOW: Duration = Duration::ZERO;

    fn polls() -> (Polls, Clock, Tasks) {
        let clock = Clock::manual(Timestamp(5_000_000));
        (Polls::new(Span::from_secs(60), clock.clone()), clock, Tasks::new())
    }

    fn ann() -> Option<Identity> {
        Some(Identity::of_user("ann"))
    }

    #[tokio::test]
    async fn it_is_pending_until_it_is_complete_and_then_told_as_often_as_asked() {
        let (polls, _, tasks) = polls();
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            finished.await.unwrap();
            Ok(FlightInfo::new().with_total_records(7))
        };
        let id = polls.start(None, work, &tasks).unwrap();
        let told = polls.ask(&id, &None, NOW).await.unwrap();
        assert_eq!(told.flight_descriptor.as_ref().and_then(id_of), Some(id.as_str()));
        assert_eq!((told.progress, told.expiration_time.unwrap().seconds), (None, 65));
        assert!(told.info.unwrap().endpoint.is_empty());
        finish.send(()).unwrap();
        for _ in 0..2 {
            let told = polls.ask(&id, &None, LONGEST_WAIT).await.unwrap();
            assert_eq!((told.flight_descriptor, told.progress), (None, Some(1.0)));
            assert_eq!(told.info.unwrap().total_records, 7);
        }
        assert_eq!(polls.cancel(&id, &None).unwrap(), CancelStatus::NotCancellable);
    }

    #[tokio::test]
    async fn what_is_told_at_once_is_not_kept_and_what_nobody_was_told_of_ends() {
        let (polls, _, tasks) = polls();
        let told = polls.begin(&None, async { Ok(FlightInfo::new()) }, &tasks).await.unwrap();
        assert_eq!((told.flight_descriptor, told.progress), (None, Some(1.0)));
        assert_eq!(polls.0.count(), 0);
        let (dropped, ended) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            let _held = dropped;
            std::future::pending::<Outcome>().await
        };
        {
            let call = polls.begin(&None, work, &tasks);
            tokio::pin!(call);
            assert!(futures::poll!(&mut call).is_pending());
        }
        assert_eq!(polls.0.count(), 0);
        assert!(ended.await.is_err(), "the statement was dropped");
    }

    #[tokio::test]
    async fn cancelling_and_not_asking_end_it() {
        let (polls, clock, tasks) = polls();
        let never = std::future::pending::<Outcome>;
        let id = polls.start(ann(), never(), &tasks).unwrap();
        assert_eq!(polls.cancel(&id, &None).unwrap_err().code(), Code::NotFound, "it is ann's");
        assert_eq!(polls.cancel(&id, &ann()).unwrap(), CancelStatus::Cancelling);
        assert_eq!(polls.ask(&id, &ann(), LONGEST_WAIT).await.unwrap_err().code(), Code::Cancelled);

        let (dropped, ended) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            let _held = dropped;
            never().await
        };
        let id = polls.start(ann(), work, &tasks).unwrap();
        clock.advance(Duration::from_secs(50));
        assert!(polls.ask(&id, &ann(), NOW).await.is_ok(), "asking keeps it");
        clock.advance(Duration::from_secs(50));
        assert_eq!(polls.ask(&id, &None, NOW).await.unwrap_err().code(), Code::NotFound, "it is ann's");
        clock.advance(Duration::from_secs(60));
        assert_eq!(polls.ask(&id, &ann(), NOW).await.unwrap_err().code(), Code::NotFound);
        assert!(ended.await.is_err(), "the statement was dropped");
    }

    #[test]
    fn commands_are_no_polls() {
        assert_eq!(id_of(&FlightDescriptor::new_cmd("adlake-poll-7")), Some("7"));
        assert_eq!(id_of(&FlightDescriptor::new_cmd(vec![10_u8, 255])), None);
        assert_eq!(id_of(&FlightDescriptor::default()), None);
    }
}
