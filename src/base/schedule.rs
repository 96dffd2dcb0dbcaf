//! When something happens again: `every 5 minutes`, `cron 0 3 * * *`. Pure: the moment is an input; all in UTC.
//!
//! The one home of `croner`. Both kinds are anchored to the calendar, not to a start: `every 5 minutes` means the full five
//! minutes since 1970 (so `every 1 day` is midnight, `every 1 week` a Thursday), and every process, restarted or not, names
//! the same moments.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::{Span, Timestamp};

/// Shortest time of `every …`: schedulers look at their clock about this often.
pub const EVERY_MIN: Span = Span::from_millis(100);

/// Moments that come again. Reads and prints as `every 5 minutes` or `cron 0 3 * * *`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Whole multiples of this time since 1970; at least [`EVERY_MIN`].
    Every(Span),
    Cron(CronText),
}

impl Schedule {
    /// The first moment behind `after`; `None` when there is none in the time that can be counted.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(span) => {
                let step = i64::try_from(span.duration().as_micros()).ok().filter(|step| *step > 0)?;
                let behind = after.micros().div_euclid(step).checked_add(1)?;
                behind.checked_mul(step).map(Timestamp)
            }
            Self::Cron(cron) => cron.next_after(after),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (first, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        if first.eq_ignore_ascii_case("every") {
            let span: Span = rest.parse()?;
            return match span >= EVERY_MIN {
                true => Ok(Self::Every(span)),
                false => Err(format!("'{text}' is too often; the shortest is 'every {EVERY_MIN}'")),
            };
        }
        if first.eq_ignore_ascii_case("cron") {
            return rest.parse().map(Self::Cron);
        }
        Err(format!("'{text}' is not a schedule; write 'every 5 minutes' or 'cron 0 3 * * *'"))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(span) => write!(f, "every {span}"),
            Self::Cron(cron) => write!(f, "cron {cron}"),
        }
    }
}

/// The five fields of cron, in UTC: minute, hour, day of month, month, day of week; also `@hourly`, `@daily`, `@weekly`,
/// `@monthly`, `@yearly`. Has a next moment: `0 0 30 2 *` is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronText {
    /// As written, one space between fields.
    text: String,
    cron: Arc<Cron>,
}

impl CronText {
    /// The first moment behind `after`; `None` beyond the year 5000.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        // croner counts whole seconds and would keep a fraction.
        let second = DateTime::<Utc>::from_timestamp(after.micros().div_euclid(1_000_000), 0)?;
        let next = self.cron.find_next_occurrence(&second, false).ok()?;
        Some(Timestamp(next.timestamp_micros()))
    }
}

impl FromStr for CronText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wrong = |reason: &str| {
            format!(
                "'{text}' is not a cron schedule: {reason}; write minute, hour, day of month, month and day of week, such as '0 3 * * *'"
            )
        };
        let fields = text.split(' ').count();
        let nickname = text.starts_with('@');
        if !nickname && fields != 5 {
            let found = if text.is_empty() { 0 } else { fields };
            return Err(wrong(&format!("it has {found} fields, not 5")));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&text).map_err(|error| wrong(error.to_string().trim_end_matches('.')))?;
        let read = Self { text: text.clone(), cron: Arc::new(cron) };
        match read.next_after(Timestamp::default()) {
            Some(_) => Ok(read),
            None => Err(wrong("no day is like that")),
        }
    }
}

impl fmt::Display for CronText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<DateTime<Utc>>().unwrap().timestamp_micros())
    }

    /// The next moments of a schedule.
    fn check(schedule: &str, after: &str, expected: [&str; 2]) {
        let schedule: Schedule = schedule.parse().unwrap();
        let first = schedule.next_after(at(after)).unwrap();
        let second = schedule.next_after(first).unwrap();
        assert_eq!([first, second], expected.map(at), "{schedule} after {after}");
    }

    #[test]
    fn every_is_anchored_to_the_calendar() {
        check("every 5 minutes", "2026-03-01T10:02:03.5Z", ["2026-03-01T10:05:00Z", "2026-03-01T10:10:00Z"]);
        check("EVERY 1 day", "2026-03-01T00:00:00Z", ["2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"]);
        check("every 1 hour", "1969-12-31T23:30:00Z", ["1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z"]);
    }

    #[test]
    fn cron_is_in_utc() {
        check("cron 0 3 * * *", "2026-03-01T02:59:59.999999Z", ["2026-03-01T03:00:00Z", "2026-03-02T03:00:00Z"]);
        check(
            "cron  */15 8-9  * * mon",
            "2026-03-02T09:45:00.000001Z",
            ["2026-03-09T08:00:00Z", "2026-03-09T08:15:00Z"],
        );
        check("cron 0 0 29 2 *", "2026-03-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
        check("cron @hourly", "2026-03-01T02:00:00Z", ["2026-03-01T03:00:00Z", "2026-03-01T04:00:00Z"]);
    }

    #[test]
    fn printed_schedules_are_read_again() {
        for (text, printed) in [
            ("every 120 s", "every 2 minutes"),
            (" every\t5 minutes ", "every 5 minutes"),
            ("Cron 0  3 * * MON", "cron 0 3 * * MON"),
            ("cron @daily", "cron @daily"),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.to_string(), printed);
            assert_eq!(printed.parse(), Ok(schedule));
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let wrong = |text: &str, part: &str| {
            let error = text.parse::<Schedule>().unwrap_err();
            assert!(error.contains(part), "'{text}': '{error}' does not say '{part}'");
        };
        wrong("", "is not a schedule; write 'every 5 minutes' or 'cron 0 3 * * *'");
        wrong("5 minutes", "is not a schedule");
        wrong("every", "is not a length of time");
        wrong("every hour", "is not a length of time");
        wrong("every 0 s", "is too often; the shortest is 'every 100 milliseconds'");
        wrong("every 99 ms", "is too often");
        wrong("cron", "it has 0 fields, not 5");
        wrong("cron 0 3 * *", "it has 4 fields, not 5");
        wrong("cron 0 0 3 * * *", "it has 6 fields, not 5");
        wrong("cron 60 3 * * *", "'60 3 * * *' is not a cron schedule");
        wrong("cron 0 3 * * monday-ish", "is not a cron schedule");
        wrong("cron @often", "is not a cron schedule");
        wrong("cron 0 0 30 2 *", "no day is like that");
    }

    proptest! {
        #[test]
        fn the_next_moment_is_behind_and_nearest(span in 100_u64..10_000_000, after in -1_000_000_000_000_i64..1_000_000_000_000_000) {
            let next = Schedule::Every(Span::from_millis(span)).next_after(Timestamp(after)).unwrap();
            prop_assert!(next > Timestamp(after));
            prop_assert!(next.minus(Duration::from_millis(span)) <= Timestamp(after));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(every|cron)? ?[0-9*/,@a-zL#-]{0,4}( [0-9*/,LW#?-]{0,5}){0,6}") {
            let _ = text.parse::<Schedule>();
        }
    }
}
