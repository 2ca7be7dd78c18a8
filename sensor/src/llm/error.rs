//! What providers say when a call fails.
//!
//! In: the body of an error response, or an error inside a stream. Out:
//! [`Failure`] with the provider's type and words.

use super::call::{Failure, Name};
use super::json::{List, Raw, Str, parse, wire};

/// `error.type` of a stream whose end was not seen.
pub(super) const STREAM_INTERRUPTED: &str = "stream_interrupted";

/// `error.type` of a failure whose type was not told.
pub(super) const UNKNOWN: &str = "error";

/// Bytes kept of a provider's words.
const MAX_MESSAGE: usize = 8192;

wire! {
    /// Every place where a provider is known to put type and words of an error.
    struct ErrorBody<'a> {
        error: Raw<'a>,
        errors: List<Detail<'a>>,
        message: Raw<'a> = "message" | "Message",
        detail: Raw<'a>,
        kind: Str<'a> = "type" | "__type" | "error_type",
        code: Str<'a> = "code" | "ErrorCode",
        original: Str<'a> = "OriginalMessage",
    }

    struct Detail<'a> {
        message: Str<'a> = "message" | "msg",
        kind: Str<'a> = "type",
        status: Str<'a>,
        code: Str<'a>,
    }
}

/// The failure that `body` tells; `None` where it has the shape of none.
pub(super) fn read(body: &str) -> Option<Failure> {
    let raw = Raw::of(body.trim_start());
    if raw.is_list() {
        let first = raw.parse::<List<Raw<'_>>>().first().copied()?;
        return first.is_object().then(|| read(first.text())).flatten();
    }
    let body: ErrorBody<'_> = parse(raw.text())?;
    let inner: Detail<'_> = body.error.parse();
    let first = body.errors.first();
    let message = inner
        .message
        .or(body.error.string())
        .or(first.map(|e| e.message).unwrap_or_default())
        .or(body.message.string())
        .or(body.message.parse::<Detail<'_>>().message)
        .or(body.detail.string())
        .or(details(body.detail))
        .or(body.original);
    let outer = if body.kind.key() == "error" {
        Str::default()
    } else {
        body.kind
    };
    let kind = inner
        .kind()
        .or(first.map(|e| e.code).unwrap_or_default())
        .or(outer)
        .or(body.code);
    if message.is_empty() && kind.is_empty() {
        return None;
    }
    Some(failure(kind, message))
}

impl<'a> Detail<'a> {
    /// The name that says most: of a limit that was reached OpenAI's type says only what it
    /// counts, and a status may be a mere number.
    fn kind(&self) -> Str<'a> {
        let counts = matches!(self.kind.key(), "tokens" | "requests");
        let kind = if counts { self.code } else { self.kind };
        let numbered = self.status.key().bytes().all(|byte| byte.is_ascii_digit());
        let status = if numbered {
            Str::default()
        } else {
            self.status
        };
        kind.or(self.kind).or(status).or(self.code).or(self.status)
    }
}

/// The message of a validation error as FastAPI servers give it.
fn details(detail: Raw<'_>) -> Str<'_> {
    let list: List<Detail<'_>> = detail.one_or_many();
    list.first().map(|d| d.message).unwrap_or_default()
}

/// The status code that an error response was sent with, where what its body says goes
/// with but one.
pub(super) fn status(body: &str) -> Option<u16> {
    let raw = Raw::of(body.trim_start());
    if raw.is_list() {
        let first = raw.parse::<List<Raw<'_>>>().first().copied()?;
        return first.is_object().then(|| status(first.text())).flatten();
    }
    let body: ErrorBody<'_> = parse(raw.text())?;
    let inner: Detail<'_> = body.error.parse();
    let names = [inner.code, inner.status, inner.kind];
    let told = names.into_iter().find_map(|name| status_of(name.key()));
    // Others have these types for more than one status.
    let of_anthropic = match inner.kind.key() {
        "invalid_request_error" => Some(400),
        "not_found_error" => Some(404),
        "api_error" => Some(500),
        _ => None,
    };
    told.or(of_anthropic.filter(|_| body.kind.key() == "error"))
}

/// The status code that goes with a code, or the name of an error, alone.
fn status_of(name: &str) -> Option<u16> {
    Some(match name {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" => 400,
        "invalid_api_key" | "authentication_error" | "UNAUTHENTICATED" => 401,
        "permission_error" | "PERMISSION_DENIED" => 403,
        "NOT_FOUND" => 404,
        "request_too_large" => 413,
        "insufficient_quota"
        | "rate_limit_exceeded"
        | "rate_limit_error"
        | "RESOURCE_EXHAUSTED" => 429,
        "INTERNAL" => 500,
        "UNAVAILABLE" => 503,
        "DEADLINE_EXCEEDED" => 504,
        "overloaded_error" => 529,
        code => code.parse().ok().filter(|code| (400..600).contains(code))?,
    })
}

/// A failure of this type, or of type `error` where there is none.
pub(super) fn failure(kind: Str<'_>, message: Str<'_>) -> Failure {
    Failure {
        kind: kind
            .boxed()
            .map_or(Name::Borrowed(UNKNOWN), |k| Name::Owned(k.into())),
        message: words(message),
    }
}

/// The failure in an `error` member of a reply, where it holds one.
pub(super) fn member(error: Raw<'_>) -> Option<Failure> {
    if error.is_string() {
        return (!error.string().is_empty()).then(|| failure(Str::default(), error.string()));
    }
    let detail: Detail<'_> = error.parse();
    let kind = detail.kind();
    (!kind.is_empty() || !detail.message.is_empty()).then(|| failure(kind, detail.message))
}

/// The failure that an event-stream exception named `name` tells.
pub(super) fn exception(name: Option<&str>, body: &str) -> Failure {
    let told = read(body);
    Failure {
        kind: name.map_or(Name::Borrowed("exception"), |n| Name::Owned(n.to_owned())),
        message: told.and_then(|f| f.message),
    }
}

fn words(message: Str<'_>) -> Option<Box<str>> {
    let mut text = message.string().filter(|t| !t.is_empty())?;
    if let Some((end, _)) = text.char_indices().find(|(at, _)| *at >= MAX_MESSAGE) {
        text.truncate(end);
    }
    Some(text.into_boxed_str())
}

/// A failure of which nothing is told.
pub(super) fn unknown() -> Failure {
    failure(Str::default(), Str::default())
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn a_body_tells_its_status_where_it_can_have_but_one() {
        for (body, expected) in [
            (
                r#"{"error":{"type":"invalid_request_error","code":"invalid_api_key"}}"#,
                Some(401),
            ),
            (
                r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#,
                Some(429),
            ),
            // OpenAI says so of 400, 401, 403 and 404.
            (
                r#"{"error":{"type":"invalid_request_error","code":null}}"#,
                None,
            ),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error"}}"#,
                Some(400),
            ),
            (
                r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]"#,
                Some(429),
            ),
            (r#"{"error":{"status":"NOT_FOUND"}}"#, Some(404)),
            (r#"{"message":"No"}"#, None),
            (r#"{"error":{"code":"1500"}}"#, None),
        ] {
            assert_eq!(status(body), expected, "{body}");
        }
    }
}
