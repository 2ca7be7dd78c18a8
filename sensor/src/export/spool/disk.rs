//! A spool in a folder of its own.
//!
//! The folder holds segments, each a run of frames:
//!
//! | bytes | |
//! |---|---|
//! | 4 | length of the message, little-endian |
//! | 4 | CRC-32 of the message |
//! | n | the message |
//!
//! beside the file `position`, which says where the first message begins that is not
//! acknowledged, and `lock`. A process appends to segments of its own only: a frame
//! that was cut when its writer died is the last of its segment.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Batch, Depth, Position, Spool};

const HEADER: usize = 8;
/// A new segment begins after so many bytes.
const SEGMENT: u64 = 4 << 20;
/// The shortest that can be given up at once is one segment of so many.
const SEGMENTS: u64 = 8;
/// No message of ours is longer; a longer one is none.
const MAX_MESSAGE: usize = 256 << 20;

/// Survives the end of the process.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    limit: u64,
    segments: VecDeque<Segment>,
    /// The end of the last segment is written here.
    writer: File,
    /// Where the first message begins that is not acknowledged.
    position: Position,
    position_file: File,
    dropped: u64,
    /// Held as long as this lives: two writers would mix their positions up.
    _lock: File,
}

#[derive(Debug)]
struct Segment {
    id: u64,
    bytes: u64,
    /// Messages that are not acknowledged.
    waiting: u64,
}

impl Disk {
    /// Opens or makes the folder. `limit`: bytes that may wait.
    pub fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let lock = private(&folder.join("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
            |error| match error {
                rustix::io::Errno::WOULDBLOCK => {
                    io::Error::new(io::ErrorKind::ResourceBusy, "another process writes there")
                }
                error => error.into(),
            },
        )?;
        let position_file = private(&folder.join("position"))?;
        let mut position = stored_position(&position_file).unwrap_or_default();
        let mut segments = scan(folder)?;
        // After the position, too: what comes before it counts as acknowledged.
        let last = segments.back().map_or(0, |last| last.id);
        let id = last.max(position.segment) + 1;
        let writer = private(&path_of(folder, id))?;
        segments.push_back(Segment::new(id));
        // What was acknowledged whole is gone, perhaps without the position knowing.
        position = match segments.front() {
            Some(first) if first.id > position.segment => Position {
                segment: first.id,
                offset: 0,
            },
            _ => position,
        };
        let mut disk = Self {
            folder: folder.to_owned(),
            limit,
            segments,
            writer,
            position,
            position_file,
            dropped: 0,
            _lock: lock,
        };
        disk.count()?;
        disk.advance()?;
        Ok(disk)
    }

