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

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE, USER_AGENT};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::answer;
pub use super::answer::{Accepted, Failure};
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

/// An answer is a few bytes; a long one is not from a collector.
const MAX_ANSWER: usize = 1 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(30);

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
                Protocol::Http => {
                    let (head, body, _) = taken_in(response).await?;
                    answer::of_http(&head, &body)
                }
                Protocol::Grpc => {
                    let (head, body, trailers) = taken_in(response).await?;
                    answer::of_grpc(&head, &body, &trailers)
                }
            }
        };
        match tokio::time::timeout(self.destination.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::unavailable("no answer in time")),
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
    Failure::unavailable(why)
}

/// Head, body and trailers.
async fn taken_in(response: Response<Incoming>) -> Result<(Parts, Bytes, HeaderMap), Failure> {
    let (head, body) = response.into_parts();
    let collected = Limited::new(body, MAX_ANSWER)
        .collect()
        .await
        .map_err(|_| Failure::unavailable("the answer broke off"))?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok((head, collected.to_bytes(), trailers))
}
