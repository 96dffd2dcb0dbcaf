//! Number text → exact decimal. No floating point anywhere: `0.1` is one tenth.

/// Digits a 128-bit decimal can hold.
const DIGITS_MAX: usize = 38;

/// A number as written: `±digits × 10^exponent`, without trailing zeros in `digits`.
struct Number {
    negative: bool,
    digits: String,
    exponent: i64,
}

/// Why a number is not a whole one that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotWhole {
    NotANumber,
    Fraction,
    TooLarge,
}

/// The unscaled value of `text` as DECIMAL(precision, scale).
///
/// # Errors
/// When `text` is not a number, has more digits behind the point than `scale` keeps (nothing is rounded), or is too large.
pub fn read(text: &str, precision: u8, scale: i8) -> Result<i128, String> {
    let number = Number::read(text).ok_or_else(|| format!("{} is not a decimal number", super::value::shown(text)))?;
    let scaled = number.times_ten_to(i64::from(scale)).map_err(|wrong| match wrong {
        NotWhole::Fraction | NotWhole::NotANumber => {
            format!("{} has more than {scale} digits behind the point", super::value::shown(text))
        }
        NotWhole::TooLarge => too_large(text, precision, scale),
    })?;
    match 10_i128.checked_pow(u32::from(precision)) {
        Some(limit) if scaled.abs() >= limit => Err(too_large(text, precision, scale)),
        _ => Ok(scaled),
    }
}

/// The whole number `text` stands for, such as `1e3` or `7.0`.
pub fn read_whole(text: &str) -> Result<i128, NotWhole> {
    Number::read(text).ok_or(NotWhole::NotANumber)?.times_ten_to(0)
}

fn too_large(text: &str, precision: u8, scale: i8) -> String {
    format!("{} is out of range for DECIMAL({precision}, {scale})", super::value::shown(text))
}

impl Number {
    fn read(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let mut exponent = match exponent {
            Some(text) => read_exponent(text)?,
            None => 0,
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let mut digits = String::with_capacity(mantissa.len());
        digits.push_str(whole);
        digits.push_str(fraction);
        exponent -= i64::try_from(fraction.len()).ok()?;
        let kept = digits.trim_end_matches('0').len();
        exponent += i64::try_from(digits.len() - kept).ok()?;
        digits.truncate(kept);
        Some(Self { negative, digits: digits.trim_start_matches('0').to_owned(), exponent })
    }

    /// This number × 10^`power`, which has to be whole.
    fn times_ten_to(&self, power: i64) -> Result<i128, NotWhole> {
        if self.digits.is_empty() {
            return Ok(0);
        }
        let zeros = self.exponent + power;
        if zeros < 0 {
            return Err(NotWhole::Fraction);
        }
        let zeros = u32::try_from(zeros).map_err(|_| NotWhole::TooLarge)?;
        if self.digits.len() > DIGITS_MAX {
            return Err(NotWhole::TooLarge);
        }
        let unsigned: i128 = self.digits.parse().map_err(|_| NotWhole::TooLarge)?;
        let factor = 10_i128.checked_pow(zeros).ok_or(NotWhole::TooLarge)?;
        let value = unsigned.checked_mul(factor).ok_or(NotWhole::TooLarge)?;
        Ok(if self.negative { -value } else { value })
    }
}

/// Exponents beyond any use are cut, so that sums of them cannot overflow.
fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000_000);
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, wanted) in [
            ("0.1", 10),
            ("-0.10", -10),
            ("1", 100),
            (".5", 50),
            ("5.", 500),
            ("1e-2", 1),
            ("1.50000000000000000000000000000000000000000000000000", 150),
            ("0e999999999999", 0),
            ("123456789012.34", 12_345_678_901_234),
        ] {
            assert_eq!(read(text, 18, 2), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn nothing_is_rounded_and_nothing_wraps() {
        assert_eq!(read("0.125", 18, 2), Err("'0.125' has more than 2 digits behind the point".to_owned()));
        assert_eq!(read("1000", 5, 2), Err("'1000' is out of range for DECIMAL(5, 2)".to_owned()));
        assert_eq!(read("999.99", 5, 2), Ok(99_999));
        assert_eq!(
            read("99999999999999999999999999999999999999", 38, 0),
            Ok(99_999_999_999_999_999_999_999_999_999_999_999_999)
        );
        for text in ["1e38", "1e99999999999999999999", "999999999999999999999999999999999999999"] {
            assert!(read(text, 38, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_number() {
        for text in ["", "-", ".", "e1", "1e", "1e+", "--1", "1.2.3", "0x10", "1_000", "1,5", "NaN", "∞"] {
            assert!(read(text, 38, 2).is_err(), "'{text}' was accepted");
        }
    }
}
