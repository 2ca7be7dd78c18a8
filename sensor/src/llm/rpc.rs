//! What gRPC says of a call beside its messages: how it ended.
//!
//! In: fields of heads, of trailers and of gRPC-Web's last frame. Out: [`Status`]. Must
//! not know: messages.

use super::call::{Failure, Name};
use super::text::percent_decoded;
use crate::http::Fields;

/// `grpc-status`, and `grpc-message` where it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    code: u16,
    message: Option<Box<str>>,
}

/// Names of codes, in their order.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Characters kept of a message.
const MAX_MESSAGE: usize = 4096;

impl Status {
    pub(super) fn of(fields: &Fields) -> Option<Self> {
        let code = fields.first("grpc-status")?.parse().ok()?;
        let message = fields.first("grpc-message").filter(|m| !m.is_empty());
        let message = message.map(|m| percent_decoded(m).chars().take(MAX_MESSAGE).collect());
        Some(Self { code, message })
    }

    /// The code by its name; one that has none as its number.
    pub(super) fn name(&self) -> Name {
        match NAMES.get(usize::from(self.code)) {
            Some(name) => Name::Borrowed(name),
            None => Name::Owned(self.code.to_string()),
        }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        (self.code != 0).then(|| Failure {
            kind: self.name(),
            message: self.message.clone(),
        })
    }
}

/// Lines kept of a frame of trailers.
const MAX_LINES: usize = 256;

/// The fields in gRPC-Web's frame of trailers: a line each, as HTTP/1 has them.
pub(super) fn trailers(frame: &str) -> Fields {
    let mut fields = Fields::default();
    for line in frame.lines().take(MAX_LINES) {
        if let Some((name, value)) = line.split_once(':') {
            fields.push(name.trim_ascii(), value);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_a_name_and_words() {
        let status = |text: &str| Status::of(&trailers(text));
        let ok = status("grpc-status:0\r\ngrpc-message:\r\n").unwrap();
        assert_eq!((ok.name().as_ref(), ok.failure()), ("OK", None));
        let failed = status("Grpc-Status: 8\r\nGrpc-Message: 50%25 f%C3%BCr heute\r\n").unwrap();
        let failure = failed.failure().unwrap();
        assert_eq!(failure.kind, "RESOURCE_EXHAUSTED");
        assert_eq!(failure.message.as_deref(), Some("50% für heute"));
        assert_eq!(status("grpc-status: 99").unwrap().name(), "99");
        for none in [
            "",
            "grpc-status: x",
            "grpc-status: 70000",
            "grpc-message: m",
        ] {
            assert_eq!(status(none), None, "{none}");
        }
        let long = format!("grpc-status: 2\ngrpc-message: {}", "é".repeat(5000));
        let message = status(&long).unwrap().failure().unwrap().message.unwrap();
        assert_eq!(message.chars().count(), MAX_MESSAGE);
    }
}
