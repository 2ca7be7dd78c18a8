//! A collector: takes what llmtap sends over OTLP, and keeps it.
//!
//! In: export requests over gRPC and over HTTP, plain or with TLS, gzip or not. Out: the
//! requests, decoded, in the order they came. What is no such request is refused, as a
//! real collector does.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// How it is to behave.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    pub port: u16,
    /// Speaks TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Answers so many requests with 503 or UNAVAILABLE first.
    pub unavailable: usize,
    /// Says then to come again after so many seconds.
    pub retry_after: Option<u8>,
    /// Refuses longer requests, in bytes.
    pub longest: Option<usize>,
    /// Refuses for good what holds this text.
    pub poison: Option<String>,
    /// Says of each request that so many of its items were refused.
    pub partial: u8,
    /// Never answers.
    pub silent: bool,
}

/// A running collector; it ends when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    state: Arc<State>,
    _runtime: Runtime,
}

/// One export request.
#[derive(Clone, Debug)]
pub struct Exported {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Signals,
}

#[derive(Clone, Debug)]
pub enum Signals {
    Traces(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

#[derive(Debug)]
struct State {
    exported: Mutex<Vec<Exported>>,
    more: Condvar,
    unavailable: Mutex<usize>,
    behaviour: Behaviour,
}

/// Why a request is refused.
enum Refusal {
    Unavailable,
    TooLarge,
    Malformed,
}

impl Collector {
    /// Starts on loopback.
    pub fn start(behaviour: Behaviour) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let bind = TcpListener::bind((Ipv4Addr::LOCALHOST, behaviour.port));
        let listener = runtime.block_on(bind).context("cannot listen")?;
        let state = Arc::new(State {
            exported: Mutex::default(),
            more: Condvar::new(),
            unavailable: Mutex::new(behaviour.unavailable),
            behaviour: behaviour.clone(),
        });
        let address = listener.local_addr()?;
        let tls = behaviour.tls.map(TlsAcceptor::from);
        runtime.spawn(accept(listener, tls, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            _runtime: runtime,
        })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests that it took.
    pub fn exported(&self) -> Vec<Exported> {
        self.state.exported().clone()
    }

    /// Waits until what it took is `enough`; fails after a minute.
    pub fn wait(&self, what: &str, enough: impl Fn(&[Exported]) -> bool) -> Result<Vec<Exported>> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut exported = self.state.exported();
        while !enough(&exported) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let count = exported.len();
                bail!("waited in vain for {what}; {count} requests came");
            }
            let waited = self.state.more.wait_timeout(exported, left);
            exported = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(exported.clone())
    }

    /// Waits for so many spans, and gives all.
    pub fn spans(&self, count: usize) -> Result<Vec<(Resource, Span)>> {
        let exported = self.wait(&format!("{count} spans"), |all| {
            all_spans(all).count() >= count
        })?;
        Ok(spans(&exported))
    }
}

fn all_spans(exported: &[Exported]) -> impl Iterator<Item = (Option<&Resource>, &Span)> {
    let traces = exported.iter().filter_map(|request| match &request.body {
        Signals::Traces(traces) => Some(traces),
        _ => None,
    });
    let of_resources = traces.flat_map(|traces| &traces.resource_spans);
    of_resources.flat_map(|of_resource| {
        let spans = of_resource.scope_spans.iter().flat_map(|s| &s.spans);
        spans.map(|span| (of_resource.resource.as_ref(), span))
    })
}

/// The spans in requests, each with its resource.
pub fn spans(exported: &[Exported]) -> Vec<(Resource, Span)> {
    let owned = |(resource, span): (Option<&Resource>, &Span)| {
        (resource.cloned().unwrap_or_default(), span.clone())
    };
    all_spans(exported).map(owned).collect()
}

/// The events in requests.
pub fn logs(exported: &[Exported]) -> Vec<LogRecord> {
    let requests = exported.iter().filter_map(|request| match &request.body {
        Signals::Logs(logs) => Some(logs),
        _ => None,
    });
    requests
        .flat_map(|logs| &logs.resource_logs)
        .flat_map(|of_resource| &of_resource.scope_logs)
        .flat_map(|of_scope| of_scope.log_records.clone())
        .collect()
}

/// The metrics in the last request that had some.
pub fn metrics(exported: &[Exported]) -> Vec<ResourceMetrics> {
    let last = exported
        .iter()
        .rev()
        .find_map(|request| match &request.body {
            Signals::Metrics(metrics) => Some(metrics.resource_metrics.clone()),
            _ => None,
        });
    last.unwrap_or_default()
}

