//! An API server of Kubernetes that knows pods, and the metadata of what owns them: it
//! lists and watches as the real one does, for tests of a client.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};

use anyhow::Result;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Cluster {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    /// By namespace and name.
    pods: BTreeMap<String, Value>,
    /// By path.
    others: BTreeMap<String, Value>,
    /// All that was told, with its version: a watch goes on where the one before ended.
    history: Vec<(u64, Value)>,
    /// Who is to be told of pods: of which node, and how.
    watches: Vec<(String, UnboundedSender<Bytes>)>,
    requests: Vec<String>,
    refuses: bool,
}

impl Cluster {
    /// Starts on loopback, with nothing in it.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let cluster = Self {
            address: listener.local_addr()?,
            state: Arc::default(),
            _runtime: runtime,
        };
        let state = Arc::clone(&cluster.state);
        cluster._runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&state, request.uri());
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(async move {
                    // How a connection ends is up to the client.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(cluster)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates or changes a pod, and tells of it.
    pub fn put_pod(&self, mut pod: Value) {
        let mut state = lock(&self.state);
        let key = format!(
            "{}/{}",
            pod["metadata"]["namespace"], pod["metadata"]["name"]
        );
        let kind = match state.pods.contains_key(&key) {
            true => "MODIFIED",
            false => "ADDED",
        };
        state.stamp(&mut pod);
        state.tell(kind, &pod);
        state.pods.insert(key, pod);
    }

    pub fn delete_pod(&self, namespace: &str, name: &str) {
        let mut state = lock(&self.state);
        let key = format!("{:?}/{:?}", namespace, name);
        if let Some(mut pod) = state.pods.remove(&key) {
            state.stamp(&mut pod);
            state.tell("DELETED", &pod);
        }
    }

    /// Creates an object of another kind at its path in the API.
    pub fn put(&self, path: &str, object: Value) {
        lock(&self.state).others.insert(path.to_owned(), object);
    }

    /// Breaks every watch off, and says no from now on, or yes again.
    pub fn refuse(&self, refuses: bool) {
        let mut state = lock(&self.state);
        state.refuses = refuses;
        state.watches.clear();
    }

    /// Path and query of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }
}

impl State {
    fn stamp(&mut self, pod: &mut Value) {
        self.version += 1;
        pod["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }

    fn tell(&mut self, kind: &str, pod: &Value) {
        let event = json!({"type": kind, "object": pod});
        self.watches
            .retain(|(node, watch)| !is_of(pod, node) || watch.send(line(&event)).is_ok());
        self.history.push((self.version, event));
    }

    /// All that happens to the pods of `node` after `version`.
    fn watch(&mut self, node: &str, version: u64) -> UnboundedReceiver<Bytes> {
        let (sender, receiver) = unbounded_channel();
        let missed = self.history.iter().filter(|(at, _)| *at > version);
        for (_, event) in missed.filter(|(_, event)| is_of(&event["object"], node)) {
            sender
                .send(line(event))
                .expect("invariant: we hold the receiver");
        }
        self.watches.push((node.to_owned(), sender));
        receiver
    }
}

fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}

/// Whether the pod runs on `node`; empty is any.
fn is_of(pod: &Value, node: &str) -> bool {
    node.is_empty() || pod["spec"]["nodeName"] == node
}

fn answer(state: &Mutex<State>, uri: &hyper::Uri) -> Response<Reply> {
    let mut state = lock(state);
    state.requests.push(uri.to_string());
    if state.refuses {
        return reply(StatusCode::SERVICE_UNAVAILABLE, &failure(503));
    }
    if uri.path() != "/api/v1/pods" {
        return match state.others.get(uri.path()) {
            Some(object) => reply(StatusCode::OK, object),
            None => reply(StatusCode::NOT_FOUND, &failure(404)),
        };
    }
    let query = uri.query().unwrap_or_default().replace("%3D", "=");
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(key, value)| (key == name).then_some(value))
    };
    let selector = parameter("fieldSelector").unwrap_or_default();
    let node = selector.strip_prefix("spec.nodeName=").unwrap_or_default();
    if parameter("watch").is_some() {
        let version = parameter("resourceVersion").and_then(|text| text.parse().ok());
        return Response::new(Reply::Stream(state.watch(node, version.unwrap_or(0))));
    }
    let pods: Vec<&Value> = state.pods.values().filter(|p| is_of(p, node)).collect();
    let list = json!({
        "apiVersion": "v1", "kind": "PodList", "items": pods,
        "metadata": {"resourceVersion": state.version.to_string()},
    });
    reply(StatusCode::OK, &list)
}

fn failure(code: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {},
        "message": "no", "reason": "NotFound", "code": code,
    })
}

fn reply(status: StatusCode, body: &Value) -> Response<Reply> {
    let body = Bytes::from(body.to_string());
    let mut response = Response::new(Reply::Whole(Some(body)));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, json);
    response
}

enum Reply {
    Whole(Option<Bytes>),
    /// What comes, until its sender goes.
    Stream(UnboundedReceiver<Bytes>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Self::Whole(body) => body.take(),
            Self::Stream(receiver) => std::task::ready!(receiver.poll_recv(context)),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
