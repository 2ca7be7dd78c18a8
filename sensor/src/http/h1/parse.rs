//! Heads of HTTP/1 messages, and what they say about framing.
//!
//! In: the bytes of one head. Out: the head and its [`Framing`]. Must not know: what
//! came before.

use std::mem::MaybeUninit;

use super::messages::Framing;
use crate::http::head::Version;
use crate::http::head::{redact_url, without_userinfo};
use crate::http::{Fields, RequestHead, ResponseHead};

/// Fields of one head; a head with more is refused.
const MOST_FIELDS: usize = 256;

/// Reads the head of a request; `None` where it is none.
pub(super) fn request(head: &mut [u8]) -> Option<(RequestHead, Framing)> {
    unfold(head);
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut raw = httparse::Request::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .ignore_invalid_headers_in_requests(true);
    let status = config.parse_request_with_uninit_headers(&mut raw, head, &mut fields);
    let status = status.ok()?;
    if status.is_partial() {
        return None;
    }
    let fields = kept(raw.headers, head.len());
    let (authority, target) = split_target(raw.method?, raw.path?);
    let authority = authority
        .or_else(|| fields.first("host"))
        .filter(|authority| !authority.is_empty());
    let framing = request_framing(&fields);
    let head = RequestHead {
        method: raw.method?.into(),
        authority: authority.map(Into::into),
        target: Some(redact_url(target).into()),
        version: version(raw.version),
        partial: false,
        fields,
    };
    Some((head, framing))
}

/// Reads the head of a response to a request of kind `method` (empty where that is not
/// known); `None` where it is none.
pub(super) fn response(head: &mut [u8], method: &str) -> Option<(ResponseHead, Framing)> {
    unfold(head);
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut raw = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    let status = config.parse_response_with_uninit_headers(&mut raw, head, &mut fields);
    let status = status.ok()?;
    if status.is_partial() {
        return None;
    }
    let status = raw.code?;
    let fields = kept(raw.headers, head.len());
    let framing = response_framing(method, status, &fields);
    let head = ResponseHead {
        status: Some(status),
        fields,
        partial: false,
    };
    Some((head, framing))
}

/// Reads a trailer section; what is no list of fields has none.
pub(super) fn trailers(section: &mut [u8]) -> Fields {
    // As nearly all are.
    let is_empty = matches!(&*section, b"\r\n" | b"\n");
    if is_empty {
        return Fields::default();
    }
    unfold(section);
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((bytes, raw))) => kept(raw, bytes),
        _ => Fields::default(),
    }
}

/// The status code that a head begins with.
pub(super) fn status(head: &[u8]) -> Option<u16> {
    let code = head.get(b"HTTP/1.1 ".len()..)?.get(..3)?;
    std::str::from_utf8(code).ok()?.parse().ok()
}

/// The fields of a head of so many bytes.
fn kept(raw: &[httparse::Header<'_>], bytes: usize) -> Fields {
    let mut fields = Fields::with_capacity(raw.len(), bytes);
    for field in raw {
        match std::str::from_utf8(field.value) {
            Ok(value) => fields.push(field.name, value),
            Err(_) => fields.push(field.name, &String::from_utf8_lossy(field.value)),
        }
    }
    fields
}

fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::Http10,
        _ => Version::Http11,
    }
}

/// The authority that a target names, and its path with query (RFC 9112, section 3.2).
fn split_target<'a>(method: &str, target: &'a str) -> (Option<&'a str>, &'a str) {
    if method == "CONNECT" {
        return (Some(without_userinfo(target)), "");
    }
    if target.starts_with('/') {
        return (None, target);
    }
    let Some((_, rest)) = target.split_once("://") else {
        return (None, target);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.is_empty() { "/" } else { path };
    (Some(without_userinfo(authority)), path)
}

/// Puts folded lines into one (RFC 9112, section 5.2).
fn unfold(head: &mut [u8]) {
    let mut from = 0;
    while let Some(rest) = head.get_mut(from..) {
        let Some(line) = memchr::memchr(b'\n', rest) else {
            return;
        };
        let next = line.saturating_add(1);
        if matches!(rest.get(next), Some(b' ' | b'\t')) {
            let start = match line.checked_sub(1) {
                Some(before) if rest.get(before) == Some(&b'\r') => before,
                _ => line,
            };
            if let Some(fold) = rest.get_mut(start..next) {
                fold.fill(b' ');
            }
        }
        from = from.saturating_add(next);
    }
}

fn request_framing(fields: &Fields) -> Framing {
    match transfer(fields) {
        Some(true) => Framing::Chunked,
        Some(false) => Framing::Unknown,
        None => match length(fields) {
            Length::Absent => Framing::Fixed(0),
            Length::Known(length) => Framing::Fixed(length),
            Length::Invalid => Framing::Unknown,
        },
    }
}

fn response_framing(method: &str, status: u16, fields: &Fields) -> Framing {
    match status {
        101 => return Framing::Handover,
        100..=199 => return Framing::Interim,
        200..=299 if method == "CONNECT" => return Framing::Handover,
        204 | 304 => return Framing::Fixed(0),
        _ if method == "HEAD" => return Framing::Fixed(0),
        _ => {}
    }
    match transfer(fields) {
        Some(true) => Framing::Chunked,
        Some(false) => Framing::UntilClose,
        None => match length(fields) {
            Length::Absent => Framing::UntilClose,
            Length::Known(length) => Framing::Fixed(length),
            Length::Invalid => Framing::Unknown,
        },
    }
}

/// Whether the last transfer coding is `chunked`; `None` where there is none.
fn transfer(fields: &Fields) -> Option<bool> {
    let last = fields.list("transfer-encoding").last()?;
    Some(last.eq_ignore_ascii_case("chunked"))
}

enum Length {
    Absent,
    Known(u64),
    Invalid,
}

/// `Content-Length`; repeated, it must say the same (RFC 9110, section 8.6).
fn length(fields: &Fields) -> Length {
    let mut known = Length::Absent;
    for value in fields.list("content-length") {
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        known = match (value.parse(), known) {
            (Ok(length), Length::Absent) if digits => Length::Known(length),
            (Ok(length), Length::Known(before)) if digits && length == before => {
                Length::Known(length)
            }
            _ => return Length::Invalid,
        };
    }
    known
}
