//! Shares as users write them: `1%`, `0.05%`, `100%`.

use std::fmt;
use std::str::FromStr;

/// Parts of a percent that can be told apart, in a percent.
const THOUSANDTHS: u32 = 1_000;

/// A share of something, more than nothing and at most all of it, in thousandths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

impl Percent {
    /// More than 0, at most 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(100 * THOUSANDTHS)
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a share; write a percentage, such as '1%' or '0.05%', up to '100%'");
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |digits: &str| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        if !is_digits(whole) || !is_digits(decimals) || decimals.len() > 3 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let decimals: u32 = format!("{decimals:0<3}").parse().map_err(|_| wrong())?;
        let share = whole.checked_mul(THOUSANDTHS).and_then(|share| share.checked_add(decimals)).ok_or_else(wrong)?;
        if (1..=100 * THOUSANDTHS).contains(&share) { Ok(Self(share)) } else { Err(wrong()) }
    }
}

/// With as few decimals as it needs: `1%`, `0.05%`.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:03}", self.0 % THOUSANDTHS);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{}{point}{decimals}%", self.0 / THOUSANDTHS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_users_write_and_prints_it_back() {
        for (text, printed) in [("1%", "1%"), (" 0.05 %", "0.05%"), ("100%", "100%"), ("12.500%", "12.5%")] {
            assert_eq!(text.parse::<Percent>().map(|share| share.to_string()), Ok(printed.to_owned()));
        }
        assert!(("25%".parse::<Percent>().unwrap().fraction() - 0.25).abs() < f64::EPSILON);
    }

    #[test]
    fn refuses_what_is_no_share() {
        for text in ["", "1", "%", "0%", "0.000%", "100.001%", "101%", "-1%", "1.%", ".5%", "0.0001%", "99999999999%"] {
            assert!(text.parse::<Percent>().is_err(), "{text} was accepted");
        }
    }
}
