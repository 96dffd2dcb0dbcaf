//! Traffic as NDJSON on standard output, at full speed or so many events per second.

use std::io::{self, BufWriter, Write};
use std::thread;
use std::time::Duration;

use arrow::json::LineDelimitedWriter;

use crate::base::{Clock, Stopwatch};

use super::super::failure::Failure;
use super::columns;
use super::traffic::{Event, Kind, Source, Traffic};

const BATCH_ROWS: usize = 8_192;
/// Paced events are written this often.
const TICK: Duration = Duration::from_millis(50);

/// Writes all rows. With a rate, events carry the time they are written instead of the day's.
///
/// # Errors
/// When standard output cannot be written; `cli::run` takes a reader that left as the end.
pub fn run(traffic: &Traffic, kind: Kind, rate: Option<u32>, clock: &Clock) -> Result<(), Failure> {
    let mut source = Source::new(traffic, kind, 0, 0..traffic.rows);
    let mut out = BufWriter::new(io::stdout());
    let started = Stopwatch::start();
    let mut written = 0;
    loop {
        let wanted = match rate {
            None => BATCH_ROWS,
            Some(rate) => usize::try_from(due(rate, started.elapsed()) - written).unwrap_or(0).min(BATCH_ROWS),
        };
        let mut events: Vec<Event> = Vec::with_capacity(wanted);
        while events.len() < wanted
            && let Some((event, _)) = source.draw_at(rate.map(|_| clock.now()))
        {
            events.push(event);
        }
        if wanted > 0 && events.is_empty() {
            return Ok(out.flush()?);
        }
        written += events.len() as u64;
        LineDelimitedWriter::new(&mut out).write(&columns::batch(kind, &events)?)?;
        if rate.is_some() {
            out.flush()?;
            if wanted < BATCH_ROWS {
                thread::sleep(TICK);
            }
        }
    }
}

/// Events that should be out after `elapsed`, the first at once.
fn due(rate: u32, elapsed: Duration) -> u64 {
    let due = u128::from(rate) * elapsed.as_micros() / 1_000_000;
    u64::try_from(due).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_events_per_second() {
        assert_eq!(due(100, Duration::ZERO), 1);
        assert_eq!(due(100, Duration::from_secs(10)), 1_001);
        assert_eq!(due(3, Duration::from_millis(500)), 2);
    }
}
