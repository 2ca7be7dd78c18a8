//! What a collector's answer means for the request.
//!
//! In: head, body and trailers of an answer. Out: what was taken, or why not and when to
//! come again. Messages of the collector are not passed on: they may quote what was sent.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use http::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// What the collector took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Items of the request that it refused all the same.
    pub refused: u64,
}

/// Why it did not take a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Later it may.
    #[error("{why}")]
    Unavailable {
        why: String,
        after: Option<Duration>,
    },
    /// It will not as long as nobody changes something there or here: credentials, a path.
    #[error("refused: {0}")]
    Misconfigured(String),
    /// A smaller one it may.
    #[error("too large")]
    TooLarge,
    /// This one it never will.
    #[error("rejected: {0}")]
    Rejected(String),
}

impl Failure {
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable {
            why: why.into(),
            after: None,
        }
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Eq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Span>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Span {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// OTLP/HTTP, "Response".
pub(super) fn of_http(head: &Parts, body: &[u8]) -> Result<Accepted, Failure> {
    match head.status.is_success() {
        true => Ok(accepted(body)),
        false => Err(http_failure(head.status, retry_after(&head.headers))),
    }
}

fn http_failure(status: StatusCode, after: Option<Duration>) -> Failure {
    let why = format!("status {}", status.as_u16());
    match status.as_u16() {
        408 | 429 | 502 | 503 | 504 => Failure::Unavailable { why, after },
        300..=399 | 401 | 403 | 404 | 405 | 407 => Failure::Misconfigured(why),
        413 => Failure::TooLarge,
        _ => Failure::Rejected(why),
    }
}

/// RFC 9110, 10.2.3: a number of seconds, or a date, which is one of the same clock as the
/// answer's.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = headers
        .get(DATE)
        .and_then(date)
        .unwrap_or_else(Timestamp::now);
    let left = date(headers.get(RETRY_AFTER)?)?.duration_since(now);
    Some(left.try_into().unwrap_or_default())
}

fn date(value: &HeaderValue) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new()
        .parse_timestamp(value.to_str().ok()?)
        .ok()
}

/// OTLP/gRPC, "Response".
pub(super) fn of_grpc(
    head: &Parts,
    body: &[u8],
    trailers: &HeaderMap,
) -> Result<Accepted, Failure> {
    // Where there is no message, the head has the status.
    let fields = if head.headers.contains_key(GRPC_STATUS) {
        &head.headers
    } else {
        trailers
    };
    let code = fields.get(GRPC_STATUS).and_then(|c| c.to_str().ok());
    match code.and_then(|code| code.parse::<u16>().ok()) {
        Some(0) => Ok(accepted(body.get(5..).unwrap_or_default())),
        Some(code) => Err(grpc_failure(code, fields)),
        None if head.status.is_success() => Err(Failure::unavailable("no gRPC status")),
        None => Err(http_failure(head.status, retry_after(&head.headers))),
    }
}

/// Codes of gRPC as OTLP tells to treat them.
fn grpc_failure(code: u16, fields: &HeaderMap) -> Failure {
    let why = format!("gRPC status {code}");
    let throttled = retry_info(fields);
    match code {
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
        1 | 4 | 10 | 11 | 14 | 15 => Failure::Unavailable {
            why,
            after: throttled.flatten(),
        },
        // RESOURCE_EXHAUSTED: busy where it says when to come again, else too large
        8 => match throttled {
            Some(after) => Failure::Unavailable { why, after },
            None => Failure::TooLarge,
        },
        // NOT_FOUND, PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED
        5 | 7 | 12 | 16 => Failure::Misconfigured(why),
        _ => Failure::Rejected(why),
    }
}

