//! What a header block says, before it is known whose head it is.
//!
//! In: a header block and the decoder of its direction. Out: a [`Block`]. Must not
//! know: streams, frames.

use super::hpack::{Broken, Decoder, Field};
use crate::http::head::{Fields, RequestHead, ResponseHead, Version, redact};

/// Octets of fields kept of one block, counted as `SETTINGS_MAX_HEADER_LIST_SIZE` does.
const MOST: usize = 256 * 1024;

/// Room for the fields of most blocks.
const USUAL_FIELDS: usize = 24;
const USUAL_OCTETS: usize = 1 << 10;

/// A decoded header block.
#[derive(Debug, Default)]
pub struct Block {
    pub method: Option<Box<str>>,
    pub scheme: bool,
    pub authority: Option<Box<str>>,
    pub path: Option<Box<str>>,
    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub protocol: Option<Box<str>>,
    pub status: Option<u16>,
    pub fields: Fields,
    /// Fields whose name or value is not known.
    pub unknown: u32,
    /// Fields in all.
    pub count: u32,
    /// The end of the block is missing.
    pub cut: bool,
    /// Its fields contradict each other.
    contradicts: bool,
    /// Some of them came from the dynamic table.
    dynamic: bool,
    size: usize,
}

impl Block {
    /// Decodes `bytes`; `cut` where they are only the beginning of the block.
    ///
    /// A head that makes no sense shows that the dynamic table is not what the sender
    /// has (bytes went missing that nobody counted). Then the table is given up, and
    /// with it what the block took from it. One that took nothing from it shows nothing.
    pub fn decode(decoder: &mut Decoder, bytes: &[u8], cut: bool) -> Self {
        let mut block = Self::read(decoder, bytes);
        if block.contradicts && block.dynamic {
            decoder.forget();
            block = Self::read(decoder, bytes);
        }
        if cut {
            decoder.forget();
            block.cut = true;
        }
        block
    }

    fn read(decoder: &mut Decoder, bytes: &[u8]) -> Self {
        let mut block = Self {
            fields: Fields::with_capacity(USUAL_FIELDS, USUAL_OCTETS),
            ..Self::default()
        };
        match decoder.decode(bytes, &mut |field| block.add(field)) {
            Ok(()) => {}
            Err(Broken) => block.cut = true,
        }
        block
    }

    /// Whether it has a field that only a request has.
    pub fn is_request(&self) -> bool {
        self.method.is_some()
            || self.scheme
            || self.authority.is_some()
            || self.path.is_some()
            || self.protocol.is_some()
    }

    pub fn is_partial(&self) -> bool {
        self.unknown > 0 || self.cut
    }

    /// Whether it is an interim response (1xx).
    pub fn is_interim(&self, end_stream: bool) -> bool {
        match self.status {
            Some(status) => (100..200).contains(&status),
            // Final ones have more to say than their status.
            None => !end_stream && self.count == 1 && self.unknown == 1,
        }
    }

    pub fn into_request(self) -> RequestHead {
        let partial = self.is_partial();
        let mut fields = self.fields;
        if let Some(protocol) = &self.protocol {
            fields.push(":protocol", protocol);
        }
        RequestHead {
            method: self.method.unwrap_or_default(),
            authority: self
                .authority
                .or_else(|| fields.first("host").map(Into::into)),
            target: self.path,
            fields,
            version: Version::Http2,
            partial,
        }
    }

    pub fn into_response(self) -> ResponseHead {
        ResponseHead {
            partial: self.is_partial(),
            status: self.status,
            fields: self.fields,
        }
    }

    fn add(&mut self, field: Field<'_>) {
        self.count = self.count.saturating_add(1);
        let Field::Known {
            name,
            value,
            dynamic,
        } = field
        else {
            self.unknown = self.unknown.saturating_add(1);
            return;
        };
        self.dynamic |= dynamic;
        let size = name.len().saturating_add(value.len()).saturating_add(32);
        self.size = self.size.saturating_add(size);
        if self.size > MOST {
            self.unknown = self.unknown.saturating_add(1);
            return;
        }
        if name.starts_with(':') {
            self.add_pseudo(name, &redact(name, value));
        } else {
            let differs = |first: &str| first != &*redact(name, value.trim_ascii());
            self.contradicts |= is_singular(name) && self.fields.first(name).is_some_and(differs);
            self.contradicts |= dynamic && name == "content-encoding" && !is_coded(value);
            self.fields.push(name, value);
        }
    }

