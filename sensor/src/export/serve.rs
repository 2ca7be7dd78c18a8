//! What others ask for: metrics, and whether all is well.
//!
//! In: requests over HTTP. Out: a page for Prometheus at `/metrics`; 200 or 503 at
//! `/healthz` and `/readyz`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::metrics::Family;
use super::metrics::prometheus::{self, Format};

/// What is said of this process.
pub trait Told: Send + Sync + 'static {
    fn families(&self) -> Vec<Family>;

    /// Traffic is read. A process that is not alive is to be started anew.
    fn is_alive(&self) -> bool;

    /// What runs on this host is covered.
    fn is_ready(&self) -> bool;
}

/// More at once have to wait.
const CONNECTIONS: usize = 32;
/// Who asks is quick about it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers until the runtime ends.
pub async fn run(listener: TcpListener, told: Arc<impl Told>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let told = Arc::clone(&told);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(6 * PATIENCE, serve(stream, told)).await;
                    drop(place);
                });
            }
            // Too many files are open, say: a loop without a pause would not help.
            Err(_) => tokio::time::sleep(PATIENCE / 10).await,
        }
    }
}

async fn serve(stream: TcpStream, told: Arc<impl Told>) {
    let service = service_fn(|request| {
        let answer = answer(&request, &*told);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // How it ends is up to the client.
    let _ = connection.await;
}

fn answer(request: &Request<Incoming>, told: &impl Told) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT);
            let format = Format::accepted(accept.and_then(|value| value.to_str().ok()));
            let page = prometheus::page(&told.families(), format);
            with_type(StatusCode::OK, format.content_type(), page)
        }
        "/healthz" => state(told.is_alive()),
        "/readyz" => state(told.is_ready()),
        _ => plain(StatusCode::NOT_FOUND, "/metrics, /healthz or /readyz\n"),
    }
}

fn state(is_well: bool) -> Response<Full<Bytes>> {
    match is_well {
        true => plain(StatusCode::OK, "ok\n"),
        false => plain(StatusCode::SERVICE_UNAVAILABLE, "not ok\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", text)
}

fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let value = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}
