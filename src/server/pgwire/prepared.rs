//! The extended protocol: statements prepared under a name, portals with values, rows in parts.
//!
//! ```text
//! Parse ─► Statement (kind, types of parameters and columns) ─ Bind ─► Portal ─ Execute ─► rows … PortalSuspended ─ Execute ─► the rest
//! ```
//! Types are those of the first planning: neither values of parameters nor a changed table change what `Describe` has said.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::tokenizer::Token;
use pgwire::messages::PgWireBackendMessage::{
    BindComplete as Bound, CloseComplete as Closed, NoData as NoRows, ParameterDescription as Parameters,
    ParseComplete as Parsed, PortalSuspended as Suspended, RowDescription,
};
use pgwire::messages::PgWireFrontendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use tokio::sync::OwnedSemaphorePermit;

use super::complaint::Complaint;
use super::dialogue::Dialogue;
use super::encode::{Columns, format};
use super::own::{Own, first_words};
use super::parameters;
use super::rows::{Rows, Sent, Trouble};
use super::script::shown_schema;
use super::shape::{Scalar, Shape};
use super::tag;
use super::values::Format;
use crate::catalog::tokens;
use crate::query::{Outcome, Params, Prepared, Request, StatementKind};

/// Parameters of a statement: the protocol counts them in two bytes.
const PARAMETERS_MAX: usize = u16::MAX as usize;

/// A prepared statement.
pub(super) struct Statement {
    /// As the client wrote it.
    sql: String,
    work: Work,
    _room: OwnedSemaphorePermit,
}

enum Work {
    /// No statement at all.
    Nothing,
    Own(Own),
    Engine {
        /// In the engine's words, where they are others.
        text: Option<String>,
        prepared: Prepared,
        /// Types of parameters, as the client knows them; the engine's text may do without some.
        oids: Vec<u32>,
    },
}

/// A statement with values, as far as it has run.
pub(super) struct Portal {
    statement: Arc<Statement>,
    values: Vec<ScalarValue>,
    /// `None`: it gives no rows.
    columns: Option<Columns>,
    state: State,
    _room: OwnedSemaphorePermit,
}

enum State {
    Fresh,
    Running(Rows),
    Done,
}

impl Work {
    /// Bytes beside the client's text.
    fn bytes(&self, sql: &str) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Own(_) => sql.len(),
            Self::Engine { text, prepared, oids } => {
                let text = text.as_ref().map_or(0, String::len);
                let columns = prepared.schema.fields().size() + prepared.parameters.fields().size();
                text + columns + size_of_val(oids.as_slice())
            }
        }
    }
}

impl Statement {
    /// Of its rows, if it gives any.
    fn schema(&self) -> Option<SchemaRef> {
        match &self.work {
            Work::Engine { prepared, .. } if prepared.kind == StatementKind::Query => Some(prepared.schema.clone()),
            Work::Own(own) => shown_schema(own),
            Work::Engine { .. } | Work::Nothing => None,
        }
    }

    fn oids(&self) -> &[u32] {
        match &self.work {
            Work::Engine { oids, .. } => oids,
            Work::Own(_) | Work::Nothing => &[],
        }
    }

    /// Parameters that the engine asks for, the first of the client's.
    fn values_max(&self) -> usize {
        match &self.work {
            Work::Engine { prepared, .. } => prepared.parameters.fields().len(),
            Work::Own(_) | Work::Nothing => 0,
        }
    }
}

