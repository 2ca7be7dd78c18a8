//! The heads of requests and responses.
//!
//! Values that authenticate somebody are dropped here, at the one place where every
//! field passes; what leaves this file says only that the field was there.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr_iter, memchr2, memrchr};

/// Fields of a head or trailer, names in lower case, in order of appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Names and values, one after the other.
    text: String,
    /// Where in it the name and the value of each field end.
    ends: Vec<(usize, usize)>,
    /// A bit for each name, see [`mark`]: most names that are asked for are not there.
    names: u64,
}

/// One of 64 bits, by the length and the last letter of a name.
fn mark(name: &str) -> u64 {
    let last = name.as_bytes().last().copied().unwrap_or_default();
    let place = name.len().wrapping_mul(5) ^ usize::from(last);
    1 << (place % 64)
}

impl Fields {
    /// None yet, with room for so many fields of so many bytes together.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            ends: Vec::with_capacity(fields),
            names: 0,
        }
    }

    /// Adds a field; the value of a credential is replaced by the empty string, and so
    /// is that of a credential in a URL.
    pub fn push(&mut self, name: &str, value: &str) {
        let start = self.text.len();
        self.text.push_str(name);
        let name = self.text.get_mut(start..).unwrap_or_default();
        name.make_ascii_lowercase();
        self.names |= mark(name);
        let value = redact(name, value.trim_ascii());
        let name = self.text.len();
        self.text.push_str(&value);
        self.ends.push((name, self.text.len()));
    }

    /// The first value of `name` (given in lower case).
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of `name` (given in lower case), in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let ends = match self.names & mark(name) {
            0 => &[],
            _ => self.ends.as_slice(),
        };
        spans(ends)
            .filter(|(span, _)| span.len() == name.len())
            .filter(|(span, _)| self.text.get(span.clone()) == Some(name))
            .map(|(_, span)| self.text.get(span).unwrap_or_default())
    }

    /// The members of the comma-separated list that all fields `name` (given in lower
    /// case) make up together (RFC 9110, section 5.6.1).
    pub fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(','))
            .map(str::trim_ascii)
            .filter(|member| !member.is_empty())
    }

    /// The codings of the content in the order they were applied, as one list: those of
    /// `Content-Encoding`, then those of `Transfer-Encoding` but for `chunked`.
    pub fn coding(&self) -> Option<Cow<'_, str>> {
        let transfer = self
            .list("transfer-encoding")
            .filter(|coding| !coding.eq_ignore_ascii_case("chunked"));
        let mut codings = self.list("content-encoding").chain(transfer);
        let first = codings.next()?;
        Some(codings.fold(Cow::Borrowed(first), |all, coding| {
            Cow::Owned(format!("{all}, {coding}"))
        }))
    }

    /// The length of the content as it crosses, where the head names it.
    pub fn content_length(&self) -> Option<usize> {
        self.first("content-length")?.parse().ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = |span| self.text.get(span).unwrap_or_default();
        spans(&self.ends).map(move |(name, value)| (text(name), text(value)))
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Where the name and the value of each field lie, by where they end.
fn spans(ends: &[(usize, usize)]) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let mut start = 0;
    ends.iter().map(move |(name, value)| {
        let spans = (start..*name, *name..*value);
        start = *value;
        spans
    })
}

/// The value of the field, or pseudo-header field, `name` (lower case) with nothing left
/// in it that authenticates.
pub fn redact<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if is_credential(name) || is_authorization(value) {
        Cow::Borrowed("")
    } else if matches!(name, "host" | ":authority") {
        Cow::Borrowed(without_userinfo(value))
    } else {
        redact_url(value)
    }
}