/// The `google.rpc.RetryInfo` of a status, if it has one: when to come again, if it says so.
fn retry_info(fields: &HeaderMap) -> Option<Option<Duration>> {
    let details = fields.get(GRPC_DETAILS)?.as_bytes();
    let status = BASE64_STANDARD
        .decode(details)
        .or_else(|_| BASE64_STANDARD_NO_PAD.decode(details));
    let status = Status::decode(&*status.ok()?).ok()?;
    let mut details = status.details.iter();
    let info = details.find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value)
        .ok()
        .and_then(|info| info.delay);
    let delay = delay.map(|Span { seconds, nanos }| {
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        seconds.saturating_add(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or_default(),
        ))
    });
    Some(delay)
}

/// The response has the same shape for every signal.
fn accepted(body: &[u8]) -> Accepted {
    let partial = ExportTraceServiceResponse::decode(body)
        .ok()
        .and_then(|response| response.partial_success);
    let refused = partial.map_or(0, |partial| partial.rejected_spans);
    Accepted {
        refused: u64::try_from(refused).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(failure: &Failure) -> Option<u64> {
        match failure {
            Failure::Unavailable { after, .. } => after.map(|after| after.as_secs()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_status_means_for_the_request() {
        let of_http = |status| http_failure(StatusCode::from_u16(status).unwrap(), None);
        for status in [429, 502, 503, 504] {
            assert!(matches!(of_http(status), Failure::Unavailable { .. }));
        }
        for status in [401, 403, 404] {
            assert!(matches!(of_http(status), Failure::Misconfigured(_)));
        }
        assert_eq!(of_http(413), Failure::TooLarge);
        for status in [400, 500] {
            assert!(matches!(of_http(status), Failure::Rejected(_)));
        }
        let of_grpc = |code| grpc_failure(code, &HeaderMap::new());
        assert!(matches!(of_grpc(14), Failure::Unavailable { .. }));
        assert!(matches!(of_grpc(16), Failure::Misconfigured(_)));
        assert!(matches!(of_grpc(3), Failure::Rejected(_)));
        assert_eq!(of_grpc(8), Failure::TooLarge);
    }

    #[test]
    fn a_busy_collector_says_when_to_come_again() {
        let details = |delay: Option<Span>| {
            let status = Status {
                details: vec![Any {
                    type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
                    value: RetryInfo { delay }.encode_to_vec(),
                }],
            };
            let mut fields = HeaderMap::new();
            let text = BASE64_STANDARD_NO_PAD.encode(status.encode_to_vec());
            fields.insert(GRPC_DETAILS, text.parse().unwrap());
            fields
        };
        let delay = Span {
            seconds: 7,
            nanos: 500_000_000,
        };
        for code in [8, 14] {
            let failure = grpc_failure(code, &details(Some(delay)));
            assert_eq!(seconds(&failure), Some(7), "{code}");
        }
        assert_eq!(seconds(&grpc_failure(8, &details(None))), None);
        let mut broken = HeaderMap::new();
        broken.insert(GRPC_DETAILS, "!".parse().unwrap());
        assert_eq!(grpc_failure(8, &broken), Failure::TooLarge);
    }

    #[test]
    fn partial_success_is_read_from_the_response() {
        // partial_success { rejected_spans: 3 }
        assert_eq!(accepted(&[0x0a, 2, 8, 3]).refused, 3);
        assert_eq!(accepted(&[]).refused, 0);
        assert_eq!(accepted(b"<html>").refused, 0);
    }

    #[test]
    fn when_to_come_again_is_a_number_or_a_date() {
        let mut fields = HeaderMap::new();
        fields.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&fields), Some(Duration::from_secs(7)));
        let time = |text: &str| text.parse::<HeaderValue>().unwrap();
        fields.insert(RETRY_AFTER, time("Wed, 21 Oct 2026 07:28:00 GMT"));
        fields.insert(DATE, time("Wed, 21 Oct 2026 07:26:30 GMT"));
        assert_eq!(retry_after(&fields), Some(Duration::from_secs(90)));
        fields.insert(DATE, time("Wed, 21 Oct 2026 07:30:00 GMT"));
        assert_eq!(retry_after(&fields), Some(Duration::ZERO));
        fields.insert(RETRY_AFTER, time("tomorrow"));
        assert_eq!(retry_after(&fields), None);
    }
}
