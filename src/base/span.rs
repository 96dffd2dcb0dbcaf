//! Lengths of time as users write them: `7 days`, `5 minutes`, `30s`, `500ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time, parsed from text with a unit. A bare number is refused: its unit would be a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

const UNITS: [(&[&str], u64); 7] = [
    (&["us", "microsecond", "microseconds"], 1),
    (&["ms", "millisecond", "milliseconds"], 1_000),
    (&["s", "sec", "second", "seconds"], 1_000_000),
    (&["m", "min", "minute", "minutes"], 60_000_000),
    (&["h", "hour", "hours"], 3_600_000_000),
    (&["d", "day", "days"], 86_400_000_000),
    (&["w", "week", "weeks"], 604_800_000_000),
];

impl Span {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is not a length of time; write a number and a unit, such as '7 days', '5 minutes' or '30s'"
            )
        };
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.trim().to_lowercase();
        let (_, micros) = UNITS.iter().find(|(names, _)| names.contains(&unit.as_str())).ok_or_else(wrong)?;
        let total = number.checked_mul(*micros).ok_or_else(|| format!("'{text}' is too long a time"))?;
        Ok(Self(Duration::from_micros(total)))
    }
}

/// The largest unit that divides the length exactly: `7 days`, `90 seconds`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        let names = ["microsecond", "millisecond", "second", "minute", "hour", "day"];
        let (name, unit) = names
            .iter()
            .zip(UNITS.iter().map(|(_, micros)| *micros))
            .rfind(|(_, micros)| total >= *micros && total.is_multiple_of(*micros))
            .unwrap_or((&"second", 1_000_000));
        let count = total / unit;
        write!(f, "{count} {name}{}", if count == 1 { "" } else { "s" })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_users_write_and_prints_it_back() {
        for (text, printed) in [
            ("7 days", "7 days"),
            ("30s", "30 seconds"),
            ("1 hour", "1 hour"),
            ("500ms", "500 milliseconds"),
            ("120 m", "2 hours"),
            ("0 s", "0 seconds"),
        ] {
            assert_eq!(text.parse::<Span>().map(|span| span.to_string()), Ok(printed.to_owned()));
        }
    }

    #[test]
    fn refuses_numbers_without_unit() {
        for text in ["", "7", "days", "1 fortnight", "-1 s", "99999999999999 w"] {
            assert!(text.parse::<Span>().is_err(), "{text} was accepted");
        }
    }
}