impl State {
    fn exported(&self) -> MutexGuard<'_, Vec<Exported>> {
        self.exported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, path: &str, headers: HeaderMap, message: &[u8]) -> Result<(), Refusal> {
        let mut left = self
            .unavailable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *left > 0 {
            *left -= 1;
            return Err(Refusal::Unavailable);
        }
        let Behaviour {
            longest, poison, ..
        } = &self.behaviour;
        if longest.is_some_and(|longest| message.len() > longest) {
            return Err(Refusal::TooLarge);
        }
        let holds = |text: &String| message.windows(text.len()).any(|w| w == text.as_bytes());
        if poison.as_ref().is_some_and(holds) {
            return Err(Refusal::Malformed);
        }
        let body = decoded(path, message).map_err(|_| Refusal::Malformed)?;
        self.exported().push(Exported {
            path: path.to_owned(),
            headers,
            body,
        });
        self.more.notify_all();
        Ok(())
    }
}

fn decoded(path: &str, message: &[u8]) -> Result<Signals> {
    let name = path.to_ascii_lowercase();
    Ok(if name.contains("trace") {
        Signals::Traces(ExportTraceServiceRequest::decode(message)?)
    } else if name.contains("logs") {
        Signals::Logs(ExportLogsServiceRequest::decode(message)?)
    } else if name.contains("metrics") {
        Signals::Metrics(ExportMetricsServiceRequest::decode(message)?)
    } else {
        bail!("no such service")
    })
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn serve<S>(stream: S, state: Arc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { answer(request, &state).await }
    });
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Body = BoxBody<Bytes, std::convert::Infallible>;

async fn answer(request: Request<Incoming>, state: &State) -> Result<Response<Body>, hyper::Error> {
    if state.behaviour.silent {
        std::future::pending::<()>().await;
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path().to_owned();
    let content_type = head
        .headers
        .get("content-type")
        .map(|t| t.as_bytes().to_vec());
    Ok(match content_type.as_deref() {
        Some(b"application/grpc") => {
            let coding = head.headers.get("grpc-encoding").cloned();
            let message = body.get(5..).unwrap_or_default();
            let is_coded = body.first() == Some(&1) && coding.is_some_and(|c| c == "gzip");
            let taken =
                uncoded(message, is_coded).and_then(|m| state.take(&path, head.headers, &m));
            grpc_answer(taken, &state.behaviour)
        }
        Some(b"application/x-protobuf") => {
            let is_coded = head
                .headers
                .get("content-encoding")
                .is_some_and(|c| c == "gzip");
            let taken = uncoded(&body, is_coded).and_then(|m| state.take(&path, head.headers, &m));
            http_answer(taken, &state.behaviour)
        }
        _ => http_answer(Err(Refusal::Malformed), &state.behaviour),
    })
}

fn uncoded(body: &[u8], is_coded: bool) -> Result<Vec<u8>, Refusal> {
    if !is_coded {
        return Ok(body.to_vec());
    }
    let mut out = Vec::new();
    let read = GzDecoder::new(body).read_to_end(&mut out);
    read.map(|_| out).map_err(|_| Refusal::Malformed)
}

/// A response in which `partial_success` says how many were refused.
fn message(behaviour: &Behaviour) -> Vec<u8> {
    match behaviour.partial {
        0 => Vec::new(),
        refused => vec![0x0a, 2, 8, refused & 0x7f],
    }
}

fn http_answer(taken: Result<(), Refusal>, behaviour: &Behaviour) -> Response<Body> {
    let status = match taken {
        Ok(()) => 200,
        Err(Refusal::Unavailable) => 503,
        Err(Refusal::TooLarge) => 413,
        Err(Refusal::Malformed) => 400,
    };
    let body = if status == 200 {
        message(behaviour)
    } else {
        Vec::new()
    };
    let mut response = Response::new(Full::from(body).boxed());
    *response.status_mut() = status.try_into().expect("invariant: a status of HTTP");
    if let Some(seconds) = behaviour.retry_after.filter(|_| status == 503) {
        response
            .headers_mut()
            .insert("retry-after", u16::from(seconds).into());
    }
    response
}

fn grpc_answer(taken: Result<(), Refusal>, behaviour: &Behaviour) -> Response<Body> {
    let status = match taken {
        Ok(()) => "0",
        Err(Refusal::Unavailable) => "14",
        Err(Refusal::TooLarge) => "8",
        Err(Refusal::Malformed) => "3",
    };
    let message = message(behaviour);
    // Uncompressed, and of so many bytes.
    let framed = [
        &[
            0,
            0,
            0,
            0,
            u8::try_from(message.len()).expect("invariant: a few"),
        ],
        &message[..],
    ]
    .concat();
    let body = if status == "0" { framed } else { Vec::new() };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    if let Some(seconds) = behaviour.retry_after.filter(|_| status == "14") {
        let details = STANDARD.encode(retry_info(seconds));
        let details = HeaderValue::from_str(&details).expect("invariant: base64");
        trailers.insert("grpc-status-details-bin", details);
    }
    let body = Full::from(body).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response
}

/// A `google.rpc.Status` with a `RetryInfo`.
fn retry_info(seconds: u8) -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).expect("invariant: a few");
        [&[tag << 3 | 2, length], bytes].concat()
    };
    let delay = field(1, &[8, seconds & 0x7f]);
    let name = field(1, b"type.googleapis.com/google.rpc.RetryInfo");
    field(3, &[name, field(2, &delay)].concat())
}
