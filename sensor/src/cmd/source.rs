//! Where events come from: live probes or a capture, alike to those who take them.

use llmtap::event::{ConnectionId, Event, Verdict};
use llmtap::export::metrics::health::Kernel;
use llmtap::time::{ClockOffset, Timestamp};

/// Gives events in batches.
pub trait Source {
    /// What to add to the time of an event for Unix time.
    fn clock(&self) -> ClockOffset;

    /// The host that the events are from.
    fn host(&self) -> Option<&str>;

    /// Hands over what has come since the last time.
    fn drain(&mut self, each: &mut dyn FnMut(Event<'_>)) -> anyhow::Result<Drained>;

    /// Nothing new from now on: what has come is drained, and then it ends.
    fn stop(&mut self);

    /// Waits until there is more, at most as long as nobody would mind.
    fn wait(&mut self) -> anyhow::Result<()>;

    /// The time by the clock that stamps events; `None` where no time passes but
    /// from event to event.
    fn now(&self) -> Option<Timestamp>;

    /// Says what can be done with the rest of a connection.
    fn verdict(&mut self, connection: ConnectionId, verdict: Verdict);

    /// One line, once: that all which runs at the moment is covered.
    fn ready(&mut self) -> Option<String>;

    /// What else there is to say, one line each, once.
    fn remarks(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Bytes lost so far that no event told of.
    fn lost_bytes(&self) -> u64;

    /// What the probes say of themselves, where there are any.
    fn kernel(&self) -> Kernel {
        Kernel::default()
    }
}

/// What is to be done after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// More waits already.
    More,
    /// Wait before asking again.
    Idle,
    /// Nothing will come any more.
    End,
}
