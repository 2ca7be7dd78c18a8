//! One request to a collector.
//!
//! In: an encoded export request. Out: whether it was taken, and if not, what that means
//! for it. Must not know: spans. Messages of the collector are not passed on: they may
//! quote what was sent.
//!
//! OTLP is one request in two dresses: a POST of protobuf, and the same as a unary gRPC
//! call: HTTP/2, five bytes before the message, the status in the trailers. Both go
//! through one HTTP client.

use std::io::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, TE, USER_AGENT,
};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use super::tls::{Identity, TlsError};

/// How requests are dressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Grpc,
    Http,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    None,
    #[default]
    Gzip,
}

/// Where requests go, and how.
#[derive(Clone, Debug)]
pub struct Destination {
    /// All of it, with the path.
    pub uri: Uri,
    pub protocol: Protocol,
    pub compression: Compression,
    pub headers: HeaderMap,
    pub timeout: Duration,
    pub identity: Identity,
}

/// Sends export requests to one destination.
#[derive(Debug)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    destination: Destination,
}

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

/// An answer is a few bytes; a long one is not from a collector.
const MAX_ANSWER: usize = 1 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

impl Client {
    pub fn new(destination: Destination) -> Result<Self, TlsError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(destination.identity.config()?)
            .https_or_http();
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        let http = match destination.protocol {
            Protocol::Http => builder.build(connector.enable_http1().build()),
            Protocol::Grpc => builder
                .http2_only(true)
                .timer(TokioTimer::new())
                .http2_keep_alive_interval(KEEP_ALIVE)
                .build(connector.enable_http2().build()),
        };
        Ok(Self { http, destination })
    }

    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Sends one encoded export request.
    pub async fn post(&self, message: Vec<u8>) -> Result<Accepted, Failure> {
        let exchange = async {
            let request = self.destination.request(message);
            let response = self.http.request(request).await.map_err(unreachable)?;
            match self.destination.protocol {
                Protocol::Http => http_answer(response).await,
                Protocol::Grpc => grpc_answer(response).await,
            }
        };
        match tokio::time::timeout(self.destination.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(unavailable("no answer in time")),
        }
    }
}

impl Destination {
    fn request(&self, message: Vec<u8>) -> Request<Full<Bytes>> {
        let is_coded = self.compression == Compression::Gzip;
        let message = if is_coded { gzip(&message) } else { message };
        let mut headers = self.headers.clone();
        let agent = concat!("llmtap/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let body = match self.protocol {
            Protocol::Http => {
                let protobuf = HeaderValue::from_static("application/x-protobuf");
                headers.insert(CONTENT_TYPE, protobuf);
                if is_coded {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                message
            }
            Protocol::Grpc => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(TE, HeaderValue::from_static("trailers"));
                if is_coded {
                    headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
                }
                prefixed(&message, is_coded)
            }
        };
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }
}

/// gRPC over HTTP/2, `Length-Prefixed-Message`.
fn prefixed(message: &[u8], is_coded: bool) -> Vec<u8> {
    // Longer ones no collector takes; they end as too large.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.push(u8::from(is_coded));
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 4), Level::fast());
    let written = encoder.write_all(message).and_then(|()| encoder.finish());
    written.expect("invariant: memory takes all that is written to it")
}

fn unavailable(why: impl Into<String>) -> Failure {
    Failure::Unavailable {
        why: why.into(),
        after: None,
    }
}

/// The error and its causes: names of hosts and of system errors, no content.
fn unreachable(error: legacy::Error) -> Failure {
    let mut why = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        if !why.is_empty() {
            why.push_str(": ");
        }
        why.push_str(&error.to_string());
        cause = error.source();
    }
    unavailable(why)
}

async fn body_and_trailers(response: Response<Incoming>) -> Result<(Bytes, HeaderMap), Failure> {
    let body = Limited::new(response.into_body(), MAX_ANSWER);
    let collected = body
        .collect()
        .await
        .map_err(|_| unavailable("the answer broke off"))?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok((collected.to_bytes(), trailers))
}

/// OTLP/HTTP, "Response".
async fn http_answer(response: Response<Incoming>) -> Result<Accepted, Failure> {
    let status = response.status();
    let after = retry_after(response.headers());
    let (body, _) = body_and_trailers(response).await?;
    match status.is_success() {
        true => Ok(accepted(&body)),
        false => Err(http_failure(status, after)),
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

/// RFC 9110, 10.2.3; of its two forms the number of seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// OTLP/gRPC, "Response".
async fn grpc_answer(response: Response<Incoming>) -> Result<Accepted, Failure> {
    let (status, head) = (response.status(), response.headers().clone());
    let (body, trailers) = body_and_trailers(response).await?;
    // Where there is no message, the head has the status.
    let fields = if head.contains_key(GRPC_STATUS) {
        &head
    } else {
        &trailers
    };
    let code = fields.get(GRPC_STATUS).and_then(|c| c.to_str().ok());
    match code.and_then(|code| code.parse::<u16>().ok()) {
        Some(0) => Ok(accepted(body.get(5..).unwrap_or_default())),
        Some(code) => Err(grpc_failure(code, fields)),
        None if status.is_success() => Err(unavailable("no gRPC status")),
        None => Err(http_failure(status, retry_after(&head))),
    }
}

/// Codes of gRPC as OTLP tells to treat them.
fn grpc_failure(code: u16, fields: &HeaderMap) -> Failure {
    let why = format!("gRPC status {code}");
    match code {
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
        1 | 4 | 10 | 11 | 14 | 15 => unavailable(why),
        // RESOURCE_EXHAUSTED: busy where it says when to come again, else too large
        8 if asks_to_retry(fields) => unavailable(why),
        8 => Failure::TooLarge,
        // NOT_FOUND, PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED
        5 | 7 | 12 | 16 => Failure::Misconfigured(why),
        _ => Failure::Rejected(why),
    }
}

/// Whether the status has a `google.rpc.RetryInfo`.
fn asks_to_retry(fields: &HeaderMap) -> bool {
    let Some(details) = fields.get(GRPC_DETAILS) else {
        return false;
    };
    let details = details.as_bytes();
    let decoded = BASE64_STANDARD
        .decode(details)
        .or_else(|_| BASE64_STANDARD_NO_PAD.decode(details));
    decoded.is_ok_and(|bytes| memchr::memmem::find(&bytes, b"google.rpc.RetryInfo").is_some())
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
    fn a_busy_collector_is_told_from_a_small_one() {
        let details =
            BASE64_STANDARD.encode(b"\x08\x08\x1a\x2atype.googleapis.com/google.rpc.RetryInfo");
        let mut fields = HeaderMap::new();
        fields.insert(GRPC_DETAILS, details.parse().unwrap());
        assert!(matches!(
            grpc_failure(8, &fields),
            Failure::Unavailable { .. }
        ));
    }

    #[test]
    fn partial_success_is_read_from_the_response() {
        // partial_success { rejected_spans: 3 }
        assert_eq!(accepted(&[0x0a, 2, 8, 3]).refused, 3);
        assert_eq!(accepted(&[]).refused, 0);
        assert_eq!(accepted(b"<html>").refused, 0);
    }

    #[test]
    fn when_to_come_again_is_a_number_of_seconds() {
        let mut fields = HeaderMap::new();
        fields.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&fields), Some(Duration::from_secs(7)));
        fields.insert(
            RETRY_AFTER,
            "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap(),
        );
        assert_eq!(retry_after(&fields), None);
    }
}
