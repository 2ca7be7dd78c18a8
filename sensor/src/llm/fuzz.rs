//! Bodies of the fuzz targets of this room.
//!
//! In: bytes that a fuzzer made up, in pieces that end with the byte 0xff, which is in no
//! text. Out: nothing, or a panic where a law is broken: content that is not wanted is not
//! kept, and whether it is changes nothing else.

use super::call::{Call, CallId, Capture};
use super::{Draft, Options, Session, multipart};
use crate::content::{Body, Message, MessageKind};
use crate::event::{ConnectionId, Missing, Origin, Role};
use crate::http::{Fields, RequestHead, ResponseHead};
use crate::time::Timestamp;

/// An exchange. The first piece is a line with the URL, the request's type, the status
/// and the response's type, then the request; each further one is a letter for what it is,
/// a line with a name, and a part of the response.
pub fn exchange(script: &[u8]) {
    let [kept, bare] = [true, false].map(|content| draft(script, Options { content }));
    agree(kept.as_ref(), bare.as_ref());
}

/// A call over gRPC. The first byte chooses its method; then come messages, each behind
/// its length: the request, and the replies.
pub fn rpc(script: &[u8]) {
    let [kept, bare] = [true, false].map(|content| method(script, Options { content }));
    agree(kept.as_ref(), bare.as_ref());
}

/// A session over a WebSocket. The first piece is its URL; each further one begins with
/// the letter of its sender, `c` or `s`.
pub fn session(script: &[u8]) {
    let [kept, bare] = [true, false].map(|content| turns(script, Options { content }));
    assert_eq!(kept.len(), bare.len());
    for (kept, bare) in kept.iter().zip(&bare) {
        agree(kept.as_ref(), bare.as_ref());
    }
}

/// A multipart request: a line with its type, then the body.
pub fn form(script: &[u8]) {
    let (content_type, body) = line(script);
    if let Some(json) = multipart::fields(&String::from_utf8_lossy(content_type), body) {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&json);
        assert!(parsed.is_ok_and(|value| value.is_object()));
    }
}

fn agree(kept: Option<&Call>, bare: Option<&Call>) {
    assert_eq!(kept.is_some(), bare.is_some(), "content makes the call");
    let (Some(kept), Some(bare)) = (kept, bare) else {
        return;
    };
    let is_private = bare.request.messages.is_empty()
        && bare.request.system.is_empty()
        && bare.request.tools.is_empty()
        && bare.response.messages.is_empty();
    assert!(is_private, "content was kept");
    assert_eq!(kept.usage, bare.usage);
    assert_eq!(kept.dialect, bare.dialect);
    assert_eq!(kept.operation, bare.operation);
    assert_eq!(kept.request.model, bare.request.model);
    assert_eq!(kept.response.model, bare.response.model);
    assert_eq!(kept.response.id, bare.response.id);
    assert_eq!(kept.response.finish_reasons, bare.response.finish_reasons);
    let kind = |call: &Call| call.error.as_ref().map(|error| error.kind.clone());
    assert_eq!(kind(kept), kind(bare));
}

fn draft(script: &[u8], options: Options) -> Option<Call> {
    let mut pieces = script.split(|byte| *byte == 0xff);
    let (head, body) = line(pieces.next()?);
    let head = String::from_utf8_lossy(head);
    let mut words = head.split(' ');
    let request = request_head(words.next()?, words.next());
    let mut response = ResponseHead {
        status: words.next().and_then(|status| status.parse().ok()),
        ..ResponseHead::default()
    };
    if let Some(content_type) = words.next() {
        response.fields.push("content-type", content_type);
    }
    let origin = Origin::default();
    let mut draft = Draft::new(Timestamp::default(), &request, &origin, options)?;
    if !draft.request(whole(body)) {
        return None;
    }
    std::hint::black_box(draft.started(CallId(1), ConnectionId(1), Role::Client));
    draft.response_head(Timestamp::default(), &response);
    for (at, piece) in (1..).zip(pieces) {
        part(&mut draft, Timestamp::from_nanos(at), piece);
        while draft.new_text().is_some() {}
    }
    finish(draft)
}

