//! Writes a capture file.
//!
//! In: [`Event`]s. Out: JSON Lines, compressed as the file's name says. Credentials
//! in HTTP/1 heads are masked on the way; a connection whose heads cannot be masked
//! (HTTP/2) is left out and counted.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::VERSION;
use super::line::{Close, Data, Header, Open, Text};
use super::mask::Masks;
use crate::event::{ConnectionId, Direction, Event, EventKind, Missing};
use crate::time::{ClockOffset, Timestamp};

/// The most bytes in one `data` line; longer chunks become several.
const MAX_CHUNK: usize = 16 << 20;

/// A capture being written.
#[derive(Debug)]
pub struct Writer {
    out: Sink,
    masks: Masks,
    line: Vec<u8>,
    payload: Vec<u8>,
    encoded: String,
    newest: Timestamp,
    written: u64,
    left_out: u64,
}

impl Writer {
    /// Creates the file, readable by its owner alone, and writes its first line.
    pub fn create(path: &Path, clock: ClockOffset, host: Option<&str>) -> io::Result<Self> {
        let mut writer = Self {
            out: Sink::create(path)?,
            masks: Masks::default(),
            line: Vec::new(),
            payload: Vec::new(),
            encoded: String::new(),
            newest: Timestamp::default(),
            written: 0,
            left_out: 0,
        };
        let header = Header {
            version: VERSION,
            epoch_ns: Some(clock.as_nanos()),
            host: host.map(Text::from),
        };
        writer.line("capture", &header)?;
        Ok(writer)
    }

    /// Bytes of traffic that were written.
    pub fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Bytes of traffic that were left out since their heads cannot be masked.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes one event. Live ones come in nearly the order of time, and the file has
    /// to be in that order: one that is late gets the time of the one before.
    pub fn write(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.newest = self.newest.max(event.at);
        let (conn, ts) = (event.connection.0, self.newest.as_nanos());
        match &event.kind {
            EventKind::Open(origin) => {
                self.masks.open(event.connection, origin);
                self.line("open", &Open::new(conn, ts, origin))
            }
            EventKind::Data {
                direction,
                missing,
                bytes,
            } => self.data(event.connection, *direction, *missing, bytes),
            EventKind::Close => {
                self.masks.close(event.connection);
                self.line("close", &Close { conn, ts })
            }
        }
    }

    /// Writes out what is buffered and ends the compressed stream.
    pub fn finish(self) -> io::Result<()> {
        self.out.finish()
    }

    fn data(
        &mut self,
        connection: ConnectionId,
        direction: Direction,
        missing: Missing,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        payload.extend_from_slice(bytes);
        let kept = self
            .masks
            .mask(connection, direction, missing, &mut payload);
        if let Some(mut missing) = kept {
            // An empty chunk still says what is missing before it.
            let chunks = payload.chunks(MAX_CHUNK);
            let none = payload.is_empty().then_some(payload.as_slice());
            for chunk in chunks.chain(none) {
                self.chunk(connection, direction, missing, chunk)?;
                missing = Missing::NONE;
            }
        } else {
            let len = u64::try_from(payload.len()).unwrap_or(u64::MAX);
            self.left_out = self.left_out.saturating_add(len);
        }
        self.payload = payload;
        Ok(())
    }

    fn chunk(
        &mut self,
        connection: ConnectionId,
        direction: Direction,
        missing: Missing,
        chunk: &[u8],
    ) -> io::Result<()> {
        let len = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.written = self.written.saturating_add(len);
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        STANDARD.encode_string(chunk, &mut encoded);
        let data = Data {
            conn: connection.0,
            ts: self.newest.as_nanos(),
            dir: direction.into(),
            len: Some(len),
            lost: missing.lost,
            cut: missing.cut,
            data: Text::from(encoded.as_str()),
        };
        let written = self.line("data", &data);
        self.encoded = encoded;
        written
    }

