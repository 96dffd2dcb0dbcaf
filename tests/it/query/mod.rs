//! The engine beyond what `.slt` files can say: parameters, limits, cancellation, concurrency, plans of definitions.

mod definitions;
mod dropping;
mod inspecting;
mod limits;
mod parameters;
mod safety;
mod slow;
mod states;