/// Whether the field `name` (lower case) carries something that authenticates.
pub fn is_credential(name: &str) -> bool {
    let is_named = matches!(
        name,
        "authorization"
            | "proxy-authorization"
            | "authentication-info"
            | "proxy-authentication-info"
            | "cookie"
            | "cookie2"
            | "set-cookie"
            | "set-cookie2"
            | "token"
            | "apikey"
            | "x-apikey"
            | "dpop"
            // Browsers have no other place for the key of a realtime session.
            | "sec-websocket-protocol"
            | "x-auth"
    );
    let last = memrchr(b'-', name.as_bytes()).and_then(|dash| name.get(dash..));
    let ends_so = matches!(
        last.unwrap_or_default(),
        "-key"
            | "-token"
            | "-secret"
            | "-authorization"
            | "-auth"
            | "-password"
            | "-passwd"
            | "-signature"
            | "-credential"
            | "-credentials"
            | "-cookie"
    );
    let is_harmless = matches!(name, "idempotency-key" | "sec-websocket-key");
    let is_jwt = |at| name.get(at..).is_some_and(|rest| rest.starts_with("jwt"));
    is_named || (ends_so && !is_harmless) || memchr_iter(b'j', name.as_bytes()).any(is_jwt)
}

/// Whether a value is an `Authorization` under another name.
pub fn is_authorization(value: &str) -> bool {
    // Most values end their case here.
    if !matches!(
        value.as_bytes(),
        [b'a' | b'A' | b'b' | b'B' | b'd' | b'D', ..]
    ) {
        return false;
    }
    ["bearer ", "basic ", "digest ", "aws4-hmac-"]
        .iter()
        .any(|scheme| {
            value
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
}

/// Parameters of a query that authenticate, without separators.
const QUERY_CREDENTIALS: [&str; 25] = [
    "key",
    "apikey",
    "token",
    "auth",
    "authorization",
    "bearer",
    "jwt",
    "assertion",
    "sig",
    "signature",
    "secret",
    "password",
    "passwd",
    "pwd",
    "pass",
    "credential",
    "credentials",
    "code",
    "session",
    "sas",
    "sk",
    "pat",
    "ticket",
    "hmac",
    "otp",
];

/// What the names of others end in.
const QUERY_CREDENTIAL_SUFFIXES: [&str; 8] = [
    "key",
    "token",
    "secret",
    "signature",
    "password",
    "credential",
    "authorization",
    "assertion",
];

/// Whether the parameter `name` of a query carries something that authenticates.
pub fn is_query_credential(name: &str) -> bool {
    let plain: String = percent_decoded(name)
        .filter(|c| !matches!(c, '-' | '_' | '.'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let ends = |suffix: &&str| plain.ends_with(suffix);
    QUERY_CREDENTIALS.contains(&plain.as_str()) || QUERY_CREDENTIAL_SUFFIXES.iter().any(ends)
}

/// The characters of `text`, percent-encoded ASCII decoded.
fn percent_decoded(text: &str) -> impl Iterator<Item = char> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let decoded = rest
            .strip_prefix('%')
            .and_then(|hex| hex.get(..2))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .filter(u8::is_ascii);
        let mut chars = rest.chars();
        let raw = chars.next()?;
        rest = match decoded {
            Some(_) => rest.get(3..).unwrap_or(""),
            None => chars.as_str(),
        };
        Some(decoded.map_or(raw, char::from))
    })
}

/// A request target or another URL without the values of credentials: those in its
/// query or fragment, and the user information before its host.
pub fn redact_url(url: &str) -> Cow<'_, str> {
    // User information ends in one of these, and the name of what has a value in the other.
    if memchr2(b'@', b'=', url.as_bytes()).is_none() {
        return Cow::Borrowed(url);
    }
    let url = match split_scheme(url) {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            match without_userinfo(authority) {
                host if host.len() == authority.len() => Cow::Borrowed(url),
                host => Cow::Owned(format!("{scheme}://{host}{path}")),
            }
        }
        None => Cow::Borrowed(url),
    };
    let Some(query) = memchr2(b'?', b'#', url.as_bytes()) else {
        return url;
    };
    let (path, query) = url.split_at(query);
    let secret = |pair: &str| {
        pair.split_once('=')
            .is_some_and(|(name, value)| !value.is_empty() && is_query_credential(name))
    };
    const SEPARATORS: [char; 4] = ['&', ';', '#', '?'];
    if !query.split(SEPARATORS).any(secret) {
        return url;
    }
    let mut clean = String::with_capacity(url.len());
    clean.push_str(path);
    for piece in query.split_inclusive(SEPARATORS) {
        let pair = piece.trim_end_matches(SEPARATORS);
        match pair.split_once('=') {
            Some((name, _)) if secret(pair) => {
                clean.push_str(name);
                clean.push('=');
            }
            _ => clean.push_str(pair),
        }
        clean.push_str(piece.get(pair.len()..).unwrap_or(""));
    }
    Cow::Owned(clean)
}

