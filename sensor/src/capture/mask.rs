//! Overwrites credentials in HTTP/1 heads, in a stream cut at any byte.
//!
//! In: the bytes of one direction of a connection, as they come. Out: the same
//! bytes, the values of credentials replaced by as many `*`.
//!
//! It follows lines and not messages: a line that *looks* like a field with a
//! credential, or like a request whose query has one, is masked wherever it stands.
//! So no error in framing can let one through; at worst a few bytes too many are
//! masked. Where it can't know whether it stands inside a value (joined midway,
//! bytes lost), the rest of the line is masked. HTTP/2, whose heads are compressed,
//! is left out, and so is anything binary on a connection not known to be HTTP/1.

use std::collections::HashMap;

use crate::event::{ConnectionId, Direction, Missing, Origin};
use crate::http::head::{is_authorization, is_credential, is_query_credential};

/// Connections whose state is kept. Beyond it all state is dropped, which is safe:
/// each then goes on as if it had been joined midway.
const MAX_CONNECTIONS: usize = 1 << 16;

/// Names longer than this are taken for credentials.
const MAX_NAME: usize = 64;

/// Servers take no longer field than some 8 to 16 KiB: past that, no value that
/// began unseen goes on.
const MAX_VALUE: usize = 16 << 10;

/// Masks the streams of many connections.
#[derive(Debug, Default)]
pub struct Masks(HashMap<ConnectionId, Protocol>);

#[derive(Debug)]
enum Protocol {
    Lines {
        write: LineMask,
        read: LineMask,
    },
    Http2,
    /// Messages over pipes, which have no heads.
    Messages,
}

impl Default for Protocol {
    fn default() -> Self {
        Self::Lines {
            write: LineMask::default(),
            read: LineMask::default(),
        }
    }
}

impl Masks {
    pub fn open(&mut self, connection: ConnectionId, origin: &Origin) {
        if origin.alpn.as_deref() == Some("h2") {
            *self.entry(connection) = Protocol::Http2;
        } else if origin.pipe.is_some() {
            *self.entry(connection) = Protocol::Messages;
        }
    }

    /// Masks `bytes` in place and answers what is missing before them, or `None`
    /// where they cannot be masked and must not be kept.
    pub fn mask(
        &mut self,
        connection: ConnectionId,
        direction: Direction,
        missing: Missing,
        bytes: &mut [u8],
    ) -> Option<Missing> {
        let protocol = self.entry(connection);
        let (write, read) = match protocol {
            Protocol::Lines { write, read } => (write, read),
            Protocol::Http2 => return None,
            Protocol::Messages => return Some(missing),
        };
        let lines = match direction {
            Direction::Write => write,
            Direction::Read => read,
        };
        let kept = lines.chunk(missing, bytes);
        if lines.preface {
            *protocol = Protocol::Http2;
            return None;
        }
        kept
    }

    pub fn close(&mut self, connection: ConnectionId) {
        self.0.remove(&connection);
    }

    fn entry(&mut self, connection: ConnectionId) -> &mut Protocol {
        if self.0.len() >= MAX_CONNECTIONS && !self.0.contains_key(&connection) {
            self.0.clear();
        }
        self.0.entry(connection).or_default()
    }
}

/// Masks one stream.
#[derive(Debug, Default)]
struct LineMask {
    state: State,
    /// The field or parameter name being read, in lower case.
    name: Vec<u8>,
    /// The line before was masked, and so is one that continues it (RFC 9112, 5.2).
    folded: bool,
    /// A first line of HTTP/1 was seen.
    http1: bool,
    /// The preface of HTTP/2 was seen (RFC 9113, 3.4).
    preface: bool,
    /// Bytes left out since the last that were kept.
    left_out: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the start of the stream, or in its first word.
    #[default]
    Start,
    /// At the start of a line, or in the name that it begins with.
    Name,
    /// Behind that name and white space.
    AfterName,
    /// In the first word of a field's value, which may be an authentication scheme.
    Scheme,
    /// In a request target, before its query; so much of `://` was seen.
    Target { matched: u8 },
    /// In the authority of a target in absolute form.
    Authority,
    /// In the name of a parameter of the query.
    Parameter,
    /// In a parameter's value.
    Value { credential: bool },
    /// The rest of the line is not masked.
    Pass,
    /// The rest of the line is masked.
    Mask,
    /// The line began unseen: masked up to its end, at most so many bytes.
    Unknown { left: usize },
}

const TARGET: State = State::Target { matched: 0 };