    /// Pseudo-header fields come first, each once, and those of requests never with
    /// those of responses (RFC 9113, section 8.3).
    fn add_pseudo(&mut self, name: &str, value: &str) {
        let response = self.status.is_some();
        let request = self.is_request();
        self.contradicts |= !self.fields.is_empty();
        let twice = match name {
            ":method" => self.method.replace(value.into()).is_some(),
            ":scheme" => std::mem::replace(&mut self.scheme, true),
            ":authority" => self.authority.replace(value.into()).is_some(),
            ":path" => self.path.replace(value.into()).is_some(),
            ":protocol" => self.protocol.replace(value.into()).is_some(),
            ":status" => match value.parse() {
                Ok(status @ 100..=999) => self.status.replace(status).is_some(),
                _ => true,
            },
            _ => true,
        };
        self.contradicts |= twice || if name == ":status" { request } else { response };
    }
}

/// Whether a value names content codings that are in use. To take something else for one
/// is to take the content for noise.
fn is_coded(value: &str) -> bool {
    const CODINGS: [&str; 11] = [
        "gzip",
        "br",
        "zstd",
        "deflate",
        "identity",
        "x-gzip",
        "compress",
        "x-compress",
        "aws-chunked",
        "dcb",
        "dcz",
    ];
    let is_coding = |name: &str| CODINGS.iter().any(|c| c.eq_ignore_ascii_case(name));
    value.split(',').map(str::trim_ascii).all(is_coding)
}

/// Fields whose values have to agree, should there be more than one. Of `user-agent` some
/// clients send a second, of the library below them.
fn is_singular(name: &str) -> bool {
    const NAMES: [&str; 4] = ["content-type", "content-length", "date", "host"];
    NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::{Block, Decoder};

    #[test]
    fn a_coding_that_is_none_shows_that_the_table_is_out_of_step() {
        let coded = b"\x88\x5a\x04gzip";
        // An entry was inserted unseen; what is named after the one that comes before it
        // is named after another here.
        let astray = b"\x88\x7e\x05req_9";
        let mut decoder = Decoder::new();
        let block = Block::decode(&mut decoder, coded, false);
        assert_eq!(block.fields.coding().as_deref(), Some("gzip"));
        let block = Block::decode(&mut decoder, astray, false);
        assert_eq!(
            (block.status, block.unknown, block.fields.coding()),
            (Some(200), 1, None)
        );
        // One that was sent by name is what it is, known or not.
        let own = b"\x88\x5a\x03foo";
        let block = Block::decode(&mut decoder, own, false);
        assert_eq!(
            (block.unknown, block.fields.coding().as_deref()),
            (0, Some("foo"))
        );
    }

    #[test]
    fn fields_that_are_sent_twice_are_no_sign_of_a_lost_table() {
        let mut decoder = Decoder::new();
        for (name, pair) in [
            ("user-agent", &b"\x83\x87\x44\x02/a\x7a\x01x\x7a\x01y"[..]),
            // Sent as they are, they speak for themselves.
            ("content-type", &b"\x83\x87\x44\x02/b\x5f\x01x\x5f\x01y"[..]),
        ] {
            let block = Block::decode(&mut decoder, pair, false);
            let values: Vec<_> = block.fields.all(name).collect();
            assert_eq!((values, block.unknown), (vec!["x", "y"], 0), "{name}");
        }
        // The first path is the oldest of six entries.
        let block = Block::decode(&mut decoder, b"\x83\x87\xc3", false);
        assert_eq!((block.path.as_deref(), block.unknown), (Some("/a"), 0));
        // `user-agent`, from the table: both values again.
        let block = Block::decode(&mut decoder, b"\x83\x87\xc3\xc2\xc1", false);
        assert_eq!((block.path.as_deref(), block.unknown), (Some("/a"), 0));
    }
}
