//! Text of a reply, masked while it streams.
//!
//! In: pieces of text, cut anywhere. Out: masked text, a little behind, so that what
//! is to be masked is seen whole.

use super::{Content, rules};

/// Text that is held back: no find with white space in it is longer.
const HELD: usize = 80;

/// Text without a place to cut is passed on when it is longer than this, which no
/// private key is.
const MAX_HELD: usize = 8 << 10;

/// Passes on the text of one call as a policy allows.
#[derive(Debug)]
pub struct TextStream {
    content: Content,
    held: String,
}

impl TextStream {
    pub(super) fn new(content: Content) -> Self {
        Self {
            content,
            held: String::new(),
        }
    }

    /// Takes in `text` and gives what can be shown by now.
    pub fn push(&mut self, text: &str) -> String {
        match self.content {
            Content::Off => String::new(),
            Content::Full => text.to_owned(),
            Content::Redacted => {
                self.held.push_str(text);
                let cut = self.safe_cut();
                let rest = self.held.split_off(cut);
                masked(std::mem::replace(&mut self.held, rest))
            }
        }
    }

    /// Gives the rest, at the end of the text.
    pub fn finish(&mut self) -> String {
        masked(std::mem::take(&mut self.held))
    }

    /// Where what is held can be cut: with enough text behind it, between words, and
    /// not inside of a find.
    fn safe_cut(&self) -> usize {
        let Some(limit) = self.held.len().checked_sub(HELD) else {
            return 0;
        };
        let finds = rules::finds(&self.held);
        let cut = self
            .held
            .char_indices()
            .filter(|(_, c)| c.is_whitespace() || !c.is_ascii())
            .map(|(at, c)| at + c.len_utf8())
            .take_while(|at| *at <= limit)
            .filter(|at| !finds.iter().any(|f| f.start < *at && *at < f.end))
            .last();
        match cut {
            Some(cut) => cut,
            None if self.held.len() > MAX_HELD => self.held.len(),
            None => 0,
        }
    }
}

fn masked(text: String) -> String {
    rules::mask(&text).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Write to jo@example.org or pay 4111 1111 1111 1111 with the key \
        sk-proj-abcdefghijklmnop1234567890, then call +49 30 901820 and GB82 WEST 1234 5698 7654 32; \
        that is all there is to be said about it, and more of it would only be in the way.";

    fn streamed(content: Content, piece: usize) -> String {
        let mut stream = TextStream::new(content);
        let mut out: String = TEXT
            .as_bytes()
            .chunks(piece)
            .map(|chunk| stream.push(std::str::from_utf8(chunk).unwrap()))
            .collect();
        out.push_str(&stream.finish());
        out
    }

    #[test]
    fn cuts_change_nothing() {
        let whole = rules::mask(TEXT).unwrap();
        assert!(
            whole.contains("[card]") && whole.contains("[iban]"),
            "{whole}"
        );
        for piece in 1..TEXT.len() {
            assert_eq!(streamed(Content::Redacted, piece), whole, "{piece}");
        }
    }

    /// What tells a secret may come long before it, or be cut itself.
    #[test]
    fn cuts_let_no_secret_through() {
        let prose = "and this is what people say before and after they tell what they should not, ";
        let texts = [
            ("my password is Tr0ub4dor&3, ok?", "0ub4d"),
            ("DB_PASSWORD=hunter2hunter2 is set", "ter2h"),
            ("password: \"correct horse battery staple\" it is", "orse b"),
            ("postgres://shop:s3cr3tw0rd@db.example/shop", "cr3tw"),
            ("Authorization: Bearer abcdef0123456789", "f0123"),
            ("Cookie: session=abc123def; theme=dark\n", "c123d"),
            (
                "-----BEGIN PRIVATE KEY-----\n  MIIEvAIBADANBgkq\n  hkiG9w0BAQ==\n-----END PRIVATE KEY-----",
                "iG9w0",
            ),
            (
                "-----BEGIN PRIVATE KEY----- MIIEvAIBADANBgkq hkiG9w0BAQ==",
                "iG9w0",
            ),
            ("card 4111 1111 1111 1111 12/27", "1111 1"),
        ];
        for (text, secret) in texts {
            let text = format!("{}{text}{}", prose.repeat(2), prose.repeat(3));
            for piece in 1..60 {
                let mut stream = TextStream::new(Content::Redacted);
                let pieces = text.as_bytes().chunks(piece);
                let mut shown: String = pieces
                    .map(|piece| stream.push(std::str::from_utf8(piece).unwrap()))
                    .collect();
                shown.push_str(&stream.finish());
                assert!(!shown.contains(secret), "{piece}: {shown}");
                assert!(shown.ends_with(prose.trim_start()), "{piece}: {shown}");
            }
        }
    }

    #[test]
    fn off_shows_nothing_and_full_all_at_once() {
        assert_eq!(streamed(Content::Off, 7), "");
        assert_eq!(TextStream::new(Content::Full).push("a"), "a");
        assert_eq!(streamed(Content::Full, 7), TEXT);
    }

    #[test]
    fn a_word_without_end_is_not_held_for_ever() {
        let mut stream = TextStream::new(Content::Redacted);
        let shown: usize = (0..100).map(|_| stream.push(&"x".repeat(1000)).len()).sum();
        assert!(shown > 80_000 && stream.held.len() <= MAX_HELD);
    }
}