impl LineMask {
    fn chunk(&mut self, missing: Missing, bytes: &mut [u8]) -> Option<Missing> {
        if missing.lost > 0 || (missing.cut > 0 && self.state != State::Pass) {
            self.resume(bytes);
        }
        if !self.http1 && memchr::memchr(0, bytes).is_some() && !begins_message(bytes) {
            self.state = State::Unknown { left: MAX_VALUE };
            let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let before = missing.total();
            self.left_out = self.left_out.saturating_add(len).saturating_add(before);
            return None;
        }
        self.mask(bytes);
        Some(missing.and(Missing {
            lost: std::mem::take(&mut self.left_out),
            cut: 0,
        }))
    }

    /// Goes on after a hole: nothing tells where in a message, but that message's start.
    fn resume(&mut self, bytes: &[u8]) {
        self.name.clear();
        self.state = if begins_message(bytes) {
            State::Start
        } else {
            State::Unknown { left: MAX_VALUE }
        };
    }

    fn mask(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.state == State::Pass {
                let Some(end) = memchr::memchr(b'\n', rest) else {
                    return;
                };
                rest = rest.get_mut(end..).unwrap_or_default();
            }
            if self.state == State::Authority {
                let end = self.authority(rest);
                rest = rest.get_mut(end..).unwrap_or_default();
            }
            let Some((byte, behind)) = rest.split_first_mut() else {
                return;
            };
            self.step(byte);
            rest = behind;
        }
    }

    fn step(&mut self, byte: &mut u8) {
        if *byte == b'\n' {
            self.folded = matches!(self.state, State::Mask | State::Unknown { .. });
            self.name.clear();
            self.state = State::Name;
            return;
        }
        self.state = match self.state {
            State::Start => self.start(byte),
            State::Name => self.name(*byte),
            State::AfterName => self.after_name(*byte),
            State::Scheme => self.scheme(*byte),
            State::Target { matched } => self.target(matched, *byte),
            State::Authority => State::Authority,
            State::Parameter => self.parameter(*byte),
            State::Value { credential } => self.parameter_value(credential, byte),
            State::Pass => State::Pass,
            State::Mask => {
                overwrite(byte);
                State::Mask
            }
            State::Unknown { left } => {
                overwrite(byte);
                match left.checked_sub(1) {
                    Some(left) => State::Unknown { left },
                    None => State::Pass,
                }
            }
        };
    }

    /// The first bytes of a stream: a message's first line, or the midst of anything.
    fn start(&mut self, byte: &mut u8) -> State {
        self.name.push(*byte);
        let seen = self.name.as_slice();
        if seen == b"PRI " {
            self.preface = true;
        }
        if FIRST_WORDS.contains(&seen) {
            self.http1 = true;
            return if *byte == b' ' { TARGET } else { State::Pass };
        }
        if FIRST_WORDS.iter().any(|word| word.starts_with(seen)) {
            return State::Start;
        }
        overwrite(byte);
        State::Unknown { left: MAX_VALUE }
    }

    fn name(&mut self, byte: u8) -> State {
        match byte {
            b':' => self.field_value(),
            b' ' | b'\t' if self.name.is_empty() && self.folded => State::Mask,
            b' ' | b'\t' if self.name.is_empty() => State::Pass,
            b' ' | b'\t' => {
                self.http1 |= FIRST_WORDS.iter().any(|word| {
                    word.strip_suffix(b" ")
                        .is_some_and(|method| method.eq_ignore_ascii_case(&self.name))
                });
                State::AfterName
            }
            b'/' => {
                self.http1 |= self.name == b"http";
                State::Pass
            }
            b if is_token(b) => {
                self.push(b);
                State::Name
            }
            _ => State::Pass,
        }
    }

    fn after_name(&mut self, byte: u8) -> State {
        match byte {
            b':' => self.field_value(),
            b' ' | b'\t' => State::AfterName,
            b'*' if self.name == b"pri" => {
                self.preface = true;
                State::Pass
            }
            b => self.target(0, b),
        }
    }

    fn field_value(&mut self) -> State {
        let credential = match std::str::from_utf8(&self.name) {
            Ok(name) => name.len() > MAX_NAME || is_credential(name),
            Err(_) => true,
        };
        self.name.clear();
        if credential {
            State::Mask
        } else {
            State::Scheme
        }
    }

    fn scheme(&mut self, byte: u8) -> State {
        const LONGEST: usize = 16;
        if self.name.is_empty() && matches!(byte, b' ' | b'\t') {
            return State::Scheme;
        }
        self.push(byte);
        match std::str::from_utf8(&self.name) {
            Ok(value) if is_authorization(value) => State::Mask,
            _ if self.name.len() > LONGEST => State::Pass,
            _ => State::Scheme,
        }
    }

    fn target(&mut self, matched: u8, byte: u8) -> State {
        match (matched, byte) {
            (_, b'?' | b'#') => {
                self.name.clear();
                State::Parameter
            }
            (_, b' ' | b'\t') => State::Pass,
            (0, b':') => State::Target { matched: 1 },
            (1, b'/') => State::Target { matched: 2 },
            (2, b'/') => State::Authority,
            _ => TARGET,
        }
    }

    /// Masks what stands before the host (RFC 3986, 3.2.1), and all of what may stand
    /// there where the end of the authority is not in `rest`. Gives its length.
    fn authority(&mut self, rest: &mut [u8]) -> usize {
        let end = rest.iter().position(|b| b"/?# \t\r\n".contains(b));
        let secret = match end {
            Some(end) => {
                self.state = TARGET;
                let authority = rest.get(..end).unwrap_or_default();
                memchr::memrchr(b'@', authority).unwrap_or(0)
            }
            None => rest.len(),
        };
        rest.iter_mut().take(secret).for_each(overwrite);
        end.unwrap_or(rest.len())
    }

    fn parameter(&mut self, byte: u8) -> State {
        match byte {
            b'=' => {
                let credential = match std::str::from_utf8(&self.name) {
                    Ok(name) => name.len() > MAX_NAME || is_query_credential(name),
                    Err(_) => true,
                };
                State::Value { credential }
            }
            b'&' | b';' | b'#' | b'?' => {
                self.name.clear();
                State::Parameter
            }
            b' ' => State::Pass,
            b => {
                self.push(b);
                State::Parameter
            }
        }
    }

    fn parameter_value(&mut self, credential: bool, byte: &mut u8) -> State {
        match *byte {
            b'&' | b';' | b'#' | b'?' => {
                self.name.clear();
                State::Parameter
            }
            b' ' => State::Pass,
            _ => {
                if credential {
                    overwrite(byte);
                }
                State::Value { credential }
            }
        }
    }

    fn push(&mut self, byte: u8) {
        // One more than is allowed marks a name that is too long.
        if self.name.len() <= MAX_NAME {
            self.name.push(byte.to_ascii_lowercase());
        }
    }
}