/// What comes before the first `://`, and what comes after it.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    memchr_iter(b':', url.as_bytes()).find_map(|colon| {
        let (scheme, rest) = url.split_at_checked(colon)?;
        Some((scheme, rest.strip_prefix("://")?))
    })
}

/// An authority without `user:password@`.
pub fn without_userinfo(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    pub method: Box<str>,
    /// `:authority`, or the `Host` field.
    pub authority: Option<Box<str>>,
    /// Path with query as sent, the values of credentials in the query dropped.
    /// `None` where HPACK hid it.
    pub target: Option<Box<str>>,
    pub fields: Fields,
    pub version: Version,
    /// Whether some field of the head is unknown (joined amid an HTTP/2 connection).
    pub partial: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// `None` where HPACK hid it.
    pub status: Option<u16>,
    pub fields: Fields,
    pub partial: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl RequestHead {
    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target
            .as_deref()
            .map_or("", |t| t.split(['?', '#']).next().unwrap_or(t))
    }

    /// The first value of `name` in the query, as sent.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.as_deref()?.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then_some(value)
        })
    }

    /// Host of the authority, without its port and without brackets.
    pub fn host(&self) -> Option<&str> {
        let authority = without_userinfo(self.authority.as_deref()?);
        if let Some(rest) = authority.strip_prefix('[') {
            return rest.split(']').next();
        }
        authority.split(':').next()
    }

    /// Port of the authority, where it names one.
    pub fn port(&self) -> Option<u16> {
        let authority = self.authority.as_deref()?;
        let (host, port) = authority.rsplit_once(':')?;
        if host.starts_with('[') && !host.ends_with(']') {
            return None;
        }
        port.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t";

    #[test]
    fn credentials_are_dropped_and_their_names_kept() {
        let names = [
            "Authorization",
            "Proxy-Authorization",
            "X-Amzn-Oidc-Authorization",
            "Cookie",
            "Set-Cookie",
            "api-key",
            "X-Api-Key",
            "x-goog-api-key",
            "Ocp-Apim-Subscription-Key",
            "X-Amz-Security-Token",
            "X-Auth-Token",
            "X-Functions-Key",
            "Helicone-Auth",
            "X-Hub-Signature",
            "Cf-Access-Jwt-Assertion",
            "Sec-WebSocket-Protocol",
            "X-Portkey-Virtual-Key",
            "Client-Secret",
        ];
        for name in names {
            let mut fields = Fields::default();
            fields.push(name, SECRET);
            assert_eq!(fields.first(&name.to_lowercase()), Some(""), "{name}");
        }
        for value in [
            "Bearer s3cr3t",
            "basic s3cr3t",
            "AWS4-HMAC-SHA256 Credential=s3cr3t",
        ] {
            let mut fields = Fields::default();
            fields.push("X-Forwarded", value);
            assert_eq!(fields.first("x-forwarded"), Some(""), "{value}");
        }
    }

    #[test]
    fn other_fields_are_kept() {
        let fields = [
            ("content-type", "application/json"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-amzn-bedrock-input-token-count", "12"),
            ("anthropic-organization-id", "org"),
            ("openai-organization", "org"),
            ("mcp-session-id", "1868a90c"),
            ("idempotency-key", "1"),
            ("www-authenticate", "Bearer"),
            ("host", "api.example.com:443"),
            (
                "location",
                "https://api.example.com/v1/files?after=7&limit=2",
            ),
            ("user-agent", "OpenAI/Python 1.2 (a; b=c)"),
        ];
        for (name, value) in fields {
            let mut kept = Fields::default();
            kept.push(name, value);
            assert_eq!(kept.first(name), Some(value));
        }
    }

    #[test]
    fn credentials_in_urls_are_dropped() {
        let cases = [
            ("/v1?key=s3cr3t", "/v1?key="),
            ("/v1?alt=sse&key=s3cr3t&x=1", "/v1?alt=sse&key=&x=1"),
            ("/v1?API_KEY=s3cr3t", "/v1?API_KEY="),
            ("/v1?api%5Fkey=s3cr3t", "/v1?api%5Fkey="),
            ("/v1?%6bey=s3cr3t", "/v1?%6bey="),
            ("/v1?access_token=s3cr3t;x=1", "/v1?access_token=;x=1"),
            ("/v1?sig=s3cr3t#token=s3cr3t", "/v1?sig=#token="),
            ("/v1?X-Amz-Signature=s3cr3t", "/v1?X-Amz-Signature="),
            ("/v1?subscription-key=s3cr3t", "/v1?subscription-key="),
            ("/v1?a=1?token=s3cr3t", "/v1?a=1?token="),
            ("/v1#token=s3cr3t", "/v1#token="),
            ("https://u:s3cr3t@h/p?q=1", "https://h/p?q=1"),
            ("https://s3cr3t@h?token=s3cr3t", "https://h?token="),
            (
                "/v1?model=gpt&api-version=2024",
                "/v1?model=gpt&api-version=2024",
            ),
            ("/v1?%zz=%&é%c=1&key", "/v1?%zz=%&é%c=1&key"),
            ("/v1/a@b/s?c=@", "/v1/a@b/s?c=@"),
        ];
        for (url, clean) in cases {
            assert_eq!(redact_url(url), clean);
            let mut fields = Fields::default();
            fields.push("referer", url);
            assert_eq!(fields.first("referer"), Some(clean));
        }
        let mut fields = Fields::default();
        fields.push("Host", "user:s3cr3t@h:80");
        assert_eq!(fields.first("host"), Some("h:80"));
    }

    #[test]
    fn codings_of_all_fields_make_one_list() {
        let mut fields = Fields::default();
        assert_eq!(fields.coding(), None);
        fields.push("Content-Encoding", "gzip");
        assert_eq!(fields.coding().as_deref(), Some("gzip"));
        fields.push("Transfer-Encoding", "br, Chunked");
        fields.push("content-encoding", " zstd,");
        assert_eq!(fields.coding().as_deref(), Some("gzip, zstd, br"));
    }

    #[test]
    fn parts_of_a_request_head() {
        let head = |authority: &str, target: &str| RequestHead {
            authority: Some(authority.into()),
            target: Some(target.into()),
            ..RequestHead::default()
        };
        let cases = [
            ("a.example", Some("a.example"), None),
            ("a.example:8080", Some("a.example"), Some(8080)),
            ("[::1]:443", Some("::1"), Some(443)),
            ("[::1]", Some("::1"), None),
            ("u:p@a:1", Some("a"), Some(1)),
            ("a:99999", Some("a"), None),
        ];
        for (authority, host, port) in cases {
            let head = head(authority, "/");
            assert_eq!((head.host(), head.port()), (host, port), "{authority}");
        }
        let head = head("a", "/v1/x?model=m&empty=&model=n#f");
        assert_eq!(head.path(), "/v1/x");
        assert_eq!(head.query("model"), Some("m"));
        assert_eq!(head.query("empty"), Some(""));
        assert_eq!(head.query("none"), None);
    }
}