impl Dialogue {
    /// Answers a message of the extended protocol but `Sync` and `Flush`.
    ///
    /// # Errors
    /// What the client is told; after it everything up to `Sync` is passed over.
    pub async fn extended(&mut self, message: PgWireFrontendMessage) -> Result<(), Trouble> {
        match message {
            PgWireFrontendMessage::Parse(parse) => self.parse(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(&bind),
            PgWireFrontendMessage::Describe(describe) => self.describe(&describe),
            PgWireFrontendMessage::Execute(execute) => self.execute_portal(&execute).await,
            PgWireFrontendMessage::Close(close) => self.close(&close),
            _ => Err(Complaint::protocol("this message does not belong here").into()),
        }
    }

    async fn parse(&mut self, parse: Parse) -> Result<(), Trouble> {
        let name = parse.name.unwrap_or_default();
        if name.is_empty() {
            // The one before goes, whatever becomes of this one.
            self.statements.remove("");
        }
        if self.statements.contains_key(&name) {
            return Err(Complaint::new("42P05", format!("prepared statement \"{name}\" exists already")).into());
        }
        self.check_room(self.statements.len())?;
        self.parts.engine.check_length(&parse.query).map_err(|error| Complaint::from(&error))?;
        let own = self.own(&parse.query)?;
        let work = match own {
            Some(own) => Work::Own(own),
            None if first_words(&parse.query).is_empty() => Work::Nothing,
            None => {
                self.check_block("")?;
                self.plan(&parse.query, &parse.type_oids).await?
            }
        };
        let room = self.kept.take(name.len() + parse.query.len() + work.bytes(&parse.query))?;
        self.statements.insert(name, Arc::new(Statement { sql: parse.query, work, _room: room }));
        self.outbox.put(Parsed(ParseComplete::new()))?;
        Ok(())
    }

    async fn plan(&mut self, sql: &str, given: &[u32]) -> Result<Work, Complaint> {
        self.admit()?;
        let asked = highest_parameter(sql).max(given.len());
        if asked > PARAMETERS_MAX {
            return Err(Complaint::new("54000", format!("a statement has at most {PARAMETERS_MAX} parameters")));
        }
        let text = self.translated(sql);
        let types = given.iter().enumerate().map(|(index, oid)| {
            let data_type = Shape::parameter(*oid)?;
            Some(Arc::new(arrow::datatypes::Field::new(format!("${}", index + 1), data_type, true)))
        });
        let preparing = self.parts.engine.prepare_typed(&text, types.collect(), &self.session);
        let prepared = Box::pin(preparing).await.map_err(|error| Complaint::from(&error))?;
        if let Some(named) = prepared.parameters.fields().iter().find(|field| !is_positional(field)) {
            let message = format!("parameter {} has a name; number parameters: $1, $2", named.name());
            return Err(Complaint::new("42P02", message));
        }
        let known = prepared.parameters.fields();
        let oid = |index: usize| match (given.get(index), known.get(index)) {
            (Some(given), _) if *given != 0 => *given,
            (_, Some(field)) => Shape::of(field.data_type()).oid(),
            (_, None) => Scalar::Text.oid(),
        };
        let oids = (0..asked.max(known.len())).map(oid).collect();
        Ok(Work::Engine { text: (text != sql).then_some(text), prepared, oids })
    }

    fn bind(&mut self, bind: &Bind) -> Result<(), Trouble> {
        let (name, of) = (bind.portal_name.clone().unwrap_or_default(), bind.statement_name.as_deref());
        if name.is_empty() {
            self.portals.remove("");
        }
        if self.portals.contains_key(&name) {
            return Err(Complaint::new("42P03", format!("portal \"{name}\" exists already")).into());
        }
        self.check_room(self.portals.len())?;
        let statement = self.statement(of)?.clone();
        let mut values = values(bind, statement.oids())?;
        values.truncate(statement.values_max());
        let columns = statement.schema().map(|schema| Columns::new(&schema, &bind.result_column_format_codes));
        let columns = columns.transpose()?;
        let bytes = values.iter().map(ScalarValue::size).sum::<usize>() + columns.as_ref().map_or(0, Columns::bytes);
        let room = self.kept.take(name.len() + bytes)?;
        let portal = Portal { statement, values, columns, state: State::Fresh, _room: room };
        self.portals.insert(name, portal);
        self.outbox.put(Bound(BindComplete::new()))?;
        Ok(())
    }

    fn describe(&mut self, describe: &Describe) -> Result<(), Trouble> {
        let name = describe.name.as_deref();
        let columns = match describe.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                let statement = self.statement(name)?.clone();
                self.outbox.put(Parameters(ParameterDescription::new(statement.oids().to_vec())))?;
                statement.schema().map(|schema| Columns::new(&schema, &[])).transpose()?
            }
            TARGET_TYPE_BYTE_PORTAL => self.portal(name)?.columns.clone(),
            _ => return Err(Complaint::protocol("only statements and portals can be described").into()),
        };
        self.outbox.put(match columns {
            Some(columns) => RowDescription(columns.description()),
            None => NoRows(NoData::new()),
        })?;
        Ok(())
    }

    async fn execute_portal(&mut self, execute: &Execute) -> Result<(), Trouble> {
        let name = execute.name.as_deref().unwrap_or_default();
        self.portal(Some(name))?;
        // Out of the map while it runs; one that fails is gone.
        let Some(mut portal) = self.portals.remove(name) else { return Ok(()) };
        let most = u64::try_from(execute.max_rows).ok().filter(|most| *most > 0);
        portal.state = match std::mem::replace(&mut portal.state, State::Done) {
            State::Fresh => {
                let values = std::mem::take(&mut portal.values);
                self.begin(portal.statement.clone(), (values, portal.columns.clone()), most).await?
            }
            State::Running(rows) => {
                self.check_block("")?;
                self.admit()?;
                self.send(rows, most).await?
            }
            State::Done => {
                self.ended(&portal)?;
                State::Done
            }
        };
        // A block's end closes its portals.
        if !matches!(portal.statement.work, Work::Own(Own::Commit | Own::Rollback | Own::DiscardAll)) {
            self.portals.insert(name.to_owned(), portal);
        }
        Ok(())
    }

    /// Answers for a portal that has run to its end.
    fn ended(&mut self, portal: &Portal) -> Result<(), Trouble> {
        match (&portal.statement.work, &portal.columns) {
            (Work::Nothing, _) => self.empty()?,
            (Work::Own(_) | Work::Engine { .. }, Some(_)) => self.complete(tag::selected(0))?,
            (Work::Own(_) | Work::Engine { .. }, None) => {
                return Err(Complaint::new("55000", "the portal has run; bind it again").into());
            }
        }
        Ok(())
    }

    async fn begin(
        &mut self,
        statement: Arc<Statement>,
        (values, columns): (Vec<ScalarValue>, Option<Columns>),
        most: Option<u64>,
    ) -> Result<State, Trouble> {
        let (text, prepared) = match &statement.work {
            Work::Nothing => {
                self.empty()?;
                return Ok(State::Done);
            }
            Work::Own(own) => {
                match &columns {
                    Some(columns) => self.show(own, columns)?,
                    None => self.answer_own(own.clone()).await?,
                }
                return Ok(State::Done);
            }
            Work::Engine { text, prepared, .. } => (text, prepared),
        };
        self.check_block(&statement.sql)?;
        let params = match values.is_empty() {
            true => Params::None,
            false => Params::Positional(values),
        };
        let declared = match prepared.kind {
            StatementKind::Query => prepared.parameters.fields().to_vec(),
            StatementKind::Update | StatementKind::Command => Vec::new(),
        };
        let text = text.as_ref().unwrap_or(&statement.sql);
        let request = Request { params, declared, ..Request::new(text.as_str(), &self.session) };
        let (answer, cancel) = self.execute(request).await?;
        match (answer.outcome, columns) {
            (Outcome::Rows(stream), Some(columns)) => {
                check_columns(&columns, &answer.schema, prepared)?;
                let rows = Rows::new(stream, columns, cancel);
                return self.send(rows, most).await;
            }
            (Outcome::Rows(_), None) => {
                let message = "the statement gives rows now, and did not when it was prepared; prepare it again";
                return Err(Complaint::unsupported(message).into());
            }
            (Outcome::Done { rows, message }, _) => {
                self.done(&statement.sql)?;
                self.tell(&statement.sql, &message)?;
                if let Some(details) = answer.details {
                    let shown = arrow::util::pretty::pretty_format_batches(&[details]).map(|table| table.to_string());
                    // Without a description there can be no rows here.
                    self.tell(&statement.sql, &shown.unwrap_or_default())?;
                }
                self.complete(tag::done(&statement.sql, rows))?;
            }
        }
        Ok(State::Done)
    }

    async fn send(&mut self, mut rows: Rows, most: Option<u64>) -> Result<State, Trouble> {
        self.resumes(&rows.cancel);
        match rows.send(&mut self.outbox, most).await? {
            Sent::Some => {
                self.outbox.put(Suspended(PortalSuspended::new()))?;
                Ok(State::Running(rows))
            }
            Sent::All(count) => {
                self.complete(tag::selected(count))?;
                Ok(State::Done)
            }
        }
    }

    fn close(&mut self, close: &Close) -> Result<(), Trouble> {
        let name = close.name.as_deref().unwrap_or_default();
        match close.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                self.statements.remove(name);
            }
            TARGET_TYPE_BYTE_PORTAL => {
                self.portals.remove(name);
            }
            _ => return Err(Complaint::protocol("only statements and portals can be closed").into()),
        }
        self.outbox.put(Closed(CloseComplete::new()))?;
        Ok(())
    }

    fn statement(&self, name: Option<&str>) -> Result<&Arc<Statement>, Complaint> {
        let name = name.unwrap_or_default();
        let missing = || Complaint::new("26000", format!("prepared statement \"{name}\" does not exist"));
        self.statements.get(name).ok_or_else(missing)
    }

    fn portal(&self, name: Option<&str>) -> Result<&Portal, Complaint> {
        let name = name.unwrap_or_default();
        let missing = || Complaint::new("34000", format!("portal \"{name}\" does not exist"));
        self.portals.get(name).ok_or_else(missing)
    }

    fn check_room(&self, count: usize) -> Result<(), Complaint> {
        let most = self.parts.config.max_prepared.max(1);
        match count < most {
            true => Ok(()),
            false => {
                let message =
                    format!("this connection holds {most} prepared statements or portals (pgwire.max_prepared)");
                Err(Complaint::new("53400", message))
            }
        }
    }
}

