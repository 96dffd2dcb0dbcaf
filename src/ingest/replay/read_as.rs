//! How a rejected row's file was read, beside the row: stored as JSON, pinned by a test.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The form this code writes, and the newest it reads.
const FORM: u32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAs {
    form: u32,
    /// (column of the file, column of the table).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_format: Option<String>,
    /// Names of a CSV file's columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub header: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
}

impl ReadAs {
    pub fn new(map: Vec<(String, String)>, time_format: Option<String>) -> Self {
        Self { form: FORM, map, time_format, header: Vec::new(), delimiter: None }
    }

    pub fn with_header(self, names: &[String], delimiter: u8) -> Self {
        Self { header: names.to_vec(), delimiter: Some(char::from(delimiter)), ..self }
    }

    /// As the rejects table has it; `None` when there is nothing to say.
    pub fn stored(&self) -> Option<Arc<str>> {
        if self.map.is_empty() && self.time_format.is_none() && self.header.is_empty() {
            return None;
        }
        serde_json::to_string(self).ok().map(Into::into)
    }

    /// # Errors
    /// The end of a sentence about a row.
    pub fn read(stored: Option<&str>) -> Result<Self, String> {
        let Some(text) = stored else { return Ok(Self::new(Vec::new(), None)) };
        let read: Self = serde_json::from_str(text).map_err(|error| format!("has a damaged read_as: {error}"))?;
        match read.form {
            FORM => Ok(read),
            newer => Err(format!("was kept in form {newer}, this program knows {FORM}; use a newer program")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_pinned() {
        let read_as = ReadAs::new(vec![("a".to_owned(), "b".to_owned())], Some("%Y".to_owned()));
        let read_as = read_as.with_header(&["a".to_owned(), "c".to_owned()], b';');
        let text = r#"{"form":1,"map":[["a","b"]],"time_format":"%Y","header":["a","c"],"delimiter":";"}"#;
        assert_eq!(read_as.stored().unwrap().as_ref(), text);
        assert_eq!(ReadAs::read(Some(text)), Ok(read_as));
    }

    #[test]
    fn nothing_to_say_is_nothing_stored() {
        let plain = ReadAs::new(Vec::new(), None);
        assert_eq!((plain.stored(), ReadAs::read(None)), (None, Ok(plain)));
        assert!(ReadAs::read(Some(r#"{"form":2}"#)).unwrap_err().contains("form 2"));
        assert!(ReadAs::read(Some("{")).unwrap_err().contains("damaged"));
    }
}
