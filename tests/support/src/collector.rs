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
use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
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
    /// Refuses longer requests, in bytes.
    pub longest: Option<usize>,
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
    longest: Option<usize>,
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
            longest: behaviour.longest,
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
        if self.longest.is_some_and(|longest| message.len() > longest) {
            return Err(Refusal::TooLarge);
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
            grpc_answer(taken)
        }
        Some(b"application/x-protobuf") => {
            let is_coded = head
                .headers
                .get("content-encoding")
                .is_some_and(|c| c == "gzip");
            let taken = uncoded(&body, is_coded).and_then(|m| state.take(&path, head.headers, &m));
            http_answer(taken)
        }
        _ => http_answer(Err(Refusal::Malformed)),
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

fn http_answer(taken: Result<(), Refusal>) -> Response<Body> {
    let status = match taken {
        Ok(()) => 200,
        Err(Refusal::Unavailable) => 503,
        Err(Refusal::TooLarge) => 413,
        Err(Refusal::Malformed) => 400,
    };
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = status.try_into().expect("invariant: a status of HTTP");
    response
}

fn grpc_answer(taken: Result<(), Refusal>) -> Response<Body> {
    // An empty message, uncompressed.
    let (message, status) = match taken {
        Ok(()) => (Bytes::from_static(&[0; 5]), "0"),
        Err(Refusal::Unavailable) => (Bytes::new(), "14"),
        Err(Refusal::TooLarge) => (Bytes::new(), "8"),
        Err(Refusal::Malformed) => (Bytes::new(), "3"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert(
        "grpc-status",
        hyper::header::HeaderValue::from_static(status),
    );
    let body = Full::new(message).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed());
    let grpc = hyper::header::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response
}
