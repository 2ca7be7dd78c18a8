//! Reads a capture file.
//!
//! In: JSON Lines, plain, gzip or zstd; hostile. Out: [`Event`]s in the order of the
//! file. Holds one line and one payload, whatever the size of the file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::VERSION;
use super::line::{Close, Data, Header, Open, Tag};
use crate::event::{ConnectionId, Event, EventKind, Missing};
use crate::time::{ClockOffset, Timestamp};

/// The longest line that is read: a chunk of 32 MiB in base64, and some.
pub const MAX_LINE: usize = 48 << 20;

const BUFFER: usize = 256 << 10;

/// Why a capture could not be read on. Every event before it has been handed out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("line {line}")]
    Io { line: u64, source: io::Error },
    #[error("line {line}: longer than {MAX_LINE} bytes")]
    TooLong { line: u64 },
    #[error("line {line}: {what}")]
    Malformed { line: u64, what: &'static str },
    #[error("capture version {version} is not known, only {VERSION}")]
    Version { version: u64 },
}

/// A capture being read, one event after the other.
pub struct Reader {
    input: Box<dyn BufRead + Send>,
    /// Number of the line in `line`, counted from 1.
    number: u64,
    line: Vec<u8>,
    payload: Vec<u8>,
    clock: ClockOffset,
    host: Option<Box<str>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("line", &self.number)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a capture file; how it is compressed is told by its first bytes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let input = decompressed(file).map_err(failed)?;
        Self::new(input)
    }

    /// Reads a capture that is not compressed.
    pub fn new(input: impl BufRead + Send + 'static) -> Result<Self, Error> {
        let mut reader = Self {
            input: Box::new(input),
            number: 0,
            line: Vec::new(),
            payload: Vec::new(),
            clock: ClockOffset::default(),
            host: None,
        };
        reader.header()?;
        Ok(reader)
    }

    /// What to add to the time of an event for Unix time.
    pub fn clock(&self) -> ClockOffset {
        self.clock
    }

    /// The host that the capture was made on.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The next event, or `None` at the end of the file.
    #[expect(
        clippy::should_implement_trait,
        reason = "an event borrows from the reader, which an Iterator's item cannot"
    )]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, Error> {
        let kind = loop {
            if !self.read_line()? {
                return Ok(None);
            }
            match self.kind()? {
                Kind::Other => {}
                known => break known,
            }
        };
        self.event(kind).map(Some)
    }

    fn header(&mut self) -> Result<(), Error> {
        let what = "a capture begins with a line of type capture";
        if !self.read_line()? || self.kind()? != Kind::Header {
            return Err(Error::Malformed { line: 1, what });
        }
        let header: Header<'_> = parse(&self.line, self.number)?;
        if header.version != VERSION {
            return Err(Error::Version {
                version: header.version,
            });
        }
        self.clock = ClockOffset::from_nanos(header.epoch_ns.unwrap_or(0));
        self.host = header.host.map(|h| h.0.into());
        Ok(())
    }

    /// Reads the next line that is not empty. `false`: the file has ended.
    fn read_line(&mut self) -> Result<bool, Error> {
        loop {
            self.line.clear();
            let line = self.number.saturating_add(1);
            let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
            let read = (&mut self.input)
                .take(limit)
                .read_until(b'\n', &mut self.line)
                .map_err(|source| Error::Io { line, source })?;
            if read == 0 {
                return Ok(false);
            }
            self.number = line;
            if read == MAX_LINE && self.line.last() != Some(&b'\n') {
                return Err(Error::TooLong { line });
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn kind(&self) -> Result<Kind, Error> {
        let tag: Tag<'_> = parse(&self.line, self.number)?;
        Ok(match &*tag.kind.0 {
            "capture" => Kind::Header,
            "open" => Kind::Open,
            "data" => Kind::Data,
            "close" => Kind::Close,
            _ => Kind::Other,
        })
    }

    fn event(&mut self, kind: Kind) -> Result<Event<'_>, Error> {
        let Self {
            line,
            number,
            payload,
            ..
        } = self;
        let event = |conn, ts, kind| Event {
            connection: ConnectionId(conn),
            at: Timestamp::from_nanos(ts),
            kind,
        };
        Ok(match kind {
            Kind::Open => {
                let open: Open<'_> = parse(line, *number)?;
                let (conn, ts) = (open.conn, open.ts);
                event(conn, ts, EventKind::Open(Box::new(open.into_origin())))
            }
            Kind::Data => {
                let data: Data<'_> = parse(line, *number)?;
                decode(&data, payload, *number)?;
                let kind = EventKind::Data {
                    direction: data.dir.into(),
                    missing: Missing {
                        lost: data.lost,
                        cut: data.cut,
                    },
                    bytes: payload,
                };
                event(data.conn, data.ts, kind)
            }
            Kind::Close => {
                let close: Close = parse(line, *number)?;
                event(close.conn, close.ts, EventKind::Close)
            }
            Kind::Header | Kind::Other => {
                return Err(Error::Malformed {
                    line: *number,
                    what: "a second line of type capture",
                });
            }
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Header,
    Open,
    Data,
    Close,
    Other,
}

fn parse<'a, T: serde::Deserialize<'a>>(line: &'a [u8], number: u64) -> Result<T, Error> {
    // The parser's own message may quote the line, which is content.
    serde_json::from_slice(line).map_err(|_| Error::Malformed {
        line: number,
        what: "not a line of a capture",
    })
}

fn decode(data: &Data<'_>, payload: &mut Vec<u8>, line: u64) -> Result<(), Error> {
    payload.clear();
    STANDARD
        .decode_vec(data.data.0.as_bytes(), payload)
        .map_err(|_| Error::Malformed {
            line,
            what: "data is not base64",
        })?;
    match data.len {
        Some(len) if u64::try_from(payload.len()) != Ok(len) => Err(Error::Malformed {
            line,
            what: "len is not the length of data",
        }),
        _ => Ok(()),
    }
}

/// The text of `file`, whichever way it is compressed.
fn decompressed(file: File) -> io::Result<Box<dyn BufRead + Send>> {
    let mut input = BufReader::with_capacity(BUFFER, file);
    let start = input.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        let text = flate2::bufread::MultiGzDecoder::new(input);
        Box::new(BufReader::with_capacity(BUFFER, text))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let text = zstd::stream::read::Decoder::with_buffer(input)?;
        Box::new(BufReader::with_capacity(BUFFER, text))
    } else {
        Box::new(input)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{\"type\":\"capture\",\"version\":1,\"epoch_ns\":5,\"host\":\"box\"}\n";

    fn read(lines: &str) -> (usize, Option<Error>) {
        let text = format!("{HEADER}{lines}");
        let mut reader = Reader::new(io::Cursor::new(text)).unwrap();
        let mut events = 0;
        loop {
            match reader.next() {
                Ok(Some(_)) => events += 1,
                Ok(None) => return (events, None),
                Err(error) => return (events, Some(error)),
            }
        }
    }

    #[test]
    fn unknown_lines_and_fields_are_skipped() {
        let (events, error) = read(concat!(
            "{\"type\":\"gpu\",\"conn\":\"no number\"}\n\n",
            "{\"x\":[1],\"type\":\"open\",\"conn\":1,\"ts\":2,\"peer\":\"a.example:443\",\"role\":null}\n",
            "{\"type\":\"data\",\"conn\":9,\"ts\":2,\"dir\":\"read\",\"data\":\"YQ==\"}\n",
            "{\"type\":\"close\",\"conn\":1,\"ts\":3}",
        ));
        assert_eq!((events, error.is_none()), (3, true), "{error:?}");
    }

    #[test]
    fn a_bad_line_ends_the_reading_with_its_number_and_none_of_its_content() {
        let close = "{\"type\":\"close\",\"conn\":1,\"ts\":3}\n";
        for (bad, why) in [
            ("{\"type\":\"data\",\"secret", "line 3: not a line"),
            (
                "{\"type\":\"open\",\"conn\":-1,\"ts\":0}",
                "line 3: not a line",
            ),
            ("{\"conn\":1}", "line 3: not a line"),
            (
                "{\"type\":\"data\",\"conn\":1,\"ts\":0,\"dir\":\"read\",\"data\":\"secret!\"}",
                "line 3: data is not base64",
            ),
            (
                "{\"type\":\"data\",\"conn\":1,\"ts\":0,\"dir\":\"read\",\"len\":2,\"data\":\"YQ==\"}",
                "line 3: len is not the length of data",
            ),
        ] {
            let (events, error) = read(&format!("{close}{bad}\n{close}"));
            let error = error.unwrap().to_string();
            assert_eq!(events, 1);
            assert!(
                error.starts_with(why) && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_of_something_else_or_of_another_version_is_refused() {
        let open = |text: &'static str| Reader::new(io::Cursor::new(text)).unwrap_err();
        for text in [
            "",
            "\n",
            "{\"type\":\"close\",\"conn\":1,\"ts\":3}\n",
            "PK\u{3}",
        ] {
            assert!(open(text).to_string().starts_with("line 1"), "{text}");
        }
        let newer = open("{\"type\":\"capture\",\"version\":2}");
        assert!(matches!(newer, Error::Version { version: 2 }));
    }

    #[test]
    fn a_line_without_end_is_not_read_into_memory() {
        let endless = HEADER.as_bytes().chain(io::repeat(b' '));
        let mut reader = Reader::new(BufReader::new(endless)).unwrap();
        let error = reader.next().unwrap_err();
        assert!(matches!(error, Error::TooLong { line: 2 }), "{error}");
        assert!(reader.line.capacity() <= 2 * MAX_LINE);
    }
}
