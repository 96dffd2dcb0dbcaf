//! `adlake.result_endpoints`: by how many endpoints a client wants to fetch a large result at once, where a protocol has such a thing
//! (Flight). A setting of the session, because only its client knows whether it reads several at a time.

use std::fmt;

use super::{QueryError, Session};

/// The setting's name.
pub const RESULT_ENDPOINTS: &str = "adlake.result_endpoints";

/// The largest value: each endpoint keeps messages of its own in memory.
const MOST: u32 = 64;

/// From 1, the default, to [`MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultEndpoints(u32);

impl Default for ResultEndpoints {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for ResultEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResultEndpoints {
    /// Reads a value of the setting.
    ///
    /// # Errors
    /// No number, or one that is too small or too large.
    pub fn read(text: &str) -> Result<Self, QueryError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("default") {
            return Ok(Self::default());
        }
        let count = text.parse::<u32>().ok().filter(|count| (1..=MOST).contains(count));
        count.map(Self).ok_or_else(|| QueryError::Invalid {
            message: format!("{RESULT_ENDPOINTS} is a number from 1 to {MOST}, not '{text}'"),
        })
    }

    pub fn count(self) -> u32 {
        self.0
    }

    /// What a session has set.
    pub fn of(session: &Session) -> Self {
        session.get(RESULT_ENDPOINTS).and_then(|text| Self::read(&text).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for count in [1, 2, 64] {
            assert_eq!(ResultEndpoints::read(&ResultEndpoints(count).to_string()).unwrap().count(), count);
        }
        assert_eq!(ResultEndpoints::read(" Default ").unwrap(), ResultEndpoints::default());
        for wrong in ["0", "65", "-1", "1.5", "many", ""] {
            let refused = ResultEndpoints::read(wrong).unwrap_err().to_string();
            assert_eq!(refused, format!("adlake.result_endpoints is a number from 1 to 64, not '{wrong}'"));
        }
    }
}
