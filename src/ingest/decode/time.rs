//! Text → a point in time or a day.
//!
//! Without a pattern these forms are read, all of them to UTC microseconds:
//!
//! | form | example |
//! |---|---|
//! | RFC 3339 | `2017-11-07T09:30:38.5Z`, `2017-11-07T18:30:38+09:00` |
//! | SQL | `2017-11-07 09:30:38`, with or without fraction and offset; no offset means UTC |
//! | a day | `2017-11-07` (midnight UTC) |
//! | epoch milliseconds | `1510047038000` |
//!
//! With a pattern (`--time-format`) only that pattern is read. It is written `PATTERN` or `PATTERN@OFFSET`: chrono's
//! strftime letters, then the offset the clock that wrote the file had, when the text itself carries none:
//! `%Y%m%d%H%M%S%3f@+08:00`. A pattern without offset, and without `%z` in it, is UTC. `%s` (epoch seconds) works too.
//!
//! Years outside 1 to 9999 are refused: they are nearly always another unit taken for milliseconds.
//! Digits below a microsecond are cut off.

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{NaiveDate, NaiveDateTime};

const MICROS_PER_SECOND: i64 = 1_000_000;
/// 0001-01-01T00:00:00Z and 10000-01-01T00:00:00Z.
const MICROS_MIN: i64 = -62_135_596_800 * MICROS_PER_SECOND;
const MICROS_END: i64 = 253_402_300_800 * MICROS_PER_SECOND;

/// Reads times in the standard forms, or in one pattern.
#[derive(Clone, Debug, Default)]
pub struct TimeReader(Option<Pattern>);

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    items: Vec<Item<'static>>,
    offset_seconds: i32,
}

impl TimeReader {
    /// The standard forms.
    pub fn standard() -> Self {
        Self(None)
    }

    /// One pattern, `PATTERN[@OFFSET]`.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn pattern(text: &str) -> Result<Self, String> {
        let (pattern, offset_seconds) = match text.rsplit_once('@') {
            Some((pattern, offset)) => (
                pattern,
                offset_seconds(offset.as_bytes())
                    .ok_or_else(|| format!("time format '{text}': '{offset}' is not an offset such as +08:00"))?,
            ),
            None => (text, 0),
        };
        let wrong = || format!("time format '{text}' is not a strftime pattern such as '%Y-%m-%d %H:%M:%S'");
        let items = StrftimeItems::new(pattern).parse_to_owned().map_err(|_| wrong())?;
        if !items.iter().any(|item| matches!(item, Item::Numeric(..) | Item::Fixed(..))) {
            return Err(wrong());
        }
        Ok(Self(Some(Pattern { text: text.to_owned(), items, offset_seconds })))
    }

    /// Microseconds since 1970, UTC.
    ///
    /// # Errors
    /// Why `text` is not a time, as the end of a sentence.
    pub fn micros(&self, text: &str) -> Result<i64, String> {
        let micros = match &self.0 {
            Some(pattern) => pattern.micros(text),
            None => standard_micros(text.trim()),
        };
        in_range(micros.ok_or_else(|| self.complaint(text, "a time"))?)
    }

    /// Days since 1970.
    ///
    /// # Errors
    /// Why `text` is not a day, as the end of a sentence.
    pub fn days(&self, text: &str) -> Result<i32, String> {
        let micros = match &self.0 {
            Some(pattern) => pattern.day(text),
            None => standard_day(text.trim()),
        };
        let micros = in_range(micros.ok_or_else(|| self.complaint(text, "a date"))?)?;
        i32::try_from(micros.div_euclid(86_400 * MICROS_PER_SECOND)).map_err(|_| self.complaint(text, "a date"))
    }

    fn complaint(&self, text: &str, what: &str) -> String {
        let shown = super::value::shown(text);
        match &self.0 {
            Some(pattern) => format!("{shown} does not match the time format '{}'", pattern.text),
            None if what == "a date" => format!("{shown} is not a date such as 2017-11-07"),
            None => format!(
                "{shown} is not a time; RFC 3339, 'YYYY-MM-DD HH:MM:SS' and epoch milliseconds are read, others with a time format"
            ),
        }
    }
}

/// Microseconds since 1970 from whole epoch milliseconds.
///
/// # Errors
/// When the time lies outside the years 1 to 9999.
pub fn micros_from_epoch_millis(millis: i64) -> Result<i64, String> {
    in_range(millis.checked_mul(1_000).unwrap_or(i64::MAX))
}

