//! The simple protocol: a text of statements, run one after another until one fails. Each is its own transaction.

use std::io;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pgwire::messages::PgWireBackendMessage;

use super::block::Ended;
use super::complaint::{Complaint, Severity};
use super::dialogue::Dialogue;
use super::encode::Columns;
use super::own::{Own, own};
use super::rows::{Rows, Sent, Trouble};
use super::settings::REPORTED;
use super::tag;
use crate::catalog::parse_script;
use crate::query::{Outcome, Request};

impl Dialogue {
    /// Answers `Query`.
    ///
    /// # Errors
    /// A client that is gone.
    pub async fn script(&mut self, text: &str) -> io::Result<()> {
        self.statements.remove("");
        self.portals.remove("");
        let read = self.parts.engine.check_length(text).and_then(|()| Ok(parse_script(text)?));
        let statements = match read {
            Ok(statements) => statements,
            Err(error) => {
                self.complain(&Complaint::from(&error), Some(text))?;
                return self.ready().await;
            }
        };
        if statements.is_empty() {
            self.empty()?;
        }
        for (_, sql) in &statements {
            match self.one(sql).await {
                Ok(()) => self.outbox.flush_some().await?,
                Err(Trouble::Told(complaint)) => {
                    // Places are counted in the whole text.
                    let place = (statements.len() == 1 && text.starts_with(sql.as_str())).then_some(sql.as_str());
                    self.complain(&complaint, place)?;
                    break;
                }
                Err(Trouble::Lost(error)) => return Err(error),
            }
        }
        self.ready().await
    }

    async fn one(&mut self, sql: &str) -> Result<(), Trouble> {
        if let Some(own) = self.own(sql)? {
            if let Some(schema) = shown_schema(&own) {
                let columns = Columns::new(&schema, &[])?;
                self.outbox.put(PgWireBackendMessage::RowDescription(columns.description()))?;
                return self.show(&own, &columns);
            }
            return self.answer_own(own).await;
        }
        self.check_block(sql)?;
        let request = Request::new(self.translated(sql), &self.session);
        let (answer, cancel) = self.execute(request).await?;
        match answer.outcome {
            Outcome::Rows(stream) => {
                let columns = Columns::new(&answer.schema, &[])?;
                self.outbox.put(PgWireBackendMessage::RowDescription(columns.description()))?;
                let mut rows = Rows::new(stream, columns, cancel);
                if let Sent::All(count) = rows.send(&mut self.outbox, None).await? {
                    self.complete(tag::selected(count))?;
                }
            }
            Outcome::Done { rows, message } => {
                self.done(sql)?;
                if let Some(details) = &answer.details {
                    let columns = Columns::new(&details.schema(), &[])?;
                    self.outbox.put(PgWireBackendMessage::RowDescription(columns.description()))?;
                    self.put_rows(&columns, details)?;
                }
                self.tell(sql, &message)?;
                self.complete(tag::done(sql, rows))?;
            }
        }
        Ok(())
    }

    /// What the statement asks of the connection, if it does and the connection knows of it.
    pub fn own(&self, sql: &str) -> Result<Option<Own>, Complaint> {
        let own = own(sql)?;
        Ok(own.filter(|own| match own {
            Own::Show(name) | Own::Reset(Some(name)) => self.settings.show(name).is_some(),
            Own::Set { name, is_local, .. } => *is_local || self.settings.show(name).is_some(),
            Own::Begin { .. }
            | Own::Commit
            | Own::Rollback
            | Own::Deallocate(_)
            | Own::DiscardAll
            | Own::Nothing(_)
            | Own::SetReadOnly(_)
            | Own::SetTransaction(_)
            | Own::Reset(None) => true,
        }))
    }

