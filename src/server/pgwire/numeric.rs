//! NUMERIC in PostgreSQL's binary form: groups of four decimal digits, exact (`numeric_send` in its `numeric.c`).

use bytes::{Buf, BufMut, BytesMut};

/// Digits of a group.
const GROUP: usize = 4;
const NEGATIVE: u16 = 0x4000;
/// Infinities and "not a number" are above.
const SPECIAL: u16 = 0xC000;

/// Writes a decimal number given as text, such as `-12.50`; `scale` digits are shown behind the point.
pub(super) fn put(text: &str, out: &mut BytesMut) {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (NEGATIVE, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let mut padded = "0".repeat((GROUP - whole.len() % GROUP) % GROUP);
    padded.push_str(whole);
    let groups_before = padded.len() / GROUP;
    padded.push_str(fraction);
    padded.push_str(&"0".repeat((GROUP - fraction.len() % GROUP) % GROUP));
    let groups: Vec<i16> = padded.as_bytes().chunks(GROUP).map(group).collect();
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let end = groups.len() - groups.iter().rev().take_while(|group| **group == 0).count();
    let kept = groups.get(leading..end).unwrap_or_default();
    let weight = match kept.is_empty() {
        true => 0,
        false => i16::try_from(groups_before).unwrap_or(i16::MAX) - i16::try_from(leading).unwrap_or(0) - 1,
    };
    out.put_u16(u16::try_from(kept.len()).unwrap_or(u16::MAX));
    out.put_i16(weight);
    out.put_u16(if kept.is_empty() { 0 } else { sign });
    out.put_u16(u16::try_from(fraction.len()).unwrap_or(u16::MAX));
    kept.iter().for_each(|group| out.put_i16(*group));
}

fn group(digits: &[u8]) -> i16 {
    digits.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))
}

/// The text of a number in binary form; `None` when it is none, or not finite.
pub(super) fn text(mut bytes: &[u8]) -> Option<String> {
    if bytes.len() < 8 {
        return None;
    }
    let count = usize::from(bytes.get_u16());
    let weight = i32::from(bytes.get_i16());
    let sign = bytes.get_u16();
    let scale = usize::from(bytes.get_u16());
    if sign >= SPECIAL || bytes.len() != count * 2 {
        return None;
    }
    let groups: Vec<u16> = (0..count).map(|_| bytes.get_u16()).collect();
    let at = |position: i32| {
        let found = usize::try_from(weight - position).ok().and_then(|index| groups.get(index));
        found.copied().unwrap_or(0)
    };
    if groups.iter().any(|group| *group > 9999) || !(-1_000..=1_000).contains(&weight) || scale > 10_000 {
        return None;
    }
    let mut text = String::new();
    for position in (0..=weight.max(0)).rev() {
        text.push_str(&format!("{:04}", at(position)));
    }
    let whole = text.trim_start_matches('0');
    let mut text = if whole.is_empty() { "0".to_owned() } else { whole.to_owned() };
    if scale > 0 {
        let mut fraction = String::new();
        let mut position = -1;
        while fraction.len() < scale {
            fraction.push_str(&format!("{:04}", at(position)));
            position -= 1;
        }
        fraction.truncate(scale);
        text.push('.');
        text.push_str(&fraction);
    }
    Some(if sign == NEGATIVE { format!("-{text}") } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(number: &str) -> BytesMut {
        let mut out = BytesMut::new();
        put(number, &mut out);
        out
    }

    #[test]
    fn numbers_come_back_as_they_went() {
        for number in [
            "0",
            "0.00",
            "1",
            "-1",
            "12.50",
            "-0.0001",
            "10000",
            "100000000.00000001",
            "9999",
            "0.1",
            "123456789.987654321",
            "99999999999999999999999999999999999999",
            "-12345678901234567890.123456789012345678",
            "0.00001234",
        ] {
            assert_eq!(text(&binary(number)).as_deref(), Some(number));
        }
    }

    #[test]
    fn the_form_is_postgres_own() {
        // SELECT numeric_send(12345.678) = \x0003000100000003 0001 0929 1a7c
        assert_eq!(&binary("12345.678")[..], [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c]);
        assert_eq!(text(&[0, 0, 0, 0, 0xc0, 0, 0, 0]), None, "not a number");
        assert_eq!(text(&[0, 5, 0, 0]), None);
    }
}
