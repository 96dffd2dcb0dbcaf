//! Words: the vocabulary every layer shares. No I/O, no async runtime of its own, nothing about tables or protocols.
//!
//! Layer 0. Imports nothing of ours. Only [`clock`] reads the time; everything else is a pure value.

pub mod clock;
pub mod config_value;
pub mod error;
pub mod nearest;
pub mod percent;
pub mod quoted;
pub mod schedule;
pub mod sealed;
pub mod size;
pub mod span;
pub mod task;

pub use clock::{Clock, Stopwatch, Timestamp};
pub use error::{Classify, Kind, chain};
pub use nearest::{nearest, suggestion};
pub use percent::Percent;
pub use quoted::quoted;
pub use schedule::{CronText, Schedule};
pub use sealed::Sealed;
pub use size::ByteSize;
pub use span::Span;
pub use task::Tasks;
