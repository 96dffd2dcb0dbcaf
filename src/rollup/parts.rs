//! The mergeable parts of aggregate calls (Gray et al., "Data Cube": distributive functions merge with themselves or a sum,
//! algebraic ones are made of several such parts).

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::logical_expr::Expr;

use super::question::{Call, Function};
use super::sketch::{Sketch, SketchKind};

/// What is kept of the rows of a group. Shared by all calls that need it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    pub kind: PartKind,
    /// None for [`PartKind::Rows`] only.
    pub argument: Option<Expr>,
    pub filter: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// How many rows; BIGINT.
    Rows,
    /// How many arguments are not NULL; BIGINT.
    Count,
    /// The total of integers; DECIMAL(38,0), since only the final total has to fit BIGINT.
    Sum,
    /// The total of decimals; the type of the call.
    DecimalSum,
    Min,
    Max,
    And,
    Or,
    /// A sketch; BINARY.
    Sketch(Sketch),
}

/// A part with its type and the column it is stored as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    pub part: Part,
    /// As plans give it; text may be stored as another kind of text.
    pub data_type: DataType,
    pub column: String,
}

impl Part {
    /// The unfiltered number of rows, which every design stores.
    pub fn rows() -> Self {
        Self { kind: PartKind::Rows, argument: None, filter: None }
    }

    /// The part's type; `answer` is that of the call it is a part of.
    pub(super) fn data_type(&self, answer: &DataType) -> DataType {
        match self.kind {
            PartKind::Rows | PartKind::Count => DataType::Int64,
            PartKind::Sum => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
            PartKind::Sketch(_) => DataType::Binary,
            PartKind::DecimalSum | PartKind::Min | PartKind::Max | PartKind::And | PartKind::Or => answer.clone(),
        }
    }
}

impl PartKind {
    /// The word in stored column names.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Count => "count",
            Self::Sum | Self::DecimalSum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::And => "and",
            Self::Or => "or",
            Self::Sketch(sketch) => match sketch.kind {
                SketchKind::Hll => "hll",
                SketchKind::Theta => "theta",
                SketchKind::Kll => "kll",
            },
        }
    }
}

/// The parts an answer is finished from, in the order that finishing takes them; of a total of groups the number of their rows
/// comes last.
pub fn parts_of(call: &Call) -> Vec<Part> {
    let kinds = match call.function {
        Function::CountRows => vec![PartKind::Rows],
        Function::Count => vec![PartKind::Count],
        Function::Sum => vec![PartKind::Sum],
        Function::DecimalSum => vec![PartKind::DecimalSum],
        Function::Min => vec![PartKind::Min],
        Function::Max => vec![PartKind::Max],
        Function::Average => vec![PartKind::Sum, PartKind::Count],
        Function::BoolAnd => vec![PartKind::And],
        Function::BoolOr => vec![PartKind::Or],
        Function::Sketch { kept, .. } => vec![PartKind::Sketch(kept)],
        Function::ApproxDistinct => vec![PartKind::Sketch(Sketch::DISTINCT)],
    };
    let part = |kind: PartKind| Part { kind, argument: call.argument.clone(), filter: call.filter.clone() };
    let rows = call.total.as_ref().map(|total| Part { filter: total.filter.clone(), ..Part::rows() });
    kinds.into_iter().map(part).chain(rows).collect()
}

/// The parts of all calls with their types, none twice, in the order of first use. `answers` are the calls' types.
pub(super) fn parts_of_all<'a>(calls: &[Call], answers: impl Iterator<Item = &'a DataType>) -> Vec<(Part, DataType)> {
    let mut parts: Vec<(Part, DataType)> = Vec::new();
    for (call, answer) in calls.iter().zip(answers) {
        for part in parts_of(call) {
            if parts.iter().all(|(known, _)| *known != part) {
                let data_type = part.data_type(answer);
                parts.push((part, data_type));
            }
        }
    }
    parts
}
