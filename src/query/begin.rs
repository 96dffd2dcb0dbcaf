//! Before a statement is looked at: its size, whether its caller is there (still), how many of theirs run, how long it may run.

use super::depth::check_depth;
use super::engine::{Inner, Request};
use super::placeholders::check_parameters;
use super::running::Watch;
use super::statement::{self, TIMEOUT};
use super::stream::Limit;
use super::viewer::Viewer;
use super::{QueryError, Session};
use crate::auth::Allowance;
use crate::base::{Span, Timestamp};

/// A statement that may be looked at; it is listed from now on.
pub(super) struct Begun {
    pub(super) viewer: Viewer,
    pub(super) allowance: Allowance,
    pub(super) watch: Watch,
    /// `now()` of the statement.
    pub(super) now: Timestamp,
}

impl Inner {
    /// # Errors
    /// Too long, too deep; the caller is no more; too many of theirs; the server is stopping.
    pub(super) fn begin(&self, request: &Request) -> Result<Begun, QueryError> {
        let Request { sql, session, endpoint, cancel, .. } = request;
        self.check_size(sql)?;
        if self.tasks.is_stopping() {
            return Err(QueryError::Stopping);
        }
        let viewer = Viewer::of(self, session, endpoint.as_deref())?;
        let now = self.clock.now();
        let allowance = viewer.allowance(self);
        let at_once = allowance.concurrent_statements.filter(|_| !statement::ends_others(sql));
        let watch = self.registry.begin((sql, endpoint.as_deref()), session, cancel, (now, at_once))?;
        Ok(Begun { viewer, allowance, watch, now })
    }

    /// # Errors
    /// Longer than `query.max_sql_size`.
    pub(super) fn check_length(&self, sql: &str) -> Result<(), QueryError> {
        let allowed = self.config.max_sql_size;
        match u64::try_from(sql.len()).is_ok_and(|length| length <= allowed.bytes()) {
            true => Ok(()),
            false => Err(QueryError::Invalid {
                message: format!(
                    "statement has {} bytes, at most {allowed} are allowed (query.max_sql_size)",
                    sql.len()
                ),
            }),
        }
    }

    pub(super) fn check_size(&self, sql: &str) -> Result<(), QueryError> {
        self.check_length(sql)?;
        check_parameters(sql, self.config.max_parameters)?;
        check_depth(sql)
    }

    /// The session may shorten the configured time, not lengthen it; roles may allow less.
    pub(super) fn limit_of(&self, session: &Session, allowance: Allowance) -> Limit {
        let own = session.get(TIMEOUT).and_then(|text| text.parse::<Span>().ok()).map(Span::duration);
        let configured = self.config.timeout.duration();
        Limit::starting_now(own.map_or(configured, |own| own.min(configured))).of_role(allowance.run_time)
    }
}