    /// Does what a statement asks of the connection; one that shows something is `show`'s.
    pub async fn answer_own(&mut self, own: Own) -> Result<(), Trouble> {
        if !matches!(own, Own::Commit | Own::Rollback) {
            self.check_block("")?;
        }
        let tag = match own {
            Own::Begin { read_only } => {
                if !self.block.begin(read_only.unwrap_or(self.settings.read_only)) {
                    self.outbox.put_notice(Severity::Warning, "25001", "a transaction is in progress already")?;
                }
                "BEGIN"
            }
            Own::Commit => {
                let ended = self.block.commit();
                self.end_block(ended, "COMMIT")?
            }
            Own::Rollback => {
                let ended = self.block.roll_back();
                self.end_block(ended, "ROLLBACK")?
            }
            Own::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Own::Deallocate(Some(name)) => {
                let missing = || Complaint::new("26000", format!("prepared statement \"{name}\" does not exist"));
                self.statements.remove(&name).ok_or_else(missing)?;
                "DEALLOCATE"
            }
            Own::DiscardAll => {
                self.statements.clear();
                self.portals.clear();
                self.reset_all()?;
                "DISCARD ALL"
            }
            Own::Nothing(tag) => tag,
            Own::SetReadOnly(read_only) => {
                self.settings.read_only = read_only.unwrap_or(self.settings.read_only);
                self.report("default_transaction_read_only")?;
                "SET"
            }
            Own::SetTransaction(read_only) => {
                self.set_transaction(read_only)?;
                "SET"
            }
            Own::Set { name, value, .. } => {
                let local = || Complaint::unsupported("SET LOCAL is not supported for this setting; use SET");
                self.settings.set(&name, &value).ok_or_else(local)??;
                self.report_if_told(&name)?;
                "SET"
            }
            Own::Reset(None) => {
                self.reset_all()?;
                "RESET"
            }
            Own::Reset(Some(name)) => {
                self.settings.reset(&name);
                self.report_if_told(&name)?;
                "RESET"
            }
            Own::Show(_) => "SHOW",
        };
        self.complete(tag.to_owned())?;
        Ok(())
    }

    /// Sends what `SHOW` asks for.
    pub fn show(&mut self, own: &Own, columns: &Columns) -> Result<(), Trouble> {
        self.check_block("")?;
        if let (Own::Show(name), Some(schema)) = (own, shown_schema(own)) {
            let value = StringArray::from(vec![self.shown(name)]);
            let row = RecordBatch::try_new(schema, vec![Arc::new(value)]);
            self.put_rows(columns, &row.map_err(|error| Complaint::new("XX000", error.to_string()))?)?;
        }
        self.complete("SHOW".to_owned())?;
        Ok(())
    }

    fn end_block(&mut self, ended: Result<Ended, Complaint>, tag: &'static str) -> Result<&'static str, Trouble> {
        self.portals.clear();
        match ended? {
            Ended::AsAsked => Ok(tag),
            Ended::RolledBack => Ok("ROLLBACK"),
            Ended::NoBlock => {
                self.outbox.put_notice(Severity::Warning, "25P01", "there is no transaction in progress")?;
                Ok(tag)
            }
        }
    }

    fn set_transaction(&mut self, read_only: Option<bool>) -> io::Result<()> {
        match self.block.set_read_only(read_only) {
            true => Ok(()),
            false => {
                let message = "SET TRANSACTION is about a block, and there is none: nothing is set";
                self.outbox.put_notice(Severity::Warning, "25P01", message)
            }
        }
    }

    fn reset_all(&mut self) -> io::Result<()> {
        self.settings = super::settings::Settings::default();
        self.session.settings().keys().for_each(|key| self.session.reset(key));
        REPORTED.iter().try_for_each(|name| self.report(name))
    }

    fn report_if_told(&mut self, name: &str) -> io::Result<()> {
        let name = name.to_ascii_lowercase();
        match REPORTED.contains(&name.as_str()) {
            true => self.report(&name),
            false => Ok(()),
        }
    }

    /// Rows that are there already.
    pub fn put_rows(&mut self, columns: &Columns, rows: &RecordBatch) -> Result<(), Complaint> {
        let laid_out = columns.laid_out(rows)?;
        columns.put_rows(&laid_out, 0..rows.num_rows(), self.outbox.buffer(), usize::MAX)?;
        Ok(())
    }

    /// What a statement has to say for people, where its tag does not.
    pub fn tell(&mut self, sql: &str, message: &str) -> io::Result<()> {
        let first = super::own::first_words(sql).into_iter().next().unwrap_or_default();
        match matches!(first.as_str(), "INSERT" | "DELETE" | "SET" | "RESET") || message.is_empty() {
            true => Ok(()),
            false => self.outbox.put_notice(Severity::Notice, "00000", message),
        }
    }
}

/// The column of `SHOW`, called as the setting is.
pub(super) fn shown_schema(own: &Own) -> Option<SchemaRef> {
    match own {
        Own::Show(name) => Some(Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, true)]))),
        _ => None,
    }
}
