//! What keeps a query's rows from being told apart by time. The text is shown to users.

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    #[error("no column of it is a time of its sources, such as date_trunc('day', …)")]
    NoTime,
    #[error("'{0}' is not near a time column of a table")]
    NotATime(String),
    #[error("'{column}' of '{table}' may be NULL")]
    Nullable { table: String, column: String },
    #[error("'{0}' is of the side of an outer join that may be missing")]
    OuterJoin(String),
    #[error("'{0}' is joined without bounds on its time, such as b.ts >= a.ts AND b.ts < a.ts + INTERVAL '7 days'")]
    Unbounded(String),
    #[error("PARTITION BY of {0} does not contain '{1}'")]
    Window(String, String),
    #[error("GROUP BY does not contain a time")]
    Group,
    #[error("rows that tie are in no order for {0}: order by the event key too")]
    Ties(String),
    #[error("{0} may depend on the order of rows")]
    Ordered(String),
    #[error("{0} over floating-point numbers depends on the order of rows; use DECIMAL")]
    Float(String),
    #[error("it contains a subquery")]
    Subquery,
    #[error("'{0}' is not a table")]
    NotATable(String),
    #[error("{0}")]
    Unrepeatable(String),
    #[error("it contains {0}")]
    Node(&'static str),
}
