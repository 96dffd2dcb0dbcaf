//! Tests of the algebra: plans made from SQL, and run over small tables with stand-ins for the engine's functions.

mod advice;
mod answers;
mod at_random;
mod chance;
mod covers;
mod groups;
mod groups_at_random;
mod identities;
mod lab;
mod lineages;
mod questions;
mod row_windows;
mod standins;
mod stars;
mod stars_at_random;
mod totals;
