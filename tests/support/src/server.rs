//! Listens, reads requests, sends replies.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::body::{Coding, ReplyBody};
use crate::certificate;
use crate::log::{Exchange, Log};
use crate::protobuf;
use crate::reply::{self, Asked, RATE_LIMIT_LEFT, Reply, SET_COOKIE};

/// How to start.
#[derive(Debug, Default)]
pub struct Options {
    /// Write each exchange to this file, a line of JSON each.
    pub log: Option<PathBuf>,
    /// Port for TLS; 0 is any.
    pub https_port: u16,
    /// Port without TLS; 0 is any.
    pub http_port: u16,
    /// Speak no TLS newer than 1.2.
    pub tls12: bool,
    /// Offer no HTTP/2.
    pub http1: bool,
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    https: SocketAddr,
    http: SocketAddr,
    folder: PathBuf,
    log: Arc<Log>,
    _runtime: Runtime,
}

impl Server {
    /// Starts on loopback; its certificates go into `folder`.
    pub fn start(folder: &Path, options: &Options) -> Result<Self> {
        let identity =
            certificate::make(options.tls12, options.http1).context("cannot make a certificate")?;
        for (name, text) in [
            ("ca.pem", &identity.authority_pem),
            ("server.pem", &identity.chain_pem),
            ("server-key.pem", &identity.key_pem),
        ] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let file = options.log.as_ref().map(File::create).transpose()?;
        let log = Arc::new(Log::new(file));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let tls = TlsAcceptor::from(identity.config);
        let listen = |port| runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        let (https, http) = (listen(options.https_port)?, listen(options.http_port)?);
        let server = Self {
            https: https.local_addr()?,
            http: http.local_addr()?,
            folder: folder.to_owned(),
            log: Arc::clone(&log),
            _runtime: runtime,
        };
        let answerer = Arc::new(Answerer::new(log));
        let runtime = &server._runtime;
        runtime.spawn(accept(https, Some(tls), Arc::clone(&answerer)));
        runtime.spawn(accept(http, None, answerer));
        Ok(server)
    }

    /// Where it speaks TLS.
    pub const fn https(&self) -> SocketAddr {
        self.https
    }

    /// Where it speaks HTTP without TLS.
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// The certificate that clients must trust, in PEM.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key for another server of the same name, in PEM.
    pub fn identity(&self) -> (PathBuf, PathBuf) {
        (
            self.folder.join("server.pem"),
            self.folder.join("server-key.pem"),
        )
    }

    /// All exchanges so far whose request has been read.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.log.exchanges()
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, answerer: Arc<Answerer>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let answerer = Arc::clone(&answerer);
                tokio::spawn(secure(stream, client, tls.clone(), answerer));
            }
            Err(error) => eprintln!("cannot accept: {error}"),
        }
    }
}

async fn secure(
    stream: TcpStream,
    client: SocketAddr,
    tls: Option<TlsAcceptor>,
    answerer: Arc<Answerer>,
) {
    // Each piece of a stream is to leave at once, as at a provider.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match tls {
        None => serve(stream, client, false, answerer).await,
        Some(tls) => {
            // A client that gives up its handshake asks for nothing.
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, client, true, answerer).await;
            }
        }
    }
}

async fn serve<S>(stream: S, client: SocketAddr, encrypted: bool, answerer: Arc<Answerer>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let answerer = Arc::clone(&answerer);
        async move { answerer.answer(request, client, encrypted).await }
    });
    // How a connection ends is up to the client.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Turns requests into replies.
struct Answerer {
    log: Arc<Log>,
    served: AtomicU64,
    /// Tells this server's replies from those of all others.
    mark: String,
}

impl Answerer {
    fn new(log: Arc<Log>) -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self {
            log,
            served: AtomicU64::new(0),
            mark: format!("{:x}{:x}", std::process::id(), since.as_nanos()),
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        client: SocketAddr,
        encrypted: bool,
    ) -> Result<Response<ReplyBody>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let wish = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
        let number = |name: &str| wish(name).and_then(|v| v.parse::<u64>().ok());
        let serial = self.served.fetch_add(1, Ordering::Relaxed);
        let asked = Asked {
            method: &head.method,
            path: head.uri.path(),
            body: &body,
            status: number("x-test-status").and_then(|s| u16::try_from(s).ok()),
            words: number("x-test-words").unwrap_or(0).min(100_000) as usize,
            serial: format!("{}n{serial}", self.mark),
        };
        let reply = reply::to(&asked);
        self.log.add(Exchange {
            id: reply.said.id.clone(),
            client,
            encrypted,
            http2: head.version == Version::HTTP_2,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            request_bytes: body.len(),
            request_sha256: reply::hex(&Sha256::digest(&body)),
            status: reply.status,
            text: reply.said.text.clone(),
            input_tokens: reply.said.input_tokens,
            output_tokens: reply.said.output_tokens,
            reply_sha256: hash(&reply.pieces),
            reply_bytes: reply.pieces.iter().map(Bytes::len).sum(),
        });
        let pause = Duration::from_millis(number("x-test-pause-ms").unwrap_or(0));
        let coding = Coding::named(wish("x-test-coding").unwrap_or_default());
        Ok(respond(reply, &asked.serial, coding, pause))
    }
}

fn hash(pieces: &[Bytes]) -> String {
    let mut sum = Sha256::new();
    for piece in pieces {
        sum.update(piece);
    }
    reply::hex(&sum.finalize())
}

fn respond(reply: Reply, serial: &str, coding: Coding, pause: Duration) -> Response<ReplyBody> {
    let mut response = Response::builder()
        .status(reply.status)
        .header("content-type", reply.content_type)
        .header("set-cookie", SET_COOKIE)
        .header("x-request-id", format!("req_{serial}"))
        .header("request-id", format!("req_{serial}"))
        .header("x-ratelimit-remaining-requests", RATE_LIMIT_LEFT);
    let field = match reply.grpc {
        Some(_) => "grpc-encoding",
        None => "content-encoding",
    };
    if let Some(name) = coding.name() {
        response = response.header(field, name);
    }
    let pieces = match reply.grpc {
        Some(_) => reply
            .pieces
            .iter()
            .map(|m| protobuf::framed(m, coding).into())
            .collect(),
        None => coding
            .code(reply.pieces)
            .expect("invariant: memory takes all that is written to it"),
    };
    let mut body = if reply.streamed {
        ReplyBody::paced(pieces, pause)
    } else {
        ReplyBody::whole(&pieces)
    };
    if let Some((status, words)) = reply.grpc {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", u16::from(status).into());
        if !words.is_empty() {
            trailers.insert("grpc-message", HeaderValue::from_static(words));
        }
        body = body.with_trailers(trailers);
    }
    response
        .body(body)
        .expect("invariant: our own fields are valid")
}
