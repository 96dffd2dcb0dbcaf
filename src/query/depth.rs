//! Refuses texts whose expressions would be nested deeper than a stack holds.
//!
//! `1 + 1 + 1 …` is a tree as deep as it has operators, and freeing or copying such a tree is recursive whatever the parser
//! does. Operators are therefore counted before anything is parsed. A comma ends a chain, so long lists of values or
//! columns are not affected.

use super::QueryError;
use super::placeholders::{Part, pieces};

/// Operators in one chain. A level needs up to some hundred bytes of stack in each of several recursive passes; see
/// `runtime::STACK_BYTES`.
const OPERATORS_MAX: usize = 6_000;

/// Words that chain what they stand between.
const WORDS: [&str; 7] = ["and", "or", "not", "union", "except", "intersect", "join"];

/// # Errors
/// `Invalid`, with what to write instead.
pub(super) fn check_depth(sql: &str) -> Result<(), QueryError> {
    if sql.len() <= OPERATORS_MAX || deepest_chain(sql) <= OPERATORS_MAX {
        return Ok(());
    }
    Err(QueryError::Invalid {
        message: format!("more than {OPERATORS_MAX} operators in one expression; use IN (…) or a join with VALUES"),
    })
}

/// An upper bound of the depth of the expressions in a text.
fn deepest_chain(sql: &str) -> usize {
    let mut levels = Levels(vec![Level::default()]);
    for (part, piece) in pieces(sql) {
        if matches!(part, Part::Code) {
            levels.read(piece.as_bytes());
        }
    }
    while levels.0.len() > 1 {
        levels.close();
    }
    levels.0.first().map_or(0, Level::depth)
}

/// What is known inside one pair of parentheses.
#[derive(Default)]
struct Level {
    /// Operators since the last comma.
    operators: usize,
    /// The deepest operand since the last comma.
    operand: usize,
    /// The deepest item before the last comma.
    item: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.item.max(self.operators + self.operand)
    }
}

/// One level per open parenthesis, outermost first; never empty.
struct Levels(Vec<Level>);

impl Levels {
    fn read(&mut self, code: &[u8]) {
        let mut at = 0;
        while at < code.len() {
            let length = code[at..].iter().take_while(|byte| is_of_word(**byte)).count();
            if length > 0 {
                let word = &code[at..at + length];
                if WORDS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word)) {
                    self.count();
                }
                at += length;
            } else {
                self.symbol(code[at]);
                at += 1;
            }
        }
    }

    fn symbol(&mut self, symbol: u8) {
        match symbol {
            b'(' => self.0.push(Level::default()),
            b'[' => {
                self.count();
                self.0.push(Level::default());
            }
            b')' | b']' => self.close(),
            b',' | b';' => {
                if let Some(level) = self.0.last_mut() {
                    *level = Level { item: level.depth(), ..Level::default() };
                }
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'|' | b'&' | b'^' | b'#' | b'~' | b':' | b'=' | b'<' | b'>' => {
                self.count();
            }
            _ => {}
        }
    }

    fn count(&mut self) {
        if let Some(level) = self.0.last_mut() {
            level.operators += 1;
        }
    }

    /// Ends a level; what was in it is an operand of the level around it. A parenthesis too many is the parser's business.
    fn close(&mut self) {
        if self.0.len() < 2 {
            return;
        }
        let Some(inner) = self.0.pop() else { return };
        if let Some(outer) = self.0.last_mut() {
            outer.operand = outer.operand.max(inner.depth());
        }
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_counted_across_parentheses() {
        assert_eq!(deepest_chain("1+1+1"), 2);
        assert_eq!(deepest_chain("f(a, b) + f(a, b) + f(a, b)"), 2);
        assert_eq!(deepest_chain("(a = 1 AND b = 2) OR (a = 1 AND b = 2)"), 4);
        assert_eq!(deepest_chain("((1+1)+1)+1"), 3);
        assert_eq!(deepest_chain("x[1][2]::text"), 4);
    }

    #[test]
    fn lists_and_quoted_text_are_no_chains() {
        assert_eq!(deepest_chain("VALUES (-1, -2), (-3, -4)"), 1);
        assert_eq!(deepest_chain("'1+1+1' || \"a+b\" -- + + +"), 2);
        assert_eq!(deepest_chain("order_or_and, orders"), 0);
        assert_eq!(deepest_chain(")]"), 0);
    }

    #[test]
    fn only_very_long_chains_are_refused() {
        assert!(check_depth(&format!("SELECT 1{}", "+1".repeat(5_000))).is_ok());
        assert!(check_depth(&format!("SELECT 1{}", "+1".repeat(7_000))).is_err());
        assert!(check_depth(&format!("VALUES (1){}", ", (-1)".repeat(20_000))).is_ok());
    }
}