    /// Counts the messages that wait.
    fn count(&mut self) -> io::Result<()> {
        for segment in &mut self.segments {
            let begin = match segment.id.cmp(&self.position.segment) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => self.position.offset,
                std::cmp::Ordering::Greater => 0,
            };
            let mut frames = Frames::open(&path_of(&self.folder, segment.id), begin)?;
            while frames.skip()? {
                segment.waiting += 1;
            }
            // A message that was cut when its writer died, or more that cannot be found.
            self.dropped += u64::from(frames.offset < frames.length);
        }
        Ok(())
    }

    fn last(&mut self) -> &mut Segment {
        self.segments
            .back_mut()
            .expect("invariant: there is always a segment to write to")
    }

    fn write(&mut self, message: &[u8]) -> io::Result<()> {
        let rotate_at = SEGMENT.min(self.limit / SEGMENTS);
        if self.last().bytes > 0 && self.last().bytes >= rotate_at {
            self.rotate()?;
        }
        let length = u32::try_from(message.len())
            .ok()
            .filter(|_| message.len() <= MAX_MESSAGE)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let mut frame = Vec::with_capacity(HEADER + message.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(message).to_le_bytes());
        frame.extend_from_slice(message);
        if let Err(error) = self.writer.write_all(&frame) {
            // Half a frame would hide those after it.
            let whole = self.last().bytes;
            self.writer.set_len(whole)?;
            self.writer.seek(SeekFrom::Start(whole))?;
            return Err(error);
        }
        let last = self.last();
        last.bytes += frame.len() as u64;
        last.waiting += 1;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let id = self.last().id + 1;
        self.writer = private(&path_of(&self.folder, id))?;
        self.segments.push_back(Segment::new(id));
        Ok(())
    }

    /// Gives up the oldest segments until the limit is kept. The one that is written
    /// to stays.
    fn keep_limit(&mut self) -> io::Result<()> {
        while self.segments.len() > 1 && self.bytes() > self.limit {
            self.dropped += self.remove_first()?;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Removes the first segment, and answers how many messages waited in it.
    fn remove_first(&mut self) -> io::Result<u64> {
        let Some(first) = self.segments.pop_front() else {
            return Ok(0);
        };
        fs::remove_file(path_of(&self.folder, first.id))?;
        if let Some(next) = self.segments.front()
            && self.position.segment < next.id
        {
            self.move_to(Position {
                segment: next.id,
                offset: 0,
            })?;
        }
        Ok(first.waiting)
    }

    fn move_to(&mut self, position: Position) -> io::Result<()> {
        self.position = position;
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&position.segment.to_le_bytes());
        bytes[8..16].copy_from_slice(&position.offset.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_le_bytes());
        self.position_file.write_all_at(&bytes, 0)
    }

    /// Removes what is acknowledged whole.
    fn advance(&mut self) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments.front().is_some_and(|s| s.waiting == 0) {
            self.remove_first()?;
        }
        let last = self.last();
        if last.waiting == 0 && last.bytes > 0 {
            last.bytes = 0;
            let segment = last.id;
            // In this order: a position beyond the end is taken for the end.
            self.writer.set_len(0)?;
            self.writer.rewind()?;
            self.move_to(Position { segment, offset: 0 })?;
        }
        Ok(())
    }
}

impl Spool for Disk {
    fn append(&mut self, message: &[u8]) -> io::Result<()> {
        let written = self.write(message);
        self.dropped += u64::from(written.is_err());
        written?;
        self.keep_limit()
    }

    fn peek(&mut self, max_bytes: usize, max_messages: usize) -> io::Result<Option<Batch>> {
        while let Some(first) = self.segments.front() {
            if first.waiting > 0 {
                let begin = self.position.offset;
                let mut frames = Frames::open(&path_of(&self.folder, first.id), begin)?;
                let batch = frames.read(max_bytes, max_messages.max(1))?;
                if batch.messages > 0 {
                    let segment = first.id;
                    let end = Position {
                        segment,
                        offset: batch.end.offset,
                    };
                    return Ok(Some(Batch { end, ..batch }));
                }
            }
            if self.segments.len() == 1 {
                return Ok(None);
            }
            // The rest of it is damaged.
            self.dropped += self.remove_first()?;
        }
        Ok(None)
    }

    fn acknowledge(&mut self, end: Position) -> io::Result<()> {
        // The segment may have been given up while the batch was under way.
        if end.segment != self.position.segment || end.offset <= self.position.offset {
            return Ok(());
        }
        if let Some(first) = self.segments.front_mut() {
            let path = path_of(&self.folder, first.id);
            let mut frames = Frames::open(&path, self.position.offset)?;
            while frames.offset < end.offset && frames.skip()? {
                first.waiting = first.waiting.saturating_sub(1);
            }
        }
        self.move_to(end)?;
        self.advance()
    }

    fn depth(&self) -> Depth {
        let read = self.position.offset;
        Depth {
            messages: self.segments.iter().map(|segment| segment.waiting).sum(),
            bytes: self.bytes().saturating_sub(read),
            dropped: self.dropped,
        }
    }
}

impl Segment {
    const fn new(id: u64) -> Self {
        Self {
            id,
            bytes: 0,
            waiting: 0,
        }
    }
}

