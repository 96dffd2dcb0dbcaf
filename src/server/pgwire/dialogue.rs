//! One connection's messages, answered one after another.
//!
//! ```text
//! reading ahead (bounded by pgwire.max_message_size) ─► message ─┬─ Query ─► script ──┐
//!      └ the client has left ─► its statement is cancelled       ├─ Parse … Execute ──┴─► outbox
//!                                                                └─ Sync, Terminate
//! ```
//! After an error of the extended protocol everything up to `Sync` is passed over; a block that an error ended takes nothing
//! but its end (`block`).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::PgwireParts;
use super::block::Block;
use super::cancels::Cancellable;
use super::complaint::Complaint;
use super::inbox::{Broken, Inbox};
use super::kept::Kept;
use super::opening::{self, Opened};
use super::outbox::Outbox;
use super::own::changes;
use super::prepared::{Portal, Statement};
use super::rows::Trouble;
use super::settings::{REPORTED, Settings, TRANSACTION_READ_ONLY, on_or_off, spelled};
use crate::query::{Answer, Request, Session, postgres_compatible};
use crate::server::error::Fault;
use crate::server::gate::Caller;
use crate::server::wire::Wire;

/// How long a client has for the rest of a sequence of messages when the server stops.
const ASKS_WITHIN: Duration = Duration::from_secs(2);
/// Messages read before they are answered.
const MESSAGES_AHEAD: usize = 64;

/// A message, and its part of what may wait.
type Arrived = Result<(PgWireFrontendMessage, OwnedSemaphorePermit), Complaint>;

/// What one connection carries from message to message.
pub(super) struct Dialogue {
    pub parts: PgwireParts,
    pub session: Arc<Session>,
    pub settings: Settings,
    pub block: Block,
    pub outbox: Outbox<WriteHalf<Wire>>,
    pub statements: HashMap<String, Arc<Statement>>,
    pub portals: HashMap<String, Portal>,
    /// Room for statements and portals.
    pub kept: Kept,
    caller: Caller,
    cancellable: Cancellable,
    /// The client has left.
    gone: CancellationToken,
    /// Passing over messages until `Sync`.
    skips: bool,
    /// Inside a sequence that ends with `Sync`.
    in_sequence: bool,
}

/// Whether there is more to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Message,
    End,
}

/// Until the client or the server ends it.
pub(super) async fn run(parts: PgwireParts, opened: Opened) {
    let Opened { wire, caller, session, settings, to_set, cancellable } = opened;
    let bytes_max = parts.config.max_message_size.as_usize();
    let (reader, writer) = tokio::io::split(wire);
    let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
    let gone = CancellationToken::new();
    let mut dialogue = Dialogue {
        outbox: Outbox::new(writer, parts.config.idle_timeout.duration()),
        parts,
        session,
        settings,
        block: Block::default(),
        statements: HashMap::new(),
        portals: HashMap::new(),
        kept: Kept::new(bytes_max),
        caller,
        cancellable,
        gone: gone.clone(),
        skips: false,
        in_sequence: false,
    };
    let reading = async {
        read_ahead(Inbox::new(reader, bytes_max), bytes_max, sender).await;
        gone.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = reading => {}
        () = Box::pin(dialogue.talk(receiver, to_set)) => {}
    }
    dialogue.outbox.close().await;
}

/// Reads while statements run, so that a client that leaves is noticed.
async fn read_ahead(mut inbox: Inbox<ReadHalf<Wire>>, bytes_max: usize, sender: mpsc::Sender<Arrived>) {
    let permits = bytes_max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let room = Arc::new(Semaphore::new(permits));
    loop {
        let arrived = match inbox.next().await {
            Ok(Some((message, size))) => {
                let share = u32::try_from(size.min(permits)).unwrap_or(u32::MAX);
                let Ok(permit) = room.clone().acquire_many_owned(share).await else { return };
                Ok((message, permit))
            }
            Ok(None) | Err(Broken::Io(_)) => return,
            Err(Broken::Malformed(message)) => Err(Complaint::fatal("08P01", message)),
        };
        let is_last = arrived.is_err();
        if sender.send(arrived).await.is_err() || is_last {
            return;
        }
    }
}

