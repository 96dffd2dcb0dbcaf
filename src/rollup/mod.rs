//! The algebra of rollups: what an aggregate query asks, in which parts it can be stored, and how answers are merged from parts.
//!
//! Layer 2. Imports `base` only; pure: logical plans in, logical plans out, no I/O, no clock.
//!
//! ```text
//! LogicalPlan ─ question() ─► Question ─ Design::of ─► stored keys and parts ─ cover() ─► pieces() ─ answer() ─► LogicalPlan
//!                                └────── decide() ──► Strategy and its reason
//! over a join: Star ─ the question of the fact alone ─► as above ─► its partial rows, joined with the dimensions and merged
//! ```
//! Plans are as SQL planning gives them, *before* the analyzer, and so are the plans made here: they are analysed once, where
//! they run. A piece that cannot be proved to fit is left out and base rows take its place: the failure mode is slow, never wrong.
//!
//! `advise` goes the other way: from questions to the views that would answer them.
//!
//! Sources: Goldstein & Larson, "Optimizing Queries Using Materialized Views" (SIGMOD 2001); Gray et al., "Data Cube" (1997),
//! for distributive and algebraic aggregates; Yan & Larson, "Eager Aggregation and Lazy Aggregation" (VLDB 1995), for joins.

mod advise;
mod answer;
mod asked;
mod bounds;
mod casts;
mod chance;
mod changed;
mod cover;
mod design;
mod dirty;
mod express;
mod functions;
mod groups;
mod identity;
mod joins;
mod late;
mod lineage;
mod normalize;
mod obstacle;
mod offset;
mod orderless;
mod origin;
mod partials;
mod partition;
mod parts;
mod question;
mod ranges;
mod row_windows;
mod sketch;
mod spread;
mod star;
mod strategy;
#[cfg(test)]
mod tests;
mod time;
mod times;
mod total;

pub use advise::{Chosen, Costs, Shape, Values, WrittenView, choose, shapes, sought, with_joins, written};
pub use answer::{Piece, Scan, Sources, answer, fold_plan, partial_plan, pieces};
pub use asked::Asked;
pub use casts::never_fails;
pub use chance::Certainty;
pub use changed::{MORE, Windows, changed_groups, changed_rows};
pub use cover::{Asking, Cover, Edges, cover, is_worthwhile};
pub use design::{Design, StoredLayout};
pub use dirty::Dirty;
pub use functions::{Functions, Sketching};
pub use late::{CommitRows, LATE_COLUMNS, Window, answers_of, late_groups, stored_between};
pub use lineage::{Lineage, Needed, Relations};
pub use normalize::{aggregates, question, replace};
pub use obstacle::Obstacle;
pub use partition::{PartitionDesign, as_columns};
pub use parts::{Part, PartKind, StoredPart, parts_of};
pub use question::{Call, Function, Question, Unfit};
pub use row_windows::RowWindows;
pub use spread::Spread;
pub use strategy::{Decision, Refusal, RelationKind, Strategy, Wanted, decide};
pub use time::{Grain, TimeKey};
pub use times::Times;