fn in_range(micros: i64) -> Result<i64, String> {
    if (MICROS_MIN..MICROS_END).contains(&micros) {
        Ok(micros)
    } else {
        Err("is outside the years 1 to 9999; numbers are read as epoch milliseconds".to_owned())
    }
}

impl Pattern {
    fn parsed(&self, text: &str) -> Option<Parsed> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter()).ok()?;
        Some(parsed)
    }

    fn micros(&self, text: &str) -> Option<i64> {
        let parsed = self.parsed(text)?;
        if parsed.offset().is_some() || parsed.timestamp().is_some() {
            return parsed.to_datetime().ok().map(|time| time.timestamp_micros());
        }
        let local = match parsed.to_naive_datetime_with_offset(0) {
            Ok(time) => time,
            // Only a day, or a day and an hour.
            Err(_) => {
                let date = parsed.to_naive_date().ok()?;
                let hour = match (parsed.hour_div_12(), parsed.hour_mod_12()) {
                    (Some(half), Some(hour)) => half * 12 + hour,
                    (None, None) => 0,
                    _ => return None,
                };
                date.and_hms_opt(hour, 0, 0)?
            }
        };
        local.and_utc().timestamp_micros().checked_sub(i64::from(self.offset_seconds) * MICROS_PER_SECOND)
    }

    /// The day as written: no offset moves it.
    fn day(&self, text: &str) -> Option<i64> {
        let parsed = self.parsed(text)?;
        let date = match parsed.to_naive_date() {
            Ok(date) => date,
            Err(_) => parsed.to_datetime().ok()?.date_naive(),
        };
        Some(midnight(date))
    }
}

fn midnight(date: NaiveDate) -> i64 {
    NaiveDateTime::from(date).and_utc().timestamp_micros()
}

fn standard_day(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let date = date_part(bytes)?;
    // A time behind the day has to be a time, and the day is the one written.
    (bytes.len() == 10 || standard_micros(text).is_some()).then(|| midnight(date))
}

fn standard_micros(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        return Some(text.parse::<i64>().ok()?.checked_mul(1_000).unwrap_or(i64::MAX));
    }
    let date = date_part(bytes)?;
    if bytes.len() == 10 {
        return Some(midnight(date));
    }
    if !matches!(bytes.get(10)?, b'T' | b't' | b' ') {
        return None;
    }
    let clock = bytes.get(11..)?;
    let (hour, minute) = (two(clock, 0)?, two(clock, 3)?);
    if clock.get(2) != Some(&b':') {
        return None;
    }
    let (second, mut at) = match clock.get(5) {
        Some(b':') => (two(clock, 6)?, 8),
        _ => (0, 5),
    };
    let mut fraction = 0;
    if second_has_fraction(clock, at) {
        let (value, end) = fraction_micros(clock, at + 1)?;
        (fraction, at) = (value, end);
    }
    // A leap second is read as the second after it, as POSIX time does.
    let leap = i64::from(second == 60);
    let time = date.and_hms_opt(hour, minute, if leap == 1 { 59 } else { second })?;
    let offset = match clock.get(at..)? {
        b"" | b"Z" | b"z" | b" UTC" => 0,
        rest => offset_seconds(rest.strip_prefix(b" ").unwrap_or(rest))?,
    };
    let seconds = time.and_utc().timestamp() + leap - i64::from(offset);
    seconds.checked_mul(MICROS_PER_SECOND)?.checked_add(fraction)
}

fn second_has_fraction(clock: &[u8], at: usize) -> bool {
    at == 8 && matches!(clock.get(at), Some(b'.' | b','))
}

fn date_part(bytes: &[u8]) -> Option<NaiveDate> {
    if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    let year = two(bytes, 0)? * 100 + two(bytes, 2)?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, two(bytes, 5)?, two(bytes, 8)?)
}

