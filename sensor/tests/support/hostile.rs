//! Traffic that means harm, of any size.
//!
//! Each shape is bytes of both directions of one connection; `n` says how much of it.

use std::io::Write;

use llmtap::event::Direction::{self, Read, Write as Written};

/// Takes a segment.
pub type Feed<'a> = &'a mut dyn FnMut(Direction, &[u8]);

/// A name, how much of it is a lot, and how to make it.
pub type Shape = (&'static str, usize, fn(usize, Feed<'_>));

/// Everything that asks for memory or time without end.
pub const SHAPES: &[Shape] = &[
    ("a request line without end", 50_000, |n, feed| {
        feed(Written, b"POST /");
        (0..n).for_each(|_| feed(Written, b"aaaaaaaa"));
    }),
    ("a head without end", 30_000, |n, feed| {
        feed(Written, b"POST /v1/chat/completions HTTP/1.1\r\n");
        (0..n).for_each(|_| feed(Written, b"x-field: value\r\n"));
    }),
    ("a field without end", 50_000, |n, feed| {
        feed(Written, b"POST /v1/chat/completions HTTP/1.1\r\nx-field: ");
        (0..n).for_each(|_| feed(Written, b"vvvvvvvv"));
    }),
    ("a response head without end", 30_000, |n, feed| {
        feed(Written, &ask(""));
        feed(Read, b"HTTP/1.1 200 OK\r\n");
        (0..n).for_each(|_| feed(Read, b"x-field: value\r\n"));
    }),
    ("interim responses without end", 30_000, |n, feed| {
        feed(Written, &ask(""));
        (0..n).for_each(|_| feed(Read, b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"));
    }),
    ("a chunk extension without end", 50_000, |n, feed| {
        chunked("text/event-stream", feed);
        feed(Read, b"1;");
        (0..n).for_each(|_| feed(Read, b"extended"));
    }),
    ("trailers without end", 30_000, |n, feed| {
        chunked("text/event-stream", feed);
        feed(Read, b"0\r\n");
        (0..n).for_each(|_| feed(Read, b"x-field: value\r\n"));
    }),
    ("requests that nobody answers", 8_000, |n, feed| {
        (0..n).for_each(|_| feed(Written, &ask("")));
    }),
    (
        "requests with bodies that nobody answers",
        5_000,
        |n, feed| {
            let request = ask(&"long ".repeat(1_000));
            (0..n).for_each(|_| feed(Written, &request));
        },
    ),
    ("responses that nobody asked for", 20_000, |n, feed| {
        feed(Written, b"GET / HTTP/1.1\r\n\r\n");
        (0..n).for_each(|_| feed(Read, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
    }),
    ("a request body without end", 2_000, |n, feed| {
        feed(
            Written,
            &head("POST", "Content-Length: 9223372036854775808"),
        );
        let text = [b'"'; 1 << 12];
        (0..n).for_each(|_| feed(Written, &text));
    }),
    ("a response without end", 2_000, |n, feed| {
        feed(Written, &ask(""));
        feed(
            Read,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
        );
        let text = [b'['; 1 << 12];
        (0..n).for_each(|_| feed(Read, &text));
    }),
    ("an event without end", 2_000, |n, feed| {
        chunked("text/event-stream", feed);
        chunk(b"data: ", feed);
        let line = [b'x'; 1 << 12];
        (0..n).for_each(|_| chunk(&line, feed));
    }),
    ("an event of lines without end", 30_000, |n, feed| {
        chunked("text/event-stream", feed);
        (0..n).for_each(|_| chunk(b"data: x\ndata\nid: 7\n", feed));
    }),
    ("tiny events", 30_000, |n, feed| {
        chunked("text/event-stream", feed);
        (0..n).for_each(|_| chunk(b"data: {}\n\n", feed));
    }),
    ("text without end", 6_000, |n, feed| {
        chunked("text/event-stream", feed);
        let text = text_event(&"abcdefgh".repeat(500));
        (0..n).for_each(|_| chunk(text.as_bytes(), feed));
    }),
    ("tool calls without end", 4_000, |n, feed| {
        chunked("text/event-stream", feed);
        for n in 0..n {
            let call = format!(
                "data: {{\"choices\":[{{\"index\":{n},\"delta\":{{\"tool_calls\":[{{\"index\":{n},\"id\":\"c{n}\",\"function\":{{\"name\":\"f\",\"arguments\":\"{{\"}}}}]}}}}]}}\n\n"
            );
            chunk(call.as_bytes(), feed);
        }
    }),
    ("one byte a segment", 30_000, |n, feed| {
        for byte in ask("hi") {
            feed(Written, &[byte]);
        }
        feed(
            Read,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
        );
        let delta = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
        delta
            .iter()
            .cycle()
            .take(n)
            .for_each(|byte| feed(Read, &[*byte]));
    }),
    ("one byte a chunk of a long event", 30_000, |n, feed| {
        chunked("text/event-stream", feed);
        chunk(b"data: ", feed);
        (0..n).for_each(|_| chunk(b"x", feed));
    }),
    (
        "one byte a segment of a long line of JSON",
        30_000,
        |n, feed| {
            chunked("application/x-ndjson", feed);
            chunk(b"{\"a\":1}\n{\"b\":\"", feed);
            (0..n).for_each(|_| chunk(b"x", feed));
        },
    ),
    ("one byte a segment of a long array", 30_000, |n, feed| {
        chunked("application/json", feed);
        chunk(b"[{\"a\":1},{\"b\":\"", feed);
        (0..n).for_each(|_| chunk(b"x", feed));
    }),
    ("one byte a segment of nothing known", 30_000, |n, feed| {
        (0..n).for_each(|n| feed(Written, &[b"GET POST\n"[n % 9]]));
    }),
    ("deep JSON in a request", 20_000, |n, feed| {
        feed(Written, &ask(&"[{\"a\":".repeat(n)));
        feed(Read, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    }),
    (
        "deep JSON in the content of a request",
        20_000,
        |n, feed| {
            let deep = format!(
                "{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":{}",
                "[{\"content\":".repeat(n)
            );
            feed(Written, &whole(&deep));
            feed(Read, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        },
    ),
    ("deep JSON in a reply", 20_000, |n, feed| {
        let deep = format!(
            "{{\"choices\":[{{\"message\":{{\"content\":{}",
            "[".repeat(n)
        );
        let length = deep.len();
        feed(Written, &ask("hi"));
        feed(
            Read,
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
        );
        feed(Read, deep.as_bytes());
    }),
    ("deep JSON in an event", 20_000, |n, feed| {
        chunked("text/event-stream", feed);
        let deep = "{\"choices\":[{\"delta\":{\"content\":[".repeat(n);
        chunk(format!("data: {deep}\n\n").as_bytes(), feed);
    }),
    ("chunks of 2^63 bytes", 2_000, |n, feed| {
        for size in [
            "8000000000000000",
            "7fffffffffffffff",
            "ffffffffffffffff",
            "10000000000000000",
        ] {
            chunked("text/event-stream", feed);
            feed(Read, format!("{size}\r\n").as_bytes());
            (0..n).for_each(|_| feed(Read, &[b'x'; 1024]));
        }
    }),
    (
        "messages of an event-stream of 2^32 bytes",
        2_000,
        |n, feed| {
            chunked("application/vnd.amazon.eventstream", feed);
            chunk(&[0xff; 12], feed);
            let crc = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
            let mut sum = flate2::Crc::new();
            sum.update(&crc);
            chunk(&[&crc[..], &sum.sum().to_be_bytes()].concat(), feed);
            (0..n).for_each(|_| chunk(&[b'x'; 1024], feed));
        },
    ),
    ("messages of gRPC of 2^32 bytes", 2_000, |n, feed| {
        chunked("application/grpc", feed);
        chunk(&[0, 0xff, 0xff, 0xff, 0xff], feed);
        (0..n).for_each(|_| chunk(&[b'x'; 1024], feed));
    }),
    ("frames of a WebSocket of 2^63 bytes", 600, |n, feed| {
        socket("", feed);
        feed(
            Read,
            &[0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        );
        (0..n).for_each(|_| feed(Read, &[b'x'; 32 << 10]));
    }),
    ("fragments of a WebSocket without end", 600, |n, feed| {
        socket("", feed);
        feed(Read, &[0x01, 1, b'{']);
        let fragment = [&[0x00, 126, 0x80, 0][..], &[b'x'; 32 << 10]].concat();
        (0..n).for_each(|_| feed(Read, &fragment));
    }),
    (
        "a compressed WebSocket message without end",
        2_000,
        |n, feed| {
            socket("Sec-WebSocket-Extensions: permessage-deflate\r\n", feed);
            let zeros = deflated(&vec![0; 1 << 20]);
            let length = (zeros.len() as u16).to_be_bytes();
            feed(Read, &[0x41, 1, zeros[0]]);
            (0..n / 100).for_each(|_| {
                feed(
                    Read,
                    &[&[0x00, 126, length[0], length[1]], &zeros[..]].concat(),
                )
            });
        },
    ),
    ("a head of HTTP/2 without end", 8_000, |n, feed| {
        feed(Written, PREFACE);
        feed(Written, &frame(1, 0, 1, &ASK_H2));
        let field = [&[0x40, 1, b'x', 100][..], &[b'v'; 100]].concat();
        (0..n).for_each(|_| feed(Written, &frame(9, 0, 1, &field)));
    }),
    (
        "fields that are a byte here and kilobytes there",
        40,
        |n, feed| {
            feed(Written, PREFACE);
            let mut block = ASK_H2.to_vec();
            block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
            block.extend([b'v'; 4000]);
            feed(Written, &frame(1, 4, 1, &block));
            let bomb = frame(1, 5, 3, &[&ASK_H2[..], &[0xbe; 12_000]].concat());
            for stream in 0..n as u32 {
                let mut bomb = bomb.clone();
                bomb[5..9].copy_from_slice(&(3 + 2 * stream).to_be_bytes());
                feed(Written, &bomb);
            }
        },
    ),
    ("streams that nobody ends", 10_000, |n, feed| {
        feed(Written, PREFACE);
        for stream in 0..n as u32 {
            feed(Written, &frame(1, 4, 1 + 2 * stream, &ASK_H2));
        }
    }),
    ("streams that all have a body", 10_000, |n, feed| {
        feed(Written, PREFACE);
        for stream in 0..n as u32 {
            feed(Written, &frame(1, 4, 1 + 2 * stream, &ASK_H2));
            feed(Written, &frame(0, 0, 1 + 2 * stream, &[b'{'; 8 << 10]));
        }
    }),
    ("streams that all stream text", 40, |n, feed| {
        feed(Written, PREFACE);
        for stream in 0..400 {
            feed(Written, &frame(1, 4, 1 + 2 * stream, &ASK_H2));
            feed(Written, &frame(0, 1, 1 + 2 * stream, request().as_bytes()));
            feed(Read, &frame(1, 4, 1 + 2 * stream, &ANSWER_H2));
        }
        let text = text_event(&"abcdefgh".repeat(500));
        for stream in (0..400).cycle().take(n * 400) {
            feed(Read, &frame(0, 0, 1 + 2 * stream, text.as_bytes()));
        }
    }),
    ("settings without end", 20_000, |n, feed| {
        feed(Written, PREFACE);
        (0..n).for_each(|_| feed(Written, &frame(4, 0, 0, &[0, 1, 0xff, 0xff, 0xff, 0xff])));
    }),
    ("resets without end", 20_000, |n, feed| {
        feed(Written, PREFACE);
        for stream in 0..n as u32 {
            feed(Written, &frame(1, 4, 1 + 2 * stream, &ASK_H2));
            feed(Written, &frame(3, 0, 1 + 2 * stream, &[0; 4]));
        }
    }),
    ("a frame of 2^24 bytes", 4_000, |n, feed| {
        feed(Written, PREFACE);
        feed(Written, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]);
        (0..n).for_each(|_| feed(Written, &[0; 1024]));
    }),
    ("a bomb of gzip", 4, |n, feed| {
        bomb("gzip", gzip(&zeros(n)), feed)
    }),
    ("a bomb of deflate", 4, |n, feed| {
        bomb("deflate", deflated(&zeros(n)), feed)
    }),
    ("a bomb of br", 4, |n, feed| bomb("br", br(&zeros(n)), feed)),
    ("a bomb of zstd", 4, |n, feed| {
        bomb("zstd", zstd(&zeros(n)), feed)
    }),
    ("a bomb in a bomb", 4, |n, feed| {
        bomb("gzip, gzip", gzip(&gzip(&zeros(n))), feed)
    }),
    ("a bomb of text", 20, |n, feed| {
        chunked_as("text/event-stream", "gzip", feed);
        let text = text_event(&"a".repeat(4_000)).repeat(n * 256);
        chunk(&gzip(text.as_bytes()), feed);
    }),
    ("items of a session without end", 200, |n, feed| {
        socket("", feed);
        let text = "abcdefgh".repeat(30_000);
        let item = format!(
            "{{\"type\":\"conversation.item.create\",\"item\":{{\"type\":\"message\",\"role\":\"user\",\"content\":[{{\"type\":\"input_text\",\"text\":\"{text}\"}}]}}}}"
        );
        let length = (item.len() as u64).to_be_bytes();
        let frame = [&[0x81, 127], &length[..], item.as_bytes()].concat();
        (0..n).for_each(|_| feed(Written, &frame));
    }),
];

/// An event with a piece of a reply.
fn text_event(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

fn request() -> String {
    "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
        .to_owned()
}

/// A call with this prompt.
fn ask(prompt: &str) -> Vec<u8> {
    whole(&request().replace("hi", prompt))
}

fn whole(body: &str) -> Vec<u8> {
    let mut bytes = head("POST", &format!("Content-Length: {}", body.len()));
    bytes.extend(body.bytes());
    bytes
}

fn head(method: &str, fields: &str) -> Vec<u8> {
    format!(
        "{method} /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\n\
         Content-Type: application/json\r\n{fields}\r\n\r\n"
    )
    .into_bytes()
}

/// A call, and the head of a chunked response to it.
fn chunked(content_type: &str, feed: Feed<'_>) {
    chunked_as(content_type, "identity", feed);
}

fn chunked_as(content_type: &str, coding: &str, feed: Feed<'_>) {
    feed(Written, &ask("hi"));
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Encoding: {coding}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    feed(Read, head.as_bytes());
}

fn chunk(bytes: &[u8], feed: Feed<'_>) {
    feed(
        Read,
        &[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
    );
}

/// A WebSocket that carries calls.
fn socket(fields: &str, feed: Feed<'_>) {
    let ask = format!(
        "GET /v1/realtime?model=m HTTP/1.1\r\nHost: api.openai.com\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{fields}\r\n"
    );
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n"
    );
    feed(Written, ask.as_bytes());
    feed(Read, answer.as_bytes());
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// `:method POST`, `:path /v1/chat/completions`, `:authority api.openai.com`, as literals
/// that enter no table.
const ASK_H2: [u8; 39] = *b"\x83\x04\x14/v1/chat/completions\x01\x0eapi.openai.com";

/// `:status 200`, `content-type text/event-stream`.
const ANSWER_H2: [u8; 21] = *b"\x88\x0f\x10\x11text/event-stream";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Megabytes of nothing.
fn zeros(megabytes: usize) -> Vec<u8> {
    vec![b'0'; megabytes << 20]
}

/// In a request, and in a response.
fn bomb(coding: &str, bytes: Vec<u8>, feed: Feed<'_>) {
    feed(
        Written,
        &head(
            "POST",
            &format!(
                "Content-Encoding: {coding}\r\nContent-Length: {}",
                bytes.len()
            ),
        ),
    );
    bytes.chunks(4096).for_each(|part| feed(Written, part));
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    feed(Read, head.as_bytes());
    bytes.chunks(4096).for_each(|part| feed(Read, part));
    chunked_as("text/event-stream", coding, feed);
    bytes.chunks(4096).for_each(|part| chunk(part, feed));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(bytes).expect("memory takes it");
    to.finish().expect("memory takes it")
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(bytes).expect("memory takes it");
    to.finish().expect("memory takes it")
}

fn br(bytes: &[u8]) -> Vec<u8> {
    let mut to = brotli::CompressorWriter::new(Vec::new(), 4096, 1, 20);
    to.write_all(bytes).expect("memory takes it");
    to.into_inner()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory takes it")
}
