//! `COPY INTO … WITH (…)`: the options as text → a [`LoadRequest`].

use crate::base::suggestion;

use super::{FileFormat, IngestError, LoadRequest};

const OPTIONS: [&str; 6] = ["format", "map", "time_format", "max_rejects", "header", "delimiter"];

impl LoadRequest {
    /// A request with `COPY` options: `format`, `map` (`'src=dst, src2=dst2'`), `time_format`, `max_rejects`, `header`
    /// (`'true'`/`'false'`), `delimiter` (one character, or `\t`).
    ///
    /// # Errors
    /// An unknown option (with the nearest known one) or a value that does not fit.
    pub fn from_options(table: String, from: Vec<String>, options: &[(String, String)]) -> Result<Self, IngestError> {
        let mut request = Self {
            table,
            from,
            format: None,
            map: Vec::new(),
            time_format: None,
            max_rejects: None,
            header: true,
            delimiter: None,
            within: None,
        };
        for (key, value) in options {
            match key.as_str() {
                "format" => request.format = Some(value.parse()?),
                "map" => request.map = parse_map(value)?,
                "time_format" => request.time_format = Some(value.clone()),
                "max_rejects" => {
                    request.max_rejects = Some(value.parse().map_err(|_| bad(key, value, "a whole number"))?);
                }
                "header" => request.header = value.parse().map_err(|_| bad(key, value, "'true' or 'false'"))?,
                "delimiter" => request.delimiter = Some(parse_delimiter(value)?),
                unknown => {
                    let hint = suggestion(unknown, OPTIONS);
                    let known = OPTIONS.join(", ");
                    return Err(invalid(format!("unknown COPY option '{unknown}'{hint}; known options: {known}")));
                }
            }
        }
        Ok(request)
    }
}

impl std::str::FromStr for FileFormat {
    type Err = IngestError;

    fn from_str(text: &str) -> Result<Self, IngestError> {
        match text.to_lowercase().as_str() {
            "parquet" => Ok(Self::Parquet),
            "csv" => Ok(Self::Csv),
            "tsv" => Ok(Self::Tsv),
            "ndjson" | "json" | "jsonl" => Ok(Self::Ndjson),
            other => Err(bad("format", other, "one of parquet, csv, tsv, ndjson")),
        }
    }
}

fn invalid(message: String) -> IngestError {
    IngestError::Invalid { message }
}

fn bad(key: &str, value: &str, wanted: &str) -> IngestError {
    invalid(format!("COPY option {key}: '{value}' is not {wanted}"))
}

fn parse_map(text: &str) -> Result<Vec<(String, String)>, IngestError> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    pairs.map(|pair| parse_map_pair(pair.trim())).collect()
}

/// `src=dst`, as in `--map`.
pub fn parse_map_pair(pair: &str) -> Result<(String, String), IngestError> {
    let (source, target) = pair.split_once('=').ok_or_else(|| bad("map", pair, "of the form source=target"))?;
    Ok((source.trim().to_owned(), target.trim().to_owned()))
}

fn parse_delimiter(text: &str) -> Result<u8, IngestError> {
    match text {
        "\\t" => Ok(b'\t'),
        other if other.len() == 1 => Ok(other.as_bytes()[0]),
        other => Err(bad("delimiter", other, "one ASCII character or \\t")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<LoadRequest, IngestError> {
        let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        LoadRequest::from_options("clicks".to_owned(), vec!["a.csv".to_owned()], &options)
    }

    #[test]
    fn options_become_fields() {
        let request =
            parse(&[("format", "CSV"), ("map", "a=b, c = d"), ("header", "false"), ("delimiter", "\\t")]).unwrap();
        assert_eq!(request.format, Some(FileFormat::Csv));
        assert_eq!(request.map, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())]);
        assert_eq!((request.header, request.delimiter), (false, Some(b'\t')));
    }

    #[test]
    fn wrong_options_are_named() {
        let message = |options: &[(&str, &str)]| parse(options).unwrap_err().to_string();
        assert!(message(&[("fromat", "csv")]).starts_with("unknown COPY option 'fromat'; did you mean 'format'?"));
        assert_eq!(message(&[("max_rejects", "-1")]), "COPY option max_rejects: '-1' is not a whole number");
        assert_eq!(message(&[("map", "a")]), "COPY option map: 'a' is not of the form source=target");
    }
}