fn part(draft: &mut Draft, at: Timestamp, piece: &[u8]) {
    let (head, data) = line(piece);
    let (&[letter], name) = head.split_first_chunk().unwrap_or((b"e", &[]));
    let name = std::str::from_utf8(name).ok().filter(|n| !n.is_empty());
    let mut message = |kind| {
        draft.response_message(Message {
            at,
            kind,
            name,
            data,
        })
    };
    match letter {
        b'w' => message(MessageKind::Whole),
        b'x' => message(MessageKind::Exception),
        b'g' => draft.response_gap(),
        b'b' => {
            let (head, tail) = line(data);
            let missing = Missing { lost: 7, cut: 0 };
            let body = Body {
                head,
                tail,
                missing,
            };
            draft.response_body(at, body);
        }
        b't' => {
            let mut trailers = Fields::default();
            trailers.push(
                name.unwrap_or("grpc-status"),
                &String::from_utf8_lossy(data),
            );
            draft.response_trailers(&trailers);
        }
        _ => message(MessageKind::Event),
    }
}

fn method(script: &[u8], options: Options) -> Option<Call> {
    const METHODS: [&str; 8] = [
        "/xai_api.Chat/GetCompletion",
        "/xai_api.Chat/GetCompletionChunk",
        "/xai_api.Image/GenerateImage",
        "/google.ai.generativelanguage.v1.GenerativeService/GenerateContent",
        "/google.ai.generativelanguage.v1beta.GenerativeService/StreamGenerateContent",
        "/google.ai.generativelanguage.v1.GenerativeService/BatchEmbedContents",
        "/google.cloud.aiplatform.v1.PredictionService/StreamGenerateContent",
        "/google.cloud.aiplatform.v1.PredictionService/EmbedContent",
    ];
    let (choice, mut rest) = script.split_first()?;
    let head = request_head(
        METHODS.get(usize::from(choice & 7))?,
        Some("application/grpc"),
    );
    let origin = Origin::default();
    let mut draft = Draft::new(Timestamp::default(), &head, &origin, options)?;
    let mut asked = false;
    let mut at = 0_u64;
    while let Some((&[high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (data, after) = after.split_at_checked(length).unwrap_or((after, &[]));
        rest = after;
        at = at.saturating_add(1);
        if !std::mem::replace(&mut asked, true) {
            // The prefix of a message that is not compressed.
            let framed = [&[0, 0, 0, high, low], data].concat();
            if !draft.request(whole(&framed)) {
                return None;
            }
            draft.response_head(Timestamp::default(), &ResponseHead::default());
            continue;
        }
        let (at, kind, name) = (Timestamp::from_nanos(at), MessageKind::Event, None);
        draft.response_message(Message {
            at,
            kind,
            name,
            data,
        });
    }
    finish(draft)
}

fn turns(script: &[u8], options: Options) -> Vec<Option<Call>> {
    let mut pieces = script.split(|byte| *byte == 0xff);
    let url = String::from_utf8_lossy(pieces.next().unwrap_or_default());
    let mut head = request_head(&url, None);
    head.fields.push("upgrade", "websocket");
    let Some(mut session) = Session::new(&head, &Origin::default(), options) else {
        return Vec::new();
    };
    session.accepted(&ResponseHead::default());
    let mut calls = Vec::new();
    for (at, piece) in (1..).zip(pieces) {
        let at = Timestamp::from_nanos(at);
        let ended = match piece.split_first() {
            Some((b'c', text)) => session.message(at, Role::Client, text),
            Some((b's', text)) => session.message(at, Role::Server, text),
            _ => {
                session.gap();
                None
            }
        };
        calls.extend(ended.map(finish));
    }
    calls.extend(session.close().map(finish));
    calls
}

fn finish(draft: Box<Draft>) -> Option<Call> {
    let end = Timestamp::default();
    let call = draft.finish(
        CallId(1),
        ConnectionId(1),
        Role::Client,
        end,
        Capture::default(),
    )?;
    Some(*call)
}

fn request_head(url: &str, content_type: Option<&str>) -> RequestHead {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, target) = rest.find('/').map_or((rest, None), |at| {
        let (host, target) = rest.split_at(at);
        (host, Some(target))
    });
    let mut fields = Fields::default();
    if let Some(content_type) = content_type {
        // A parameter of it follows without a blank.
        fields.push("content-type", content_type);
    }
    RequestHead {
        method: "POST".into(),
        authority: Some(host.into()),
        target: target.map(Into::into),
        fields,
        partial: target.is_none(),
        ..RequestHead::default()
    }
}

fn whole(body: &[u8]) -> Body<'_> {
    Body {
        head: body,
        tail: &[],
        missing: Missing::NONE,
    }
}

/// The first line, and what follows it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let first = parts.next().unwrap_or_default();
    (first, parts.next().unwrap_or_default())
}