/// The highest number of a parameter, `$1`, `$2` …, in a text; 0: it has none.
fn highest_parameter(sql: &str) -> usize {
    if !sql.contains('$') {
        return 0;
    }
    let number = |(_, token): (usize, Token)| match token {
        Token::Placeholder(id) => id.strip_prefix('$')?.parse::<usize>().ok(),
        _ => None,
    };
    tokens(sql).unwrap_or_default().into_iter().filter_map(number).max().unwrap_or(0)
}

/// # Errors
/// Columns that are others than the client was told of, as after a table was made anew.
fn check_columns(told: &Columns, schema: &Schema, prepared: &Prepared) -> Result<(), Complaint> {
    // Where nothing tells a parameter's type its value may decide a column's, which then becomes what was told.
    let is_open = prepared.parameters.fields().iter().any(|field| *field.data_type() == DataType::Null);
    match told.are_named_as(schema) && (is_open || told.are_shaped_as(schema)) {
        true => Ok(()),
        false => Err(Complaint::unsupported("cached plan must not change result type; prepare the statement again")),
    }
}

fn is_positional(field: &FieldRef) -> bool {
    field.name().strip_prefix('$').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn values(bind: &Bind, oids: &[u32]) -> Result<Vec<ScalarValue>, Complaint> {
    let given = bind.parameters.len();
    if given != oids.len() {
        let message = format!("{given} values were bound, the statement has {} parameters", oids.len());
        return Err(Complaint::protocol(message));
    }
    let formats = match bind.parameter_format_codes.as_slice() {
        [] => vec![Format::Text; given],
        [one] => vec![format(*one)?; given],
        each if each.len() == given => each.iter().map(|code| format(*code)).collect::<Result<_, _>>()?,
        each => return Err(Complaint::protocol(format!("{} formats for {given} values", each.len()))),
    };
    let bound = bind.parameters.iter().zip(oids.iter().zip(formats)).enumerate();
    bound.map(|(index, (bytes, (oid, format)))| parameters::value(index + 1, (*oid, format), bytes.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_by_their_numbers() {
        for (sql, highest) in [
            ("SELECT 1", 0),
            ("SELECT $2, $1, $2", 2),
            ("SELECT '$9', \"$8\", $$ $7 $$ -- $6\n, $1", 1),
            ("SELECT $name", 0),
            ("SELECT $99999999999999999999999", 0),
        ] {
            assert_eq!(highest_parameter(sql), highest, "{sql}");
        }
    }
}
