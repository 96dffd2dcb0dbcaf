//! When a window of a view has been over for so long that a change of it is told.

use crate::base::{Clock, Span, Timestamp};
use crate::catalog::{CatalogSnapshot, Definition, TableKind};
use crate::materialize::absorb::ViewAt;
use crate::rollup::{Window, Windows};

/// Of a view that is kept incrementally.
pub(super) struct Terms {
    pub window: Window,
    pub restate_after: Span,
    /// How long the source keeps its events. That older ones go was agreed when the table was made: it restates nothing.
    retention: Option<Span>,
}

impl Terms {
    /// None: no row of the view's source is ever late.
    pub fn of(catalog: &CatalogSnapshot, view: &ViewAt<'_>) -> Option<Self> {
        let source = &view.design.question.source;
        let window = Window::of(&view.design, event_time(catalog, source).as_deref())?;
        let (restate_after, retention) = (restate_after(catalog, view.name)?, retention(catalog, source));
        Some(Self { window, restate_after, retention })
    }

    /// The windows that had been over for so long at `moment`, but for those with events that are too old to be kept.
    pub fn closed(&self, moment: Timestamp, clock: &Clock) -> Option<Windows> {
        let before = self.window.closed_before(moment.minus(self.restate_after.duration()))?;
        let from = self.retention.map(|retention| clock.now().minus(retention.duration()));
        Some(Windows { key: self.window.key(before)?, from, before })
    }
}

/// The view's `restate_after`.
pub(super) fn restate_after(catalog: &CatalogSnapshot, view: &str) -> Option<Span> {
    match &catalog.relations.get(view)?.definition {
        Definition::MaterializedView(view) => Some(view.restate_after),
        Definition::Table(_) | Definition::View(_) | Definition::Endpoint(_) => None,
    }
}

/// The time column of a table of events.
pub(in crate::materialize) fn event_time(catalog: &CatalogSnapshot, table: &str) -> Option<String> {
    match kind(catalog, table)? {
        TableKind::Event { event_time, .. } => Some(event_time.clone()),
        TableKind::Plain | TableKind::Snapshot { .. } => None,
    }
}

/// How long a table of events keeps them, where that is said.
pub(super) fn retention(catalog: &CatalogSnapshot, table: &str) -> Option<Span> {
    match kind(catalog, table)? {
        TableKind::Event { retention, .. } => *retention,
        TableKind::Plain | TableKind::Snapshot { .. } => None,
    }
}

fn kind<'a>(catalog: &'a CatalogSnapshot, table: &str) -> Option<&'a TableKind> {
    match &catalog.relations.get(table)?.definition {
        Definition::Table(table) => Some(&table.kind),
        Definition::View(_) | Definition::MaterializedView(_) | Definition::Endpoint(_) => None,
    }
}