/// What the first line of a request or a response begins with.
const FIRST_WORDS: [&[u8]; 11] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"PATCH ",
    b"DELETE ",
    b"HEAD ",
    b"OPTIONS ",
    b"CONNECT ",
    b"TRACE ",
    b"PRI ",
    b"HTTP/",
];

fn begins_message(bytes: &[u8]) -> bool {
    FIRST_WORDS.iter().any(|word| bytes.starts_with(word))
}

fn overwrite(byte: &mut u8) {
    if *byte != b'\r' {
        *byte = b'*';
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "POST /v1/x?alt=sse&key=AIzaSecret&b=1 HTTP/1.1\r\n\
        Host: api.example\r\n\
        Authorization: Bearer sk-secret\r\n\
        X-Api-Key : sk-secret\r\n\
        X-Other: Bearer secret\r\n\
        Cookie: a=secret;\r\n b=secret\r\n\
        Content-Length: 15\r\n\r\n\
        {\"a\": \"kept b\"}\n\
        GET /next HTTP/1.1\r\napi-key:secret\r\nAccept: kept\r\n\r\n";

    fn masked_in_pieces(text: &str, piece: usize) -> Option<String> {
        let mut masks = Masks::default();
        let mut out = Vec::new();
        for chunk in text.as_bytes().chunks(piece) {
            let mut chunk = chunk.to_vec();
            masks.mask(ConnectionId(1), Direction::Write, Missing::NONE, &mut chunk)?;
            out.extend(chunk);
        }
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn credentials_are_masked_wherever_the_stream_is_cut() {
        let whole = masked_in_pieces(HEAD, HEAD.len()).unwrap();
        assert_eq!(whole.len(), HEAD.len());
        assert!(!whole.to_lowercase().contains("secret"), "{whole}");
        for kept in [
            "alt=sse&key=**********&b=1 HTTP/1.1",
            "kept b",
            "Accept: kept",
            "/next",
        ] {
            assert!(whole.contains(kept), "{kept} in {whole}");
        }
        for piece in 1..HEAD.len() {
            assert_eq!(
                masked_in_pieces(HEAD, piece).as_ref(),
                Some(&whole),
                "{piece}"
            );
        }
    }

    #[test]
    fn messages_over_pipes_stay_as_they_are() {
        let mut masks = Masks::default();
        let origin = Origin {
            pipe: Some(7),
            ..Origin::default()
        };
        masks.open(ConnectionId(1), &origin);
        let lost = Missing { lost: 9, cut: 0 };
        for missing in [Missing::NONE, lost] {
            let mut bytes = *b"{\"id\":1}\ncookie: a\n";
            let before = bytes;
            let kept = masks.mask(ConnectionId(1), Direction::Read, missing, &mut bytes);
            assert_eq!((kept, bytes), (Some(missing), before));
        }
    }

    #[test]
    fn user_information_in_a_target_is_masked() {
        let text = "GET http://jo:secret@a.example:80/b:c@d?e=f HTTP/1.1\r\n\r\n";
        let whole = masked_in_pieces(text, text.len()).unwrap();
        assert_eq!(whole, text.replace("jo:secret", "*********"));
        for piece in 1..text.len() {
            let masked = masked_in_pieces(text, piece).unwrap();
            assert!(
                !masked.contains('j') && !masked.contains("secret"),
                "{masked}"
            );
            assert!(masked.ends_with("/b:c@d?e=f HTTP/1.1\r\n\r\n"), "{masked}");
        }
    }

    #[test]
    fn a_stream_joined_inside_a_value_is_masked_to_the_end_of_the_line() {
        let text = "k-secret\r\nAccept: kept\r\n\r\n";
        assert_eq!(
            masked_in_pieces(text, 3).unwrap(),
            "********\r\nAccept: kept\r\n\r\n"
        );
    }

    #[test]
    fn after_a_loss_the_rest_of_the_line_is_masked() {
        let mut masks = Masks::default();
        let lost = Missing { lost: 9, cut: 0 };
        let mut first = *b"POST / HTTP/1.1\r\n";
        let mut second = *b"secret\r\nA: kept";
        let mut mask = |missing, bytes: &mut [u8]| {
            masks.mask(ConnectionId(1), Direction::Write, missing, bytes)
        };
        assert_eq!(mask(Missing::NONE, &mut first), Some(Missing::NONE));
        assert_eq!(mask(lost, &mut second), Some(lost));
        assert_eq!(&second, b"******\r\nA: kept");
    }

    #[test]
    fn a_cut_body_is_kept() {
        let mut masks = Masks::default();
        let mut head = *b"POST / HTTP/1.1\r\n\r\n{\"begin\"";
        let mut tail = *b"\"end\": 1}";
        let cut = Missing { lost: 0, cut: 99 };
        masks.mask(ConnectionId(1), Direction::Write, Missing::NONE, &mut head);
        masks.mask(ConnectionId(1), Direction::Write, cut, &mut tail);
        assert_eq!(&tail, b"\"end\": 1}");
    }

    #[test]
    fn http2_is_left_out_however_it_shows() {
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for piece in 4..preface.len() {
            assert_eq!(masked_in_pieces(preface, piece), None, "{piece}");
        }
        let upgraded = format!("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n{preface}");
        assert_eq!(masked_in_pieces(&upgraded, upgraded.len()), None);
        assert_eq!(masked_in_pieces("\0\0\x04\x01\0\0\0\0\x01\x40", 10), None);

        let mut masks = Masks::default();
        let alpn = Origin {
            alpn: Some("h2".into()),
            ..Origin::default()
        };
        masks.open(ConnectionId(1), &alpn);
        let mut text = *b"any";
        let kept = masks.mask(ConnectionId(1), Direction::Read, Missing::NONE, &mut text);
        assert_eq!(kept, None);
    }

    #[test]
    fn what_was_left_out_shows_as_lost_before_the_next_bytes() {
        let mut masks = Masks::default();
        let mut binary = *b"\x1f\x8b\0\0";
        let mut text = *b"HTTP/1.1 200 OK\r\n";
        let mut mask =
            |bytes: &mut [u8]| masks.mask(ConnectionId(1), Direction::Read, Missing::NONE, bytes);
        assert_eq!(mask(&mut binary), None);
        assert_eq!(mask(&mut text), Some(Missing { lost: 4, cut: 0 }));
    }

    #[test]
    fn bodies_of_a_known_message_may_be_binary() {
        let text = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\0\0\x01";
        assert_eq!(masked_in_pieces(text, 7).as_deref(), Some(text));
    }
}