    fn line(&mut self, kind: &'static str, fields: &impl Serialize) -> io::Result<()> {
        #[derive(Serialize)]
        struct Tagged<'a, T> {
            #[serde(rename = "type")]
            kind: &'static str,
            #[serde(flatten)]
            fields: &'a T,
        }
        self.line.clear();
        serde_json::to_writer(&mut self.line, &Tagged { kind, fields })?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl Sink {
    fn create(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        // The mode counts for a new file only.
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        let file = BufWriter::with_capacity(256 << 10, file);
        Ok(match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => Self::Gzip(flate2::write::GzEncoder::new(
                file,
                flate2::Compression::fast(),
            )),
            Some("zst") => Self::Zstd(zstd::stream::write::Encoder::new(file, 3)?),
            _ => Self::Plain(file),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(w) => w.write_all(bytes),
            Self::Gzip(w) => w.write_all(bytes),
            Self::Zstd(w) => w.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(w) => w,
            Self::Gzip(w) => w.finish()?,
            Self::Zstd(w) => w.finish()?,
        }
        .flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::capture::Reader;
    use crate::event::{Origin, Role, Workload};

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("llmtap-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn event(at: u64, kind: EventKind<'_>) -> Event<'_> {
        Event {
            connection: ConnectionId(3),
            at: Timestamp::from_nanos(at),
            kind,
        }
    }

    fn data(direction: Direction, missing: Missing, bytes: &[u8]) -> EventKind<'_> {
        EventKind::Data {
            direction,
            missing,
            bytes,
        }
    }

    fn origin() -> Origin {
        Origin {
            pid: Some(42),
            comm: Some("a \"b\" \u{1}".into()),
            tls: Some("openssl".into()),
            role: Some(Role::Client),
            peer: "[::1]:443".parse().ok(),
            language: Some("go".into()),
            command_line: Some("python3 -m shop".into()),
            owner: Some("www".into()),
            service: Some("shop".into()),
            unit: Some("shop.service".into()),
            container: Some("0a".into()),
            runtime: Some("docker".into()),
            pod_uid: Some("u".into()),
            workload: Some(Arc::new(Workload {
                pod: "shop-1".into(),
                owners: vec![("Deployment".into(), "shop".into())],
                ..Workload::default()
            })),
            peer_workload: Some(Arc::new(Workload {
                pod: "models-1".into(),
                ..Workload::default()
            })),
            ..Origin::default()
        }
    }

    fn described(events: &mut Reader) -> Vec<String> {
        std::iter::from_fn(|| events.next().unwrap().map(|e| format!("{e:?}"))).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = Folder::new("round-trip");
        let cut = Missing { lost: 5, cut: 7 };
        let long = vec![b'x'; MAX_CHUNK + 1];
        let events = [
            event(1, EventKind::Open(Box::new(origin()))),
            event(
                2,
                data(Direction::Write, Missing::NONE, b"GET / HTTP/1.1\r\n\r\n"),
            ),
            event(
                3,
                data(Direction::Read, Missing::NONE, b"HTTP/1.1 200 OK\r\n\r\n"),
            ),
            event(4, data(Direction::Read, cut, b"")),
            event(5, EventKind::Close),
        ];
        let expected: Vec<String> = events.iter().map(|e| format!("{e:?}")).collect();
        let clock = ClockOffset::from_nanos(-9);
        for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
            let path = folder.0.join(name);
            let mut writer = Writer::create(&path, clock, Some("box")).unwrap();
            for event in &events {
                writer.write(event).unwrap();
            }
            writer.finish().unwrap();
            let mut reader = Reader::open(&path).unwrap();
            assert_eq!((reader.clock(), reader.host()), (clock, Some("box")));
            assert_eq!(described(&mut reader), expected, "{name}");
        }

        let path = folder.0.join("long.jsonl");
        let mut writer = Writer::create(&path, clock, None).unwrap();
        let head = event(
            1,
            data(Direction::Write, Missing::NONE, b"POST / HTTP/1.1\r\n\r\n"),
        );
        writer.write(&head).unwrap();
        writer
            .write(&event(2, data(Direction::Write, cut, &long)))
            .unwrap();
        writer.finish().unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(described(&mut reader).len(), 3);
    }

    #[test]
    fn time_never_goes_back_in_a_file() {
        let folder = Folder::new("order");
        let path = folder.0.join("a.jsonl");
        let mut writer = Writer::create(&path, ClockOffset::default(), None).unwrap();
        for at in [5, 3, 7] {
            writer.write(&event(at, EventKind::Close)).unwrap();
        }
        writer.finish().unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let mut times = Vec::new();
        while let Some(event) = reader.next().unwrap() {
            times.push(event.at.as_nanos());
        }
        assert_eq!(times, [5, 5, 7]);
    }

    #[test]
    fn no_credential_is_in_a_file_and_others_may_not_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = Folder::new("canary");
        let path = folder.0.join("a.jsonl");
        fs::write(&path, "from before, for all to read").unwrap();
        let mut writer = Writer::create(&path, ClockOffset::default(), None).unwrap();
        let head = b"POST / HTTP/1.1\r\nAuthorization: Bearer canary-4711\r\nA: kept\r\n\r\n";
        writer
            .write(&event(1, data(Direction::Write, Missing::NONE, head)))
            .unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ncanary-4711";
        let http2 = Event {
            connection: ConnectionId(4),
            ..event(2, data(Direction::Write, Missing::NONE, preface))
        };
        writer.write(&http2).unwrap();
        assert_eq!(writer.left_out(), preface.len() as u64);
        writer.finish().unwrap();

        let mut reader = Reader::open(&path).unwrap();
        let Some(Event {
            kind: EventKind::Data { bytes, .. },
            ..
        }) = reader.next().unwrap()
        else {
            panic!("no data");
        };
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(
            !text.contains("canary") && text.contains("A: kept"),
            "{text}"
        );
        assert!(reader.next().unwrap().is_none());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
