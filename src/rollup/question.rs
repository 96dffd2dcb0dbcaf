//! What an aggregate query asks of one table, in a normal form that two queries can be compared by.

use arrow::datatypes::FieldRef;
use datafusion::common::TableReference;
use datafusion::logical_expr::Expr;

use super::sketch::Sketch;

/// Columns in all expressions are unqualified and of the source; expressions are as SQL planning gives them, before the
/// analyzer.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The table, in schema `public`.
    pub source: String,
    /// Conjuncts, in the query's order (innermost first), none twice.
    pub filters: Vec<Expr>,
    /// The group keys, in the query's order, none twice, none constant.
    pub keys: Vec<Expr>,
    /// The aggregate calls, in the query's order.
    pub calls: Vec<Call>,
    /// The columns of the aggregate's answer: its keys, then its calls.
    pub fields: Vec<(Option<TableReference>, FieldRef)>,
}

impl Question {
    /// Whether both ask the same of the same rows. Names and types of the answer's columns do not count: a stored query is
    /// planned over declared types, a running one over those of files (`Utf8View`).
    pub fn asks_as(&self, other: &Self) -> bool {
        self.source == other.source
            && self.filters == other.filters
            && self.keys == other.keys
            && self.calls == other.calls
    }
}

/// One aggregate call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub function: Function,
    /// None for [`Function::CountRows`] only.
    pub argument: Option<Expr>,
    pub filter: Option<Expr>,
    /// Set when it totals groups of rows, as a sum of counts does ([`super::groups`]).
    pub total: Option<Total>,
}

/// A count or sum that is taken over groups: NULL where there is no group, 0 where there are groups but nothing in them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Total {
    /// Which groups there are: those of the rows that pass it.
    pub filter: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    CountRows,
    Count,
    /// Of integers; the answer is BIGINT.
    Sum,
    /// Of decimals; the answer has ten digits more.
    DecimalSum,
    Min,
    Max,
    /// Of integers; the answer is DOUBLE.
    Average,
    BoolAnd,
    BoolOr,
    /// The union of size `size` of such sketches; of one that is not united further, it is its own size.
    Sketch {
        kept: Sketch,
        size: Option<i64>,
    },
    /// How many distinct values, about; BIGINT, and the same for the same values.
    ApproxDistinct,
}

impl Function {
    /// Whether the same rows always have the same answer, however they are divided and ordered.
    pub fn is_certain(self) -> bool {
        match self {
            Self::Sketch { kept, .. } => kept.is_of_a_set(),
            Self::CountRows | Self::Count | Self::Sum | Self::DecimalSum | Self::Average | Self::ApproxDistinct => true,
            Self::Min | Self::Max | Self::BoolAnd | Self::BoolOr => true,
        }
    }
}

/// Why a query has no such form. The text is shown to users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it has no aggregate")]
    NoAggregate,
    #[error("it reads {}", .0.join(", "))]
    SeveralTables(Vec<String>),
    #[error("{0}(DISTINCT …) cannot be merged from parts")]
    Distinct(String),
    #[error("{0} depends on the order of rows")]
    Ordered(String),
    #[error("GROUPING SETS, CUBE and ROLLUP are several aggregates in one")]
    GroupingSets,
    #[error("{function} cannot be merged from parts; use {instead}")]
    Unsupported { function: String, instead: &'static str },
    #[error("{0} changes from one run to the next")]
    Volatile(String),
    #[error("it contains a subquery")]
    Subquery,
    #[error("LIMIT and ORDER BY belong to the query that reads the view")]
    Limit,
    #[error("{0} over floating-point numbers depends on the order of rows; use DECIMAL")]
    FloatSum(String),
    #[error("the group key {0} is a floating-point number")]
    FloatKey(String),
    #[error("the group key {0} is constant, repeated, or of a type that groups cannot be stored by")]
    Key(String),
    #[error("'{0}' is not a table")]
    NotATable(String),
    #[error("more than expressions and HAVING stands above its aggregate")]
    Above,
    #[error("its aggregate does not read a table directly, but {0}")]
    Nested(&'static str),
    #[error("it aggregates the groups of another aggregate, and {0}")]
    Groups(String),
    #[error("{0}, which is by chance: the same rows have another one every time")]
    Chance(String),
    #[error("'{0}' is joined with itself")]
    SelfJoin(String),
    #[error("no column of '{0}' decides what its rows are joined with, nor how they are grouped")]
    NotJoined(String),
    #[error("a {join} join does not go by the rows of '{fact}'")]
    OuterJoin { fact: String, join: String },
    #[error("{0} decides what rows are joined with or how they are grouped, and groups cannot be stored by its type")]
    JoinKey(String),
    #[error("{0} is not over columns of one table, or counts how often rows are joined")]
    OfDimensions(String),
    #[error("{0} may fail for rows that a join or a filter drops; a LEFT JOIN without filters drops none")]
    NotTotal(String),
}
