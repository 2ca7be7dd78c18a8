//! Conversations over HTTP/1.1, as bytes that can be cut anywhere.

use std::io::{BufRead, BufReader};
use std::path::Path;

use base64::Engine as _;
use llmtap::event::Direction;
use llmtap::time::Timestamp;
use serde_json::Value;

/// One request and its response, framed.
pub struct Conversation {
    pub name: String,
    request: Vec<u8>,
    response: Vec<u8>,
}

/// Bytes of one direction; `lost` more were before them.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    pub direction: Direction,
    pub at: Timestamp,
    pub lost: u64,
    pub bytes: &'a [u8],
}

/// One recording in so many takes part, so that the laws are checked in seconds.
const EVERY: usize = 13;

impl Conversation {
    /// Our own, and a part of the recordings where these are at hand.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::own().chain(recorded())
    }

    /// Those that this repository holds.
    pub fn own() -> impl Iterator<Item = Self> {
        let own = OWN
            .iter()
            .map(|(name, target, request, kind, response)| Self {
                name: (*name).to_owned(),
                request: request_bytes(JSON, "api.example.com", target, request.as_bytes()),
                response: response_bytes(200, kind, response.as_bytes(), TRAILER),
            });
        own.chain(GRPC.iter().map(|case| Self::of_grpc(case)))
    }

    /// A case of `tests/corpus/grpc`, as a proxy would send it over HTTP/1.1.
    fn of_grpc(case: &str) -> Self {
        let case: Value = serde_json::from_str(case).expect("JSON");
        let framed = |message: &Value| {
            let text = message["message"].as_str().expect("a message");
            let message = base64::prelude::BASE64_STANDARD
                .decode(text)
                .expect("base64");
            let length = u32::try_from(message.len()).expect("a short message");
            [&[0], &length.to_be_bytes()[..], &message].concat()
        };
        let url = case["request"]["url"].as_str().expect("a URL");
        let (host, target) = url[8..].split_once('/').expect("a path");
        let events = case["response"]["events"].as_array().expect("messages");
        let response: Vec<u8> = events.iter().flat_map(framed).collect();
        let kind = "application/grpc";
        Self {
            name: case["about"].as_str().expect("a name").to_owned(),
            request: request_bytes(
                ["POST", kind],
                host,
                &format!("/{target}"),
                &framed(&case["request"]),
            ),
            response: response_bytes(200, kind, &response, "grpc-status: 0"),
        }
    }

    pub fn len(&self) -> usize {
        self.request.len() + self.response.len()
    }

    pub fn whole(&self) -> Vec<Piece<'_>> {
        self.pieces(usize::MAX, &mut Random::new(0))
    }

    /// In pieces of 1 to `most` bytes.
    pub fn cut(&self, most: usize, random: &mut Random) -> Vec<Piece<'_>> {
        self.pieces(most, random)
    }

    fn pieces(&self, most: usize, random: &mut Random) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        let mut clock = 0;
        for (direction, mut rest) in [
            (Direction::Write, &self.request[..]),
            (Direction::Read, &self.response[..]),
        ] {
            while !rest.is_empty() {
                let length = match most {
                    usize::MAX => rest.len(),
                    most => (1 + random.below(most)).min(rest.len()),
                };
                let (bytes, after) = rest.split_at(length);
                clock += 1_000;
                pieces.push(Piece {
                    direction,
                    at: Timestamp::from_nanos(clock),
                    lost: 0,
                    bytes,
                });
                rest = after;
            }
        }
        pieces
    }

    /// The pieces but one, whose size stands as lost before the next of its direction;
    /// lost at the end of a direction, it leaves no trace.
    pub fn without_one<'a>(
        &self,
        mut pieces: Vec<Piece<'a>>,
        random: &mut Random,
    ) -> Vec<Piece<'a>> {
        let at = random.below(pieces.len());
        let gone = pieces.remove(at);
        let next = pieces[at..]
            .iter_mut()
            .find(|piece| piece.direction == gone.direction);
        if let Some(next) = next {
            next.lost = gone.bytes.len() as u64;
        }
        pieces
    }
}

/// Method and type of most requests.
const JSON: [&str; 2] = ["POST", "application/json"];

const TRAILER: &str = "server-timing: x";

fn request_bytes([method, kind]: [&str; 2], host: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Chunked in odd places, with an extension now and then, and with a trailer.
fn response_bytes(status: u16, kind: &str, body: &[u8], trailer: &str) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for (n, chunk) in body.chunks(97).enumerate() {
        let extension = if n % 5 == 3 { ";a=b" } else { "" };
        bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend(format!("0\r\n{trailer}\r\n\r\n").bytes());
    bytes
}

fn recorded() -> impl Iterator<Item = Conversation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    files.sort();
    files
        .into_iter()
        .flat_map(|path| {
            let file = std::fs::File::open(&path).expect("can be opened");
            BufReader::new(flate2::read::GzDecoder::new(file)).lines()
        })
        .step_by(EVERY)
        .filter_map(|line| conversation(&serde_json::from_str(&line.ok()?).ok()?))
}