impl Dialogue {
    async fn talk(&mut self, mut receiver: mpsc::Receiver<Arrived>, to_set: Vec<(String, String)>) {
        let ended = match self.greet(to_set).await {
            Ok(()) => self.answer_all(&mut receiver).await,
            Err(Trouble::Told(complaint)) => self.fail(complaint.fatally()),
            Err(Trouble::Lost(error)) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    /// Settings that came with the connection, then what every client is told.
    async fn greet(&mut self, to_set: Vec<(String, String)>) -> Result<(), Trouble> {
        for (name, value) in to_set {
            let sql = format!("SET {name} = '{}'", value.replace('\'', "''"));
            self.execute(Request::new(sql, &self.session)).await?;
        }
        let [ok, key] = opening::welcome(&self.cancellable);
        self.outbox.put(ok)?;
        for name in REPORTED {
            self.report(name)?;
        }
        self.outbox.put(key)?;
        self.ready().await?;
        Ok(())
    }

    async fn answer_all(&mut self, receiver: &mut mpsc::Receiver<Arrived>) -> io::Result<()> {
        let stop = self.parts.tasks.stop_signal();
        let idle: Duration = self.parts.config.idle_timeout.duration();
        loop {
            let stopping = async {
                stop.cancelled().await;
                // An answer is owed; a client that does not ask for it is not waited for.
                if self.in_sequence {
                    tokio::time::sleep(ASKS_WITHIN).await;
                }
            };
            let arrived = tokio::select! {
                biased;
                () = stopping => return self.fail(Complaint::fatal("57P01", "the server is stopping")),
                arrived = receiver.recv() => arrived,
                () = tokio::time::sleep(idle) => {
                    return self.fail(Complaint::fatal("57P05", "nothing was said for too long (pgwire.idle_timeout)"));
                }
            };
            match arrived {
                None => return Ok(()),
                Some(Err(complaint)) => return self.fail(complaint),
                // The permit is given back when the message is answered.
                Some(Ok((message, _permit))) => {
                    if self.answer(message).await? == Next::End {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn answer(&mut self, message: PgWireFrontendMessage) -> io::Result<Next> {
        match message {
            PgWireFrontendMessage::Terminate(_) => return Ok(Next::End),
            PgWireFrontendMessage::Sync(_) => {
                (self.skips, self.in_sequence) = (false, false);
                self.ready().await?;
            }
            // Also after an error: who asks waits for it, and sends `Sync` only then.
            PgWireFrontendMessage::Flush(_) => self.outbox.flush().await?,
            _ if self.skips => {}
            PgWireFrontendMessage::Query(query) => self.script(&query.query).await?,
            // What comes after a COPY was refused.
            PgWireFrontendMessage::CopyData(_)
            | PgWireFrontendMessage::CopyDone(_)
            | PgWireFrontendMessage::CopyFail(_) => {}
            message if message.is_extended_query() => {
                self.in_sequence = true;
                match self.extended(message).await {
                    Ok(()) => {}
                    Err(Trouble::Told(complaint)) => {
                        self.skips = true;
                        self.complain(&complaint, None)?;
                        self.outbox.flush().await?;
                    }
                    Err(Trouble::Lost(error)) => return Err(error),
                }
            }
            _ => {
                self.fail(Complaint::fatal("08P01", "this message does not belong here"))?;
                return Ok(Next::End);
            }
        }
        // A client that only ever sends is answered all the same.
        self.outbox.flush_some().await?;
        Ok(Next::Message)
    }

    /// Lets the caller call once more.
    ///
    /// # Errors
    /// They are no more, or have called too often.
    pub fn admit(&self) -> Result<(), Complaint> {
        let entered = self.parts.gate.enter_again(&self.caller, self.session.address);
        entered.map_err(|error| Complaint::from(Fault::from(&error)))
    }

    /// Runs a statement, if the caller may still call; the token that ends it is kept for `CancelRequest`.
    pub async fn execute(&mut self, request: Request) -> Result<(Answer, CancellationToken), Complaint> {
        self.admit()?;
        let cancel = self.gone.child_token();
        self.cancellable.runs(cancel.clone());
        let request = Request { cancel: cancel.clone(), ..request };
        let answer = Box::pin(self.parts.engine.execute(request)).await;
        Ok((answer.map_err(|error| Complaint::from(&error))?, cancel))
    }

    /// The rows of `cancel`'s statement are fetched from now on.
    pub fn resumes(&self, cancel: &CancellationToken) {
        self.cancellable.runs(cancel.clone());
    }

    /// # Errors
    /// What the block that is open does not take.
    pub fn check_block(&self, sql: &str) -> Result<(), Complaint> {
        self.block.check(sql, self.settings.read_only)
    }

    /// After a statement that gave no rows: whether it changed something counts for its block.
    pub fn done(&mut self, sql: &str) -> io::Result<()> {
        match changes(sql) && self.block.changed() {
            true => self.outbox.put_notice(super::complaint::Severity::Warning, "0A000", super::block::COMMITTED),
            false => Ok(()),
        }
    }

    /// Tells an error and ends the block in it, with its portals.
    pub fn complain(&mut self, complaint: &Complaint, sql: Option<&str>) -> io::Result<()> {
        if self.block.failed() {
            self.portals.clear();
        }
        self.outbox.put(PgWireBackendMessage::ErrorResponse(complaint.message(sql)))
    }

    /// Tells the last error of the connection.
    fn fail(&mut self, complaint: Complaint) -> io::Result<()> {
        self.outbox.put(PgWireBackendMessage::ErrorResponse(complaint.message(None)))
    }

    pub fn complete(&mut self, tag: String) -> io::Result<()> {
        self.outbox.put(PgWireBackendMessage::CommandComplete(CommandComplete::new(tag)))
    }

    pub fn empty(&mut self) -> io::Result<()> {
        self.outbox.put(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
    }

    /// Tells that the next statement may come; outside a block no portal outlives the last one.
    pub async fn ready(&mut self) -> io::Result<()> {
        if !self.block.is_open() {
            self.portals.clear();
        }
        let status = self.block.status();
        self.outbox.put(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status)))?;
        self.outbox.flush().await
    }

    /// Tells the value of a setting.
    pub fn report(&mut self, name: &str) -> io::Result<()> {
        let value = self.settings.show(name).unwrap_or_default();
        self.outbox.put_parameter(spelled(name), &value)
    }

    /// The value of a setting, as it is at this moment; `None`: not one of the connection's.
    pub fn shown(&self, name: &str) -> Option<String> {
        match self.block.read_only() {
            Some(read_only) if name.eq_ignore_ascii_case(TRANSACTION_READ_ONLY) => Some(on_or_off(read_only)),
            _ => self.settings.show(name),
        }
    }

    /// The statement as the engine understands it.
    pub fn translated(&self, sql: &str) -> String {
        let setting = |name: &str| self.shown(name);
        postgres_compatible(sql, &self.session.user, &setting).unwrap_or_else(|| sql.to_owned())
    }
}
