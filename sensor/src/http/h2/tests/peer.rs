//! Against peers that nobody here wrote: client and server of the `h2` crate.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::*;
use crate::http::testing::{Dice, Log};

/// The client's end of a connection, and what crossed it.
struct Tap {
    stream: DuplexStream,
    traffic: Arc<Mutex<Traffic>>,
}

impl Tap {
    fn saw(&self, direction: Direction, bytes: &[u8]) {
        if !bytes.is_empty() {
            let chunk = Chunk::Bytes(bytes.to_vec());
            self.traffic.lock().unwrap().0.push((direction, chunk));
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.saw(Direction::Read, &buf.filled()[before..]);
        poll
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &poll {
            self.saw(Direction::Write, &buf[..*written]);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const EXCHANGES: usize = 12;

fn request_body(n: usize) -> Vec<u8> {
    format!("{{\"n\":{n}}}").repeat(1 + n * 700).into_bytes()
}

fn response_body(n: usize) -> Vec<u8> {
    format!("data: {n}\n\n").repeat(1 + n * 400).into_bytes()
}

/// Answers each request after its number, in as many pieces as it likes.
async fn serve(stream: DuplexStream) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut tasks = Vec::new();
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted.unwrap();
        tasks.push(tokio::spawn(async move {
            let n: usize = request.uri().path()["/v1/".len()..].parse().unwrap();
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                let length = data.unwrap().len();
                body.flow_control().release_capacity(length).unwrap();
            }
            let head = http::Response::builder()
                .status([200, 201, 429, 500][n % 4])
                .header("content-type", "text/event-stream")
                .header("x-request-id", format!("req-{n}"))
                .header("x-large", "v".repeat(n * 130));
            let mut send = respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            for piece in response_body(n).chunks(333) {
                send.send_data(piece.to_vec().into(), false).unwrap();
                tokio::task::yield_now().await;
            }
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", n.to_string().parse().unwrap());
            send.send_trailers(trailers).unwrap();
        }));
    }
}

async fn exchange(mut client: h2::client::SendRequest<bytes::Bytes>, n: usize) {
    let request = http::Request::builder()
        .method(["POST", "PUT"][n % 2])
        .uri(format!("https://api.example.com/v1/{n}"))
        .header("user-agent", "peer/1.0")
        .header("authorization", "Bearer canary")
        .header("x-n", n.to_string());
    client = client.ready().await.unwrap();
    let (response, mut send) = client
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    send.send_data(request_body(n).into(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    while let Some(data) = body.data().await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
    }
    body.trailers().await.unwrap().unwrap();
}

/// The bytes of a connection with several exchanges at a time.
fn recorded() -> Traffic {
    let traffic = Arc::new(Mutex::new(Traffic::default()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (near, far) = tokio::io::duplex(4096);
        let tap = Tap {
            stream: near,
            traffic: Arc::clone(&traffic),
        };
        let server = tokio::spawn(serve(far));
        let (client, connection) = h2::client::handshake(tap).await.unwrap();
        let connection = tokio::spawn(connection);
        for flight in (0..EXCHANGES).collect::<Vec<_>>().chunks(4) {
            let tasks = flight
                .iter()
                .map(|n| tokio::spawn(exchange(client.clone(), *n)));
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        }
        drop(client);
        connection.await.unwrap().unwrap();
        server.await.unwrap();
    });
    let traffic = traffic.lock().unwrap();
    traffic.clone()
}

/// The exchange that has this number in its path.
fn number(log: &Log, n: usize) -> &crate::http::testing::Exchange {
    let path = format!("/v1/{n}");
    let is = |e: &&crate::http::testing::Exchange| e.request.as_ref().unwrap().path() == path;
    log.0.values().find(is).unwrap()
}

#[test]
fn every_exchange_is_as_the_peers_made_it() {
    let traffic = recorded();
    let log = traffic.log();
    assert_eq!(log.0.len(), EXCHANGES);
    for n in 0..EXCHANGES {
        let exchange = number(&log, n);
        let head = exchange.request.as_ref().unwrap();
        assert_eq!(&*head.method, ["POST", "PUT"][n % 2]);
        assert_eq!(head.authority.as_deref(), Some("api.example.com"));
        let fields: Vec<_> = head.fields.iter().collect();
        let number = n.to_string();
        let expected = [
            ("user-agent", "peer/1.0"),
            ("authorization", ""),
            ("x-n", &number),
        ];
        assert_eq!(fields, expected);
        assert!(!head.partial);
        assert_eq!(exchange.request_body.bytes(), request_body(n));
        assert_eq!(exchange.request_end.unwrap().1, End::Complete);
        let (_, head) = exchange.response.as_ref().unwrap();
        assert_eq!(head.status, Some([200, 201, 429, 500][n % 4]));
        assert_eq!(
            head.fields.first("x-request-id"),
            Some(format!("req-{n}").as_str())
        );
        assert_eq!(head.fields.first("x-large").map(str::len), Some(n * 130));
        assert_eq!(exchange.response_body.bytes(), response_body(n));
        assert_eq!(exchange.trailers, [("grpc-status".into(), number)]);
        assert_eq!(exchange.response_end.unwrap().1, End::Complete);
        assert!(exchange.over);
    }
    for seed in 1..5 {
        assert_eq!(log, traffic.log_cut(Dice(seed)), "cut {seed}");
    }
}

#[test]
fn joined_late_the_peers_are_understood_as_far_as_can_be() {
    let traffic = recorded();
    let full = traffic.log();
    let mut seen = 0;
    for start in (1..traffic.0.len()).step_by(traffic.0.len() / 60) {
        let late = Traffic(traffic.0[start..].to_vec()).log();
        laws::assert_only_less(&late, &full, &format!("from {start}"));
        seen += late.0.len();
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_lost_chunk_makes_nothing_wrong() {
    let traffic = recorded();
    let full = traffic.log();
    for nth in (0..traffic.0.len()).step_by(traffic.0.len() / 60) {
        laws::assert_only_less(
            &traffic.without(nth).log(),
            &full,
            &format!("without {nth}"),
        );
    }
}
