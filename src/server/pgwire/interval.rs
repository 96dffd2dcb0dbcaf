//! INTERVAL: text as PostgreSQL writes it (`IntervalStyle = postgres`), and its binary form.

use std::fmt::Write;

use arrow::datatypes::IntervalMonthDayNano;
use bytes::{BufMut, BytesMut};

const NANOS_PER_MICRO: i64 = 1_000;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Microseconds, days, months; nanoseconds are cut.
pub(super) fn put(interval: IntervalMonthDayNano, out: &mut BytesMut) {
    out.put_i64(interval.nanoseconds / NANOS_PER_MICRO);
    out.put_i32(interval.days);
    out.put_i32(interval.months);
}

/// `1 year 2 mons 3 days 04:05:06.789`.
pub(super) fn text(interval: IntervalMonthDayNano) -> String {
    let (years, months) = (interval.months / 12, interval.months % 12);
    let mut parts = Vec::new();
    let mut part = |count: i32, one: &str| {
        if count != 0 {
            parts.push(format!("{count} {one}{}", if count == 1 { "" } else { "s" }));
        }
    };
    part(years, "year");
    part(months, "mon");
    part(interval.days, "day");
    let micros = interval.nanoseconds / NANOS_PER_MICRO;
    if micros != 0 || parts.is_empty() {
        let mut time = String::new();
        let size = micros.unsigned_abs();
        let seconds = size / MICROS_PER_SECOND.unsigned_abs();
        let sign = if micros < 0 { "-" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(time, "{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
        push_fraction(size % MICROS_PER_SECOND.unsigned_abs(), &mut time);
        parts.push(time);
    }
    parts.join(" ")
}

/// `.5` for 500,000 microseconds; nothing for none.
pub(super) fn push_fraction(micros: u64, text: &mut impl Write) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        // To memory, which cannot fail.
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_as_in_postgres() {
        let of = |months, days, nanoseconds| text(IntervalMonthDayNano { months, days, nanoseconds });
        assert_eq!(of(14, 3, 14_706_789_000_000), "1 year 2 mons 3 days 04:05:06.789");
        assert_eq!(of(0, 0, 0), "00:00:00");
        assert_eq!(of(0, 1, 0), "1 day");
        assert_eq!(of(0, 0, -1_500_000_000), "-00:00:01.5");
        assert_eq!(of(-1, 0, 90_000_000_000_000), "-1 mons 25:00:00");
    }
}