fn conversation(record: &Value) -> Option<Conversation> {
    if record["kind"] != "http" || record["resp_compressed"] == true {
        return None;
    }
    let bytes = |key: &str| {
        let text = record[key].as_str().unwrap_or_default();
        base64::prelude::BASE64_STANDARD
            .decode(text)
            .expect("base64")
    };
    let url = record["url"].as_str()?;
    let (_, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let target = rest
        .get(host.len()..)
        .filter(|t| !t.is_empty())
        .unwrap_or("/");
    let kind = record["resp_headers"].as_array()?.iter().find_map(|pair| {
        let name = pair[0].as_str()?;
        name.eq_ignore_ascii_case("content-type")
            .then(|| pair[1].as_str())
            .flatten()
    });
    let status = u16::try_from(record["status"].as_u64().unwrap_or(200)).ok()?;
    Some(Conversation {
        name: record["id"].as_str()?.to_owned(),
        request: request_bytes(
            [record["method"].as_str()?, JSON[1]],
            host,
            target,
            &bytes("req_body"),
        ),
        response: response_bytes(
            status,
            kind.unwrap_or("application/json"),
            &bytes("resp_body"),
            TRAILER,
        ),
    })
}

/// A sequence that is the same in every run (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`, which is above zero.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        high as usize % limit
    }
}

const GRPC: [&str; 3] = [
    include_str!("../../../tests/corpus/grpc/xai-unary.json"),
    include_str!("../../../tests/corpus/grpc/xai-stream.json"),
    include_str!("../../../tests/corpus/grpc/vertex-stream.json"),
];

/// Name, target, request, type of the response, response.
type Own = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const OWN: [Own; 5] = [
    (
        "chat",
        "/v1/chat/completions",
        r#"{"model":"m-1","messages":[{"role":"user","content":"wie heißt du? 🦀"}],"temperature":0.5}"#,
        "application/json",
        r#"{"id":"c-1","model":"m-1-a","choices":[{"index":0,"message":{"role":"assistant","content":"Ferris – \"the\" crab 🦀"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":7,"total_tokens":16}}"#,
    ),
    (
        "chat, streamed",
        "/v1/chat/completions",
        r#"{"model":"m-1","stream":true,"messages":[{"role":"user","content":"tell"}]}"#,
        "text/event-stream",
        "data: {\"id\":\"c-2\",\"model\":\"m-1-a\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\r\n\r\n\
         : a comment\n\n\
         data: {\"id\":\"c-2\",\"model\":\"m-1-a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüße \"}}]}\n\n\
         data: {\"id\":\"c-2\",\"model\":\"m-1-a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"🦀\"}}]}\n\n\
         data: {\"id\":\"c-2\",\"model\":\"m-1-a\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
         data: {\"id\":\"c-2\",\"model\":\"m-1-a\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n\
         data: [DONE]\n\n",
    ),
    (
        "messages, streamed with a tool",
        "/v1/messages",
        r#"{"model":"m-2","max_tokens":64,"stream":true,"system":"be brief","messages":[{"role":"user","content":"weather?"}],"tools":[{"name":"weather","input_schema":{"type":"object"}}]}"#,
        "text/event-stream",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m-2-a\",\"content\":[],\"usage\":{\"input_tokens\":11,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
         event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"weather\",\"input\":{}}}\n\n\
         event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"city\\\":\"}}\n\n\
         event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"Köln\\\"}\"}}\n\n\
         event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
         event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":33}}\n\n\
         event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ),
    (
        "responses, streamed",
        "/v1/responses",
        r#"{"model":"m-3","stream":true,"input":"hi"}"#,
        "text/event-stream",
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"m-3-a\",\"status\":\"in_progress\",\"output\":[]}}\n\n\
         event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"hey\"}\n\n\
         event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"model\":\"m-3-a\",\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"hey\"}]}],\"usage\":{\"input_tokens\":4,\"output_tokens\":1,\"total_tokens\":5}}}\n\n",
    ),
    (
        "embeddings",
        "/v1/embeddings",
        r#"{"model":"m-4","input":["a","b"],"dimensions":2,"encoding_format":"float"}"#,
        "application/json",
        r#"{"object":"list","model":"m-4-a","data":[{"index":0,"embedding":[0.1,0.2]},{"index":1,"embedding":[0.3,0.4]}],"usage":{"prompt_tokens":2,"total_tokens":2}}"#,
    ),
];
