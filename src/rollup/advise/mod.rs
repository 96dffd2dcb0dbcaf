//! Which views would answer questions with fewer rows, and how they are written. Pure: sizes are inputs.
//!
//! ```text
//! questions ─ shapes ─► shape of a view that answers one ─ lattice ─► shapes that answer several ─ write ─► SQL
//!                                       rows of each shape (measured by the caller) ─ choose ─► the few that save most
//! ```
//! Whether a view really answers a question is not decided here: the SQL is planned as any view's is, and
//! [`cover`](super::cover()) says so.
//!
//! Source: Harinarayan, Rajaraman & Ullman, "Implementing Data Cubes Efficiently" (SIGMOD 1996): views form a lattice by what they
//! can answer, the cost of a question is the number of rows read, and greedy choice saves at least 63 % of what the best choice does.

mod lattice;
mod select;
mod shape;
mod write;

pub use lattice::with_joins;
pub use select::{Chosen, Costs, choose};
pub use shape::{Shape, Values, shapes, sought};
pub use write::{WrittenView, written};
