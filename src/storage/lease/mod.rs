//! Leases: one process at a time owns a name (a table's ingest), and everybody can see who.
//!
//! ```text
//! documents/leases/<name>/<version>.json     who holds it, the fence, how often it was renewed
//!
//! acquire ─► held here: answer from memory
//!         └► look ─► decide (pure) ─┬─► nobody, or dead: put version + 1 with fence + 1 ─► held
//!                                   └─► somebody else: their address
//! renew   ─► put version + 1, renewals + 1, for every lease held; one unused for long is given back
//! ```
//!
//! Clocks of machines are never compared. An observer calls a lease dead when its renewals did not change for `ttl` of the
//! observer's monotonic clock; a holder stops by its own monotonic clock, earlier (Gray & Cheriton, "Leases", 1989). A
//! holder that slept through its end is stopped by the fence that the next holder's commits carry
//! ([`Fence`](super::Fence); Kleppmann's fencing tokens). A holder whose process ended on this very machine is known dead
//! at once, so a restart does not wait.
//!
//! Not here: who needs a lease, where a request for somebody else's is sent.

mod config;
mod decide;
mod keeper;
mod process;
mod record;

pub use config::LeaseConfig;
pub use keeper::{Acquired, Leases};
pub use record::{Address, LeaseRecord};

#[cfg(test)]
mod tests;
