//! Heads as HTTP/1.1 spells them (RFC 9112).

use std::fmt::Write as _;

use super::Bodies;
use crate::http::head::Version;
use crate::http::{Fields, RequestHead, ResponseHead};

/// Fields that speak of a framing or a connection which the copy does not have.
const FRAMING: [&str; 14] = [
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "http2-settings",
    "host",
    "expect",
    "content-md5",
    "sec-websocket-extensions",
    ":protocol",
];

/// Fields left out where content is hidden: codings, as it is decoded before, and words
/// of gRPC about what went wrong.
const HIDDEN: [&str; 4] = [
    "content-encoding",
    "grpc-encoding",
    "grpc-message",
    "grpc-status-details-bin",
];

/// Whether a request asks for a WebSocket (RFC 6455, 4.1; RFC 8441, 4).
pub fn is_upgrade(head: &RequestHead) -> bool {
    let named = |name| {
        let value = head.fields.first(name);
        value.is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
    };
    match head.version {
        Version::Http2 => named(":protocol"),
        Version::Http10 | Version::Http11 => named("upgrade"),
    }
}

/// Whether a final response has content (RFC 9110, 6.4.1).
pub fn has_body(head: &ResponseHead) -> bool {
    !matches!(head.status, Some(100..=199 | 204 | 304))
}

pub fn request(head: &RequestHead, is_upgrade: bool, bodies: Bodies) -> String {
    let method = if is_upgrade { "GET" } else { &*head.method };
    let method = if method.is_empty() { "POST" } else { method };
    let target = head.target.as_deref().unwrap_or("/");
    let mut text = format!("{} {} HTTP/1.1\r\n", word(method), word(target));
    if let Some(authority) = &head.authority {
        let _ = write!(text, "host: {}\r\n", line(authority));
    }
    fields(&mut text, &head.fields, bodies);
    text.push_str(if is_upgrade { UPGRADE } else { CHUNKED });
    text
}

/// `is_switch`: the response accepts a WebSocket.
pub fn response(head: &ResponseHead, is_switch: bool, bodies: Bodies) -> String {
    let status = if is_switch { Some(101) } else { head.status };
    let mut text = format!("HTTP/1.1 {:03} \r\n", status.unwrap_or(200));
    fields(&mut text, &head.fields, bodies);
    text.push_str(match (is_switch, has_body(head)) {
        (true, _) => UPGRADE,
        (false, true) => CHUNKED,
        (false, false) => "\r\n",
    });
    text
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n";
const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// Fields a line each, as trailers.
pub fn lines(trailers: Option<&Fields>, bodies: Bodies) -> String {
    let mut text = String::new();
    if let Some(trailers) = trailers {
        fields(&mut text, trailers, bodies);
    }
    text
}

fn fields(text: &mut String, fields: &Fields, bodies: Bodies) {
    for (name, value) in fields.iter() {
        let is_hidden = bodies == Bodies::Hidden && HIDDEN.contains(&name);
        if !FRAMING.contains(&name) && !is_hidden && !name.is_empty() {
            let _ = write!(text, "{}: {}\r\n", word(name), line(value));
        }
    }
}

/// `text` without what would end a line.
fn line(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_control(), " ")
}

/// `text` without what would end a word.
fn word(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_control() || c == ' ', "_")
}
