//! A capture file as a source, as fast as it can be read.

use std::path::Path;

use llmtap::capture::Reader;
use llmtap::event::{ConnectionId, Event, Verdict};
use llmtap::time::{ClockOffset, Timestamp};

use super::source::{Drained, Source};

#[derive(Debug)]
pub struct Capture {
    reader: Reader,
    is_stopped: bool,
}

/// Events in one batch.
const BATCH: usize = 256;

impl Capture {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            reader: Reader::open(path)?,
            is_stopped: false,
        })
    }
}

impl Source for Capture {
    fn clock(&self) -> ClockOffset {
        self.reader.clock()
    }

    fn host(&self) -> Option<&str> {
        self.reader.host()
    }

    fn drain(&mut self, each: &mut dyn FnMut(Event<'_>)) -> anyhow::Result<Drained> {
        if self.is_stopped {
            return Ok(Drained::End);
        }
        for _ in 0..BATCH {
            match self.reader.next()? {
                Some(event) => each(event),
                None => return Ok(Drained::End),
            }
        }
        Ok(Drained::More)
    }

    fn stop(&mut self) {
        self.is_stopped = true;
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn now(&self) -> Option<Timestamp> {
        None
    }

    fn verdict(&mut self, _: ConnectionId, _: Verdict) {}

    fn ready(&mut self) -> Option<String> {
        None
    }

    fn lost_bytes(&self) -> u64 {
        0
    }
}
