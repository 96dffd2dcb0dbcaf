//! Bytes of an `AppendRequest` → what ingest is asked. Runs on a CPU thread.

use bytes::Bytes;
use prost::Message;

use super::messages::append_request::Payload as Sent;
use super::messages::{AppendRequest as Request, OnBadRow as Wish};
use crate::ingest::{AppendRequest, OnBadRow, Payload, Producer};
use crate::server::arrow_payload::read_stream;
use crate::server::error::Fault;

/// The request's number, as far as it can be read, for the answer.
pub fn request_id(bytes: &Bytes) -> u64 {
    /// Only the number; everything else is skipped.
    #[derive(Clone, PartialEq, Message)]
    struct Numbered {
        #[prost(uint64, tag = "5")]
        request_id: u64,
    }
    let mut numbered = Numbered::default();
    // A cut message still gives the fields before the cut.
    let _cut = numbered.merge(&bytes[..]);
    numbered.request_id
}

/// # Errors
/// A truncated or malformed message, a missing table or payload, a bad producer: all INVALID_ARGUMENT.
pub fn request(bytes: Bytes, plain_bytes_max: usize) -> Result<AppendRequest, Fault> {
    let request =
        Request::decode(bytes).map_err(|error| Fault::invalid(format!("cannot read the AppendRequest: {error}")))?;
    let on_bad_row = wish(&request)?;
    let Request { table, producer_id, sequence, payload, .. } = request;
    if table.is_empty() {
        return Err(Fault::invalid("AppendRequest.table is empty; name the table the rows are for"));
    }
    let producer = match producer_id.is_empty() {
        true => None,
        false => Some(Producer::new(&producer_id, sequence).map_err(|error| Fault::from(&error))?),
    };
    let payload = match payload {
        None => {
            let wanted = "impressions, clicks, conversions, arrow_ipc or ndjson";
            return Err(Fault::invalid(format!("AppendRequest.payload is not set; send one of {wanted}")));
        }
        Some(Sent::Ndjson(lines)) => Payload::Ndjson(lines),
        Some(Sent::ArrowIpc(stream)) => Payload::Arrow(read_stream(stream, plain_bytes_max).map_err(Fault::invalid)?),
        Some(Sent::Impressions(rows)) => Payload::Arrow(vec![rows.into_batch().map_err(Fault::invalid)?]),
        Some(Sent::Clicks(rows)) => Payload::Arrow(vec![rows.into_batch().map_err(Fault::invalid)?]),
        Some(Sent::Conversions(rows)) => Payload::Arrow(vec![rows.into_batch().map_err(Fault::invalid)?]),
    };
    Ok(AppendRequest { table, payload, producer, on_bad_row, source: "grpc" })
}

fn wish(request: &Request) -> Result<Option<OnBadRow>, Fault> {
    let number = request.on_bad_row;
    match Wish::try_from(number) {
        Ok(Wish::Unspecified) => Ok(None),
        Ok(Wish::Reject) => Ok(Some(OnBadRow::Reject)),
        Ok(Wish::Fail) => Ok(Some(OnBadRow::Fail)),
        Err(_) => Err(Fault::invalid(format!("AppendRequest.on_bad_row is {number}; it is 0, 1 (reject) or 2 (fail)"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(request: &Request) -> Bytes {
        request.encode_to_vec().into()
    }

    fn ndjson() -> Request {
        let payload = Some(Sent::Ndjson(Bytes::from_static(b"{}")));
        Request { table: "t".into(), request_id: 7, payload, ..Request::default() }
    }

    fn refused(request: &Request, says: &str) {
        let fault = super::request(encoded(request), 1 << 20).unwrap_err();
        assert!(fault.message.contains(says), "{}", fault.message);
    }

    #[test]
    fn what_is_sent_is_what_is_asked() {
        let sent = Request { producer_id: "p".into(), sequence: 3, on_bad_row: 2, ..ndjson() };
        let asked = super::request(encoded(&sent), 1 << 20).unwrap();
        assert_eq!((asked.table.as_str(), asked.on_bad_row), ("t", Some(OnBadRow::Fail)));
        assert_eq!(asked.producer, Some(Producer { id: "p".into(), sequence: 3 }));
        assert!(matches!(asked.payload, Payload::Ndjson(lines) if lines == "{}"));
    }

    #[test]
    fn incomplete_requests_are_refused_by_name() {
        refused(&Request { table: String::new(), ..ndjson() }, "table is empty");
        refused(&Request { payload: None, ..ndjson() }, "payload is not set");
        refused(&Request { on_bad_row: 9, ..ndjson() }, "on_bad_row is 9");
        refused(&Request { producer_id: "p".into(), sequence: -1, ..ndjson() }, "sequence is -1");
    }

    #[test]
    fn a_cut_request_keeps_its_number() {
        let whole = encoded(&ndjson());
        let cut = whole.slice(..whole.len() - 1);
        assert!(super::request(cut.clone(), 1 << 20).unwrap_err().message.contains("cannot read the AppendRequest"));
        assert_eq!(request_id(&cut), 7);
        assert_eq!(request_id(&Bytes::from_static(b"\xff")), 0);
    }
}
