//! What the engine asks of the allocator: little for each stream, nothing for each event
//! but room for the text that is kept.

#[path = "support/allocator.rs"]
mod allocator;

use allocator::{allocations, live_bytes};
use llmtap::engine::{Engine, Options, Output};
use llmtap::event::{ConnectionId, Direction, Event, EventKind, Missing};
use llmtap::llm::Call;
use llmtap::time::Timestamp;

/// An engine, and the calls that came out of it.
struct Fixture {
    engine: Engine,
    calls: Vec<Call>,
}

impl Fixture {
    fn new() -> Self {
        Self {
            engine: Engine::new(Options {
                llm: llmtap::llm::Options { content: true },
                ..Options::default()
            }),
            calls: Vec::new(),
        }
    }

    fn feed(&mut self, connection: u64, direction: Direction, bytes: &[u8]) {
        let Self { engine, calls } = self;
        let event = Event {
            connection: ConnectionId(connection),
            at: Timestamp::default(),
            kind: EventKind::Data {
                direction,
                missing: Missing::NONE,
                bytes,
            },
        };
        engine.feed(event, &mut |output| {
            if let Output::Finished(call) = output {
                calls.push(*call);
            }
        });
    }

    /// A request to `path`, and the head of a streamed response.
    fn begin(&mut self, connection: u64, path: &str, prompt: &str) {
        let body = format!(
            r#"{{"model":"m","stream":true,"max_tokens":9,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
        );
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n\
             User-Agent: test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.feed(connection, Direction::Write, request.as_bytes());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: r-1\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        self.feed(connection, Direction::Read, head.as_bytes());
    }

    fn finish(mut self) -> Vec<Call> {
        let Self { engine, calls } = &mut self;
        engine.finish(&mut |output| {
            if let Output::Finished(call) = output {
                calls.push(*call);
            }
        });
        self.calls
    }
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

const CHAT: &str = "/v1/chat/completions";

/// A piece of six bytes of text.
const CHAT_DELTA: &str = "data: {\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\
    \"model\":\"m-1\",\"service_tier\":\"default\",\"system_fingerprint\":\"f\",\"choices\":[{\
    \"index\":0,\"delta\":{\"content\":\"a\\n\\u00e9b \"},\"logprobs\":null,\
    \"finish_reason\":null}],\"usage\":null}\n\n";

#[test]
fn eleven_thousand_open_streams_fit_in_200_mib() {
    const IDLE: u64 = 10_000;
    const ACTIVE: u64 = 1_000;
    const EVENTS: u64 = 100;
    const TEXT: usize = 200;
    let before = live_bytes();
    let mut fixture = Fixture::new();
    let prompt = "p".repeat(4_000);
    let piece = chunk(&CHAT_DELTA.replace("b ", &"b".repeat(TEXT)));
    let whole = [piece.as_str(), &chunk("data: [DONE]\n\n"), "0\r\n\r\n"].concat();
    for connection in 0..IDLE {
        // One call is over, and the next has begun.
        fixture.begin(connection, CHAT, &prompt);
        fixture.feed(connection, Direction::Read, whole.as_bytes());
        fixture.begin(connection, CHAT, &prompt);
        fixture.feed(connection, Direction::Read, piece.as_bytes());
        assert_eq!(fixture.calls.len(), 1);
        fixture.calls.clear();
    }
    for connection in IDLE..IDLE + ACTIVE {
        fixture.begin(connection, CHAT, &prompt);
        for _ in 0..EVENTS {
            fixture.feed(connection, Direction::Read, piece.as_bytes());
        }
        // Amid an event.
        let (cut, _) = piece.as_bytes().split_at(piece.len() / 2);
        fixture.feed(connection, Direction::Read, cut);
    }
    let held = live_bytes() - before;
    assert!(held < 200 << 20, "{} MiB", held >> 20);
    // The engine does hold all that was said.
    let least = (IDLE + ACTIVE) * prompt.len() as u64 + ACTIVE * EVENTS * TEXT as u64;
    assert!(
        u64::try_from(held).is_ok_and(|held| held > least),
        "{held} bytes"
    );
    assert_eq!(fixture.finish().len() as u64, IDLE + ACTIVE);
}

#[test]
fn an_event_costs_no_allocation_but_for_its_text() {
    let responses = "event: response.output_text.delta\ndata: {\"type\":\
        \"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\
        \"delta\":\"a\\n\\u00e9b \",\"logprobs\":[]}\n\n";
    let messages = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\
        \"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\\n\\u00e9b \"}}\n\n";
    let gemini = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\\n\\u00e9b \"}],\
        \"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":3,\
        \"totalTokenCount\":3},\"modelVersion\":\"g\",\"responseId\":\"r\"}\r\n\r\n";
    const EVENTS: usize = 1_024;
    for (path, event) in [
        (CHAT, CHAT_DELTA),
        ("/v1/responses", responses),
        ("/v1/messages", messages),
        ("/v1beta/models/g:streamGenerateContent", gemini),
    ] {
        let mut fixture = Fixture::new();
        // A body that every dialect takes for one of its own.
        let prompt = r#"hi"}],"input":"hi","contents":[{"parts":[{"text":"hi"}]}],"x":[{"y":""#;
        fixture.begin(1, path, prompt);
        let piece = chunk(event);
        // In one piece, and in two.
        let (start, rest) = piece.as_bytes().split_at(piece.len() / 2);
        for _ in 0..2 {
            fixture.feed(1, Direction::Read, piece.as_bytes());
            fixture.feed(1, Direction::Read, start);
            fixture.feed(1, Direction::Read, rest);
        }
        let before = allocations();
        for _ in 0..EVENTS / 2 {
            fixture.feed(1, Direction::Read, piece.as_bytes());
            fixture.feed(1, Direction::Read, start);
            fixture.feed(1, Direction::Read, rest);
        }
        // The text doubles its room as it grows.
        let doublings = u64::from((EVENTS * 6).ilog2());
        let made = allocations() - before;
        assert!(made <= doublings, "{path}: {made} for {EVENTS} events");
        let calls = fixture.finish();
        let text = format!("{:?}", calls[0].response.messages[0].parts);
        assert_eq!(text.matches("éb").count(), EVENTS + 4, "{path}");
    }
}