/// The frames of one segment.
struct Frames {
    file: io::BufReader<File>,
    offset: u64,
    length: u64,
}

impl Frames {
    fn open(path: &Path, begin: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let offset = begin.min(length);
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self {
            file: io::BufReader::with_capacity(64 << 10, file),
            offset,
            length,
        })
    }

    /// Length and sum of the next message, where all of it is there.
    fn header(&mut self) -> io::Result<Option<(usize, u32)>> {
        let left = self.length.saturating_sub(self.offset);
        if left < HEADER as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        self.file.read_exact(&mut header)?;
        let [a, b, c, d, sum @ ..] = header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let fits = length <= MAX_MESSAGE && (length + HEADER) as u64 <= left;
        Ok(fits.then_some((length, u32::from_le_bytes(sum))))
    }

    /// Steps over one frame; `false` where there is none.
    fn skip(&mut self) -> io::Result<bool> {
        let Some((length, _)) = self.header()? else {
            return Ok(false);
        };
        self.file.seek_relative(length as i64)?;
        self.offset += (HEADER + length) as u64;
        Ok(true)
    }

    /// Reads frames up to the first that is damaged.
    fn read(&mut self, max_bytes: usize, max_messages: usize) -> io::Result<Batch> {
        let mut bytes = Vec::new();
        let mut messages = 0;
        while (messages as usize) < max_messages
            && let Some((length, sum)) = self.header()?
        {
            let begin = bytes.len();
            if messages > 0 && begin + length > max_bytes {
                break;
            }
            bytes.resize(begin + length, 0);
            self.file.read_exact(&mut bytes[begin..])?;
            if crc32fast::hash(&bytes[begin..]) != sum {
                bytes.truncate(begin);
                break;
            }
            self.offset += (HEADER + length) as u64;
            messages += 1;
        }
        let end = Position {
            segment: 0,
            offset: self.offset,
        };
        Ok(Batch {
            bytes,
            messages,
            end,
        })
    }
}