fn two(bytes: &[u8], at: usize) -> Option<u32> {
    let (tens, ones) = (*bytes.get(at)?, *bytes.get(at + 1)?);
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

/// The microseconds that start at `at`, and where they end.
fn fraction_micros(clock: &[u8], at: usize) -> Option<(i64, usize)> {
    let digits = clock.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let value = (0..6).fold(0, |value, index| {
        let digit = if index < digits { clock.get(at + index).map_or(0, |byte| i64::from(byte - b'0')) } else { 0 };
        value * 10 + digit
    });
    Some((value, at + digits))
}

/// `+08:00`, `+0800`, `+08`, `Z`.
fn offset_seconds(bytes: &[u8]) -> Option<i32> {
    if bytes == b"Z" {
        return Some(0);
    }
    let (sign, rest) = bytes.split_first()?;
    let (hours, minutes) = match (rest.len(), rest.get(2)) {
        (2, _) => (two(rest, 0)?, 0),
        (4, _) => (two(rest, 0)?, two(rest, 2)?),
        (5, Some(b':')) => (two(rest, 0)?, two(rest, 3)?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &str) {
        let micros = TimeReader::standard().micros(text).unwrap();
        assert_eq!(crate::base::Timestamp(micros).to_string(), wanted, "{text}");
    }

    #[test]
    fn reads_the_standard_forms() {
        check("2017-11-07 09:30:38", "2017-11-07T09:30:38.000000Z");
        check("2017-11-07T09:30:38Z", "2017-11-07T09:30:38.000000Z");
        check("2021-03-28T00:47:30+09:00", "2021-03-27T15:47:30.000000Z");
        check("2021-03-28 00:47:30.1234567-0130", "2021-03-28T02:17:30.123456Z");
        check("2021-03-28", "2021-03-28T00:00:00.000000Z");
        check("2021-03-28 05:06", "2021-03-28T05:06:00.000000Z");
        check("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z");
        check("1510047038123", "2017-11-07T09:30:38.123000Z");
        check("-1", "1969-12-31T23:59:59.999000Z");
    }

    #[test]
    fn refuses_what_is_not_a_time() {
        let refused = [
            "",
            "x",
            "2017-13-01",
            "2017-02-30",
            "2017-11-07 24:00:00",
            "2017-11-07 09:60:00",
            "2017-11-07X09:30:38",
            "2017-11-07 09:30:38.",
            "2017-11-07 09:30:38+25:00",
            "2017-11-07 09:30:38 foo",
            "20171107",
            "1510047038123456789",
            "99999999999999999999",
            "0000-01-01",
            "2017-1-7",
            "２０１７",
        ];
        for text in refused {
            // Eight digits are epoch milliseconds: 1970, legal although surely unwanted.
            let read = TimeReader::standard().micros(text);
            assert!(read.is_err() || text == "20171107", "'{text}' was read as {read:?}");
        }
    }

    #[test]
    fn reads_patterns_with_an_offset() {
        let china = TimeReader::pattern("%Y%m%d%H%M%S%3f@+08:00").unwrap();
        let micros = china.micros("20130606000104192").unwrap();
        assert_eq!(crate::base::Timestamp(micros).to_string(), "2013-06-05T16:01:04.192000Z");
        assert!(china.micros("2013-06-06 00:01:04").is_err());
        let seconds = TimeReader::pattern("%s").unwrap();
        assert_eq!(seconds.micros("1510047038"), Ok(1_510_047_038_000_000));
        let zoned = TimeReader::pattern("%d/%m/%Y %H:%M %z").unwrap();
        assert_eq!(zoned.micros("07/11/2017 18:30 +0900"), Ok(1_510_047_000_000_000));
        let day = TimeReader::pattern("%d.%m.%Y").unwrap();
        assert_eq!(day.micros("07.11.2017"), Ok(1_510_012_800_000_000));
        assert_eq!(day.days("02.01.1970"), Ok(1));
        let hour = TimeReader::pattern("%y%m%d%H").unwrap();
        assert_eq!(hour.micros("14102105"), Ok(1_413_867_600_000_000));
    }

    #[test]
    fn refuses_bad_patterns() {
        for text in ["", "abc", "%Q", "%Y@8", "%Y@+99:00"] {
            assert!(TimeReader::pattern(text).is_err(), "'{text}' was accepted");
        }
    }

    #[test]
    fn a_day_is_the_day_written() {
        assert_eq!(TimeReader::standard().days("1970-01-02"), Ok(1));
        assert_eq!(TimeReader::standard().days("1970-01-02T23:00:00-05:00"), Ok(1));
        assert!(TimeReader::standard().days("1970-01-02x").is_err());
    }

    #[test]
    fn the_range_ends_where_it_says() {
        check("0001-01-01", "0001-01-01T00:00:00.000000Z");
        check("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999Z");
        assert!(micros_from_epoch_millis(253_402_300_800_000).is_err());
        assert!(micros_from_epoch_millis(i64::MIN).is_err());
    }
}
