//! The text of a statement without any value: what may be kept of it for long.

use super::placeholders::{Part, pieces};

/// Strings and numbers become `?`, comments go, white space is one blank; names stay. Whatever is left open at the end is
/// taken for a string.
pub(super) fn shape(sql: &str) -> String {
    let mut shape = String::with_capacity(sql.len());
    for (part, piece) in pieces(sql) {
        match part {
            Part::Code => code(piece, &mut shape),
            Part::Quoted if is_name(piece) => shape.push_str(piece),
            Part::Quoted if piece.starts_with("--") || piece.starts_with("/*") => blank(&mut shape),
            Part::Quoted => shape.push('?'),
        }
    }
    shape.truncate(shape.trim_end().len());
    shape
}

/// A quoted name that is closed.
fn is_name(piece: &str) -> bool {
    ['"', '`'].iter().any(|quote| piece.len() > 1 && piece.starts_with(*quote) && piece.ends_with(*quote))
}

fn code(piece: &str, shape: &mut String) {
    let mut rest = piece.chars().peekable();
    // Digits in a name, such as `t1`, are no number.
    let mut in_name = shape.ends_with(is_part);
    while let Some(next) = rest.next() {
        if next.is_whitespace() {
            blank(shape);
            in_name = false;
        } else if next.is_ascii_digit() && !in_name {
            while rest.next_if(|c| is_part(*c) || *c == '.').is_some() {}
            shape.push('?');
        } else {
            shape.push(next);
            in_name = is_part(next);
        }
    }
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn blank(shape: &mut String) {
    if !shape.is_empty() && !shape.ends_with(' ') {
        shape.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_go_and_names_stay() {
        for (sql, expected) in [
            (
                "SELECT a1, \"B 2\" FROM t2 WHERE x = 'secret' AND y > 42",
                "SELECT a1, \"B 2\" FROM t2 WHERE x = ? AND y > ?",
            ),
            ("SELECT 1.5e10, -7, .5, 0xFF, $1, ?", "SELECT ?, -?, .?, ?, $1, ?"),
            ("  SELECT\n\t1 -- a secret\n , 2 /* another */ ; ", "SELECT ? , ? ;"),
            ("SELECT 'it''s', $$a$$, $t$ b $t$, E'c', x'ab'", "SELECT ?, ?, ?, E?, x?"),
            ("SELECT 'left open", "SELECT ?"),
            ("SELECT \"left open", "SELECT ?"),
            ("CREATE USER ann PASSWORD 'pw' ROLE analyst", "CREATE USER ann PASSWORD ? ROLE analyst"),
            ("", ""),
        ] {
            assert_eq!(shape(sql), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn no_string_and_no_number_is_left(before in "[a-z ]{0,8}", value in "[g-z]{4,12}", number in 1000_u32..) {
            let sql = format!("SELECT {before} '{value}' , {number} FROM t WHERE a = '{value}");
            let shape = shape(&sql);
            prop_assert!(!shape.contains(&number.to_string()), "{shape}");
            prop_assert!(before.contains(&value) || !shape.contains(&format!("{value}'")), "{shape}");
        }

        #[test]
        fn any_text_has_a_shape(sql in ".{0,80}") {
            let _ = shape(&sql);
        }
    }
}