fn path_of(folder: &Path, id: u64) -> PathBuf {
    folder.join(format!("{id:016x}.seg"))
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn stored_position(file: &File) -> Option<Position> {
    let mut bytes = [0; 20];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (place, sum) = bytes.split_first_chunk::<16>()?;
    let sum = u32::from_le_bytes(sum.try_into().ok()?);
    let (segment, offset) = place.split_first_chunk::<8>()?;
    (crc32fast::hash(place) == sum).then_some(Position {
        segment: u64::from_le_bytes(*segment),
        offset: u64::from_le_bytes(offset.try_into().ok()?),
    })
}

/// The segments of a folder, by age.
fn scan(folder: &Path) -> io::Result<VecDeque<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(".seg"))
            .and_then(|id| u64::from_str_radix(id, 16).ok());
        if let Some(id) = id {
            let bytes = entry.metadata()?.len();
            segments.push(Segment {
                bytes,
                ..Segment::new(id)
            });
        }
    }
    segments.sort_unstable_by_key(|segment| segment.id);
    Ok(segments.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn spool(folder: &tempfile::TempDir) -> Disk {
        Disk::open(folder.path(), 1 << 20).unwrap()
    }

    fn append(spool: &mut Disk, range: std::ops::Range<u32>) {
        for n in range {
            spool.append(&n.to_le_bytes()).unwrap();
        }
    }

    /// Takes and acknowledges everything.
    fn drain(spool: &mut Disk) -> Vec<u32> {
        let mut all = Vec::new();
        while let Some(batch) = spool.peek(64, ALL).unwrap() {
            let numbers = batch.bytes.chunks_exact(4);
            all.extend(numbers.map(|n| u32::from_le_bytes(n.try_into().unwrap())));
            spool.acknowledge(batch.end).unwrap();
        }
        all
    }

    #[test]
    fn messages_come_in_order_and_once() {
        let folder = folder();
        let mut spool = spool(&folder);
        append(&mut spool, 0..100);
        assert_eq!(spool.depth().messages, 100);
        assert_eq!(drain(&mut spool), (0..100).collect::<Vec<_>>());
        assert_eq!(spool.depth(), Depth::default());
        append(&mut spool, 100..103);
        assert_eq!(drain(&mut spool), [100, 101, 102]);
    }

    #[test]
    fn what_is_not_acknowledged_comes_again() {
        let folder = folder();
        let mut spool = spool(&folder);
        append(&mut spool, 0..10);
        let first = spool.peek(ALL, 4).unwrap().unwrap();
        assert_eq!(first.messages, 4);
        assert_eq!(spool.peek(ALL, 4).unwrap().unwrap(), first);
        spool.acknowledge(first.end).unwrap();
        spool.acknowledge(first.end).unwrap();
        assert_eq!(spool.depth().messages, 6);
        assert_eq!(drain(&mut spool), [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn what_waited_is_there_after_a_restart() {
        let folder = folder();
        let mut before = spool(&folder);
        append(&mut before, 0..10);
        let batch = before.peek(ALL, 3).unwrap().unwrap();
        before.acknowledge(batch.end).unwrap();
        drop(before);
        let mut after = spool(&folder);
        assert_eq!(after.depth().messages, 7);
        append(&mut after, 10..12);
        assert_eq!(drain(&mut after), (3..12).collect::<Vec<_>>());
        drop(after);
        assert!(drain(&mut spool(&folder)).is_empty());
    }

    #[test]
    fn one_process_alone_writes() {
        let folder = folder();
        let _first = spool(&folder);
        let second = Disk::open(folder.path(), 1).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::ResourceBusy);
    }

    #[test]
    fn beyond_the_limit_the_oldest_goes() {
        let folder = folder();
        let mut spool = Disk::open(folder.path(), 8 * 1200).unwrap();
        append(&mut spool, 0..2000);
        let Depth {
            messages,
            bytes,
            dropped,
        } = spool.depth();
        assert_eq!(messages + dropped, 2000);
        assert!(bytes <= 8 * 1200 && bytes > 7 * 1200, "{bytes}");
        let left = drain(&mut spool);
        let first = u32::try_from(dropped).unwrap();
        assert_eq!(left, (first..2000).collect::<Vec<_>>());
    }

    #[test]
    fn a_batch_that_was_given_up_on_the_way_is_acknowledged_in_vain() {
        let folder = folder();
        let mut spool = Disk::open(folder.path(), 8 * 1200).unwrap();
        append(&mut spool, 0..100);
        let batch = spool.peek(ALL, ALL).unwrap().unwrap();
        append(&mut spool, 100..2000);
        let before = spool.depth();
        spool.acknowledge(batch.end).unwrap();
        assert_eq!(spool.depth(), before);
    }

    #[test]
    fn a_cut_frame_hides_no_other() {
        let folder = folder();
        let mut before = spool(&folder);
        append(&mut before, 0..5);
        let path = path_of(folder.path(), before.last().id);
        drop(before);
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - 2).unwrap();
        let mut after = spool(&folder);
        append(&mut after, 5..7);
        assert_eq!(drain(&mut after), [0, 1, 2, 3, 5, 6]);
        assert_eq!(after.depth().dropped, 1);
    }

    #[test]
    fn a_damaged_frame_costs_the_rest_of_its_segment_and_is_counted() {
        let folder = folder();
        let mut before = spool(&folder);
        append(&mut before, 0..5);
        let path = path_of(folder.path(), before.last().id);
        drop(before);
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0xff], 2 * 12 + 9).unwrap();
        let mut after = spool(&folder);
        append(&mut after, 5..7);
        assert_eq!(drain(&mut after), [0, 1, 5, 6]);
        assert_eq!(after.depth().dropped, 3);
    }

    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = folder();
        let inner = folder.path().join("a/b");
        let mut spool = Disk::open(&inner, 1 << 20).unwrap();
        append(&mut spool, 0..1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&inner), 0o700);
        for entry in fs::read_dir(&inner).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }
}
