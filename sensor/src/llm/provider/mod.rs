//! Who was called: providers by the host they answer at.
//!
//! In: host and port of a request. Out: a [`Provider`]. Must not know: bodies.

pub(super) mod region;
mod table;

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// Somebody who serves models.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Provider {
    /// `gen_ai.provider.name`.
    pub(super) name: &'static str,
    /// Host names in lower case; `*` stands for any run of characters.
    hosts: &'static [&'static str],
    /// The port that tells it on a host which says nothing.
    port: Option<u16>,
}

/// The provider that answers at `host`, or else at `port` of a host that is no
/// provider's own.
pub(super) fn identify(host: Option<&str>, port: Option<u16>) -> Option<&'static Provider> {
    let by_host = host.and_then(|host| {
        let host = lowercase(host.trim_end_matches('.'));
        let mut all = table::PROVIDERS.iter();
        all.find(|p| p.hosts.iter().any(|pattern| matches(pattern, &host)))
    });
    by_host.or_else(|| {
        let port = port?;
        table::PROVIDERS.iter().find(|p| p.port == Some(port))
    })
}

fn lowercase(text: &str) -> Cow<'_, str> {
    match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Borrowed(text),
    }
}

/// Whether `text` has the form of `pattern`, in which `*` stands for any run.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.as_bytes(), text.as_bytes());
    // Nearly all patterns end their case at one of their ends.
    if pattern.last() != Some(&b'*') && pattern.last() != text.last() {
        return false;
    }
    let alike = pattern.iter().zip(text).take_while(|(p, t)| p == t).count();
    (pattern, text) = match (pattern.get(alike..), text.get(alike..)) {
        (Some([b'*', pattern @ ..]), Some(text)) => (pattern, text),
        (Some([]), Some([])) => return true,
        _ => return false,
    };
    while let Some(star) = memchr(b'*', pattern) {
        let (piece, rest) = pattern.split_at(star);
        let Some(at) = memmem::find(text, piece) else {
            return false;
        };
        text = text.get(at.saturating_add(star)..).unwrap_or_default();
        pattern = rest.get(1..).unwrap_or_default();
    }
    text.ends_with(pattern)
}

#[cfg(test)]
mod tests {
    use super::{identify, matches};

    #[test]
    fn hosts_match_with_stars() {
        assert!(matches("api.openai.com", "api.openai.com"));
        assert!(!matches("api.openai.com", "api.openai.com.evil.example"));
        assert!(matches("*.openai.azure.com", "x.openai.azure.com"));
        assert!(matches("a.*.b.*", "a.1.b.2"));
        assert!(!matches("a.*.b", "a.b"));
    }

    #[test]
    fn providers_are_told_by_host_and_else_by_port() {
        let name = |host, port| identify(host, port).map(|p| p.name);
        assert_eq!(name(Some("API.OpenAI.com"), None), Some("openai"));
        assert_eq!(
            name(Some("bedrock-runtime.eu-west-1.amazonaws.com"), Some(443)),
            Some("aws.bedrock")
        );
        assert_eq!(name(Some("localhost"), Some(11434)), Some("ollama"));
        assert_eq!(name(Some("localhost"), Some(8000)), None);
        assert_eq!(name(Some("intranet.example"), None), None);
    }
}
