//! Calls for the tests of both, the library and the program.

use std::sync::Arc;

use llmtap::enrich::EnrichedCall;
use llmtap::enrich::trace::Seed;
use llmtap::event::{ConnectionId, Origin, Role};
use llmtap::llm::call::{Call, CallId, Capture, Request, Response, Server, Timing, Usage};
use llmtap::redact::{Content, Policy, Record};
use llmtap::time::{ClockOffset, Timestamp};

/// A streamed call of 1.34 s, changed as the test needs it.
pub fn enriched(change: impl FnOnce(&mut Call, &mut Origin)) -> EnrichedCall {
    let ms = |ms: u64| Timestamp::from_nanos(ms * 1_000_000);
    let mut call = Call {
        id: CallId(1),
        connection: ConnectionId(1),
        role: Role::Client,
        thread: None,
        goroutine: None,
        context: None,
        operation: "chat".into(),
        provider: "openai".into(),
        dialect: "openai.chat",
        server: Server::default(),
        request: Request {
            model: Some("gpt-4o-mini".into()),
            stream: Some(true),
            ..Request::default()
        },
        response: Response {
            finish_reasons: vec!["stop".into()],
            ..Response::default()
        },
        usage: Usage {
            input: Some(1234),
            output: Some(56),
            cache_read: Some(1024),
            ..Usage::default()
        },
        timing: Timing {
            start: ms(1_000),
            end: ms(2_340),
            first_chunk: Some(ms(1_210)),
            ..Timing::default()
        },
        error: None,
        capture: Capture::default(),
        extra: Vec::new(),
    };
    let mut origin = Origin {
        pid: Some(4242),
        comm: Some("python3".into()),
        local: "127.0.0.1:50000".parse().ok(),
        peer: "127.0.0.1:443".parse().ok(),
        ..Origin::default()
    };
    change(&mut call, &mut origin);
    EnrichedCall {
        trace: Seed::default().place(&call),
        call,
        origin: Arc::new(origin),
        host: None,
        clock: ClockOffset::from_nanos(1_760_000_000_000_000_000),
        cost: None,
        is_estimated: false,
    }
}

/// The same, as an exporter gets it with all its content.
pub fn record(change: impl FnOnce(&mut Call, &mut Origin)) -> Record {
    let policy = Policy {
        content: Content::Full,
    };
    policy.apply(enriched(change))
}
