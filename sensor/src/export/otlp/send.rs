//! Takes what waits for one collector and sends it until it is taken.
//!
//! In: a spool. Out: export requests, one at a time, oldest first. What the collector
//! cannot take now stays in the spool; what it never will is given up, and counted.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::{Accepted, Client, Failure};
use crate::export::spool::{Batch, Depth, Spool};

/// Collectors refuse messages of more than 4 MiB by default.
const MAX_BYTES: usize = 3 << 20;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Messages on their way to one collector.
pub struct Lane {
    /// What goes this way, for people: `traces`.
    pub name: &'static str,
    spool: Mutex<Box<dyn Spool>>,
    arrived: Notify,
    /// No more will come: nothing is waited for.
    closing: AtomicBool,
    tally: Tally,
}

/// Counts what becomes of messages.
#[derive(Debug, Default)]
pub struct Tally {
    sent: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
}

/// What became of the messages of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    pub waiting: Depth,
    pub sent: u64,
    /// Messages that the collector will never take.
    pub refused: u64,
    /// Requests that failed and were tried again.
    pub failures: u64,
}

impl LaneStatus {
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            waiting: self.waiting.and(other.waiting),
            sent: self.sent.saturating_add(other.sent),
            refused: self.refused.saturating_add(other.refused),
            failures: self.failures.saturating_add(other.failures),
        }
    }
}

/// How much is sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    pub messages: usize,
    /// How long the first message waits for others.
    pub delay: Duration,
}

impl Lane {
    pub fn new(name: &'static str, spool: Box<dyn Spool>) -> Self {
        Self {
            name,
            spool: Mutex::new(spool),
            arrived: Notify::new(),
            closing: AtomicBool::new(false),
            tally: Tally::default(),
        }
    }

    /// Takes a message. Where there is no room on the disk it is counted as dropped.
    pub fn push(&self, message: &[u8]) -> std::io::Result<()> {
        self.spool().append(message)?;
        self.arrived.notify_one();
        Ok(())
    }

    pub fn status(&self) -> LaneStatus {
        LaneStatus {
            waiting: self.spool().depth(),
            ..self.tally.status()
        }
    }

    /// Makes [`run`](Self::run) end when all is sent, or cannot be.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.arrived.notify_one();
    }

    /// Sends until the lane is closed. What is left then stays in the spool.
    pub async fn run(self: Arc<Self>, client: Client, batching: Batching) {
        let mut outage = Outage::default();
        let mut pace = Pace::new(batching.messages);
        loop {
            self.gather(batching).await;
            let closing = self.closing.load(Ordering::Acquire);
            match self.send(&client, &mut pace).await {
                Ok(true) => outage.over(self.name),
                Ok(false) if closing => return,
                Ok(false) => {}
                Err(_) if closing => return,
                Err(failure) => {
                    self.tally.failed();
                    let pause = outage.pause(self.name, &failure, self.status().waiting);
                    let _ = timeout(apart(pause), self.closed()).await;
                }
            }
        }
    }

    async fn closed(&self) {
        while !self.closing.load(Ordering::Acquire) {
            self.arrived.notified().await;
        }
    }

    /// Waits until there is a batch, or the first message of one has waited long enough.
    async fn gather(&self, batching: Batching) {
        let mut deadline = None;
        while !self.closing.load(Ordering::Acquire) {
            let waiting = self.spool().depth();
            let is_full =
                waiting.messages >= batching.messages as u64 || waiting.bytes >= MAX_BYTES as u64;
            if is_full {
                return;
            }
            if waiting.messages == 0 {
                self.arrived.notified().await;
                continue;
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + batching.delay);
            if timeout_at(deadline, self.arrived.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Sends one batch; `false` where there is none. Of a batch that is refused a part may be
    /// taken: it is tried again in parts, and what is refused alone is given up.
    async fn send(&self, client: &Client, pace: &mut Pace) -> Result<bool, Failure> {
        let Some(batch) = self.peek(pace.messages)? else {
            return Ok(false);
        };
        let count = batch.messages;
        match client.post(batch.bytes).await {
            Ok(Accepted { refused }) => {
                self.tally.sent(count.saturating_sub(refused));
                self.give_up(refused, "the collector refused a part");
                pace.taken();
            }
            Err(failure @ (Failure::TooLarge | Failure::Rejected(_))) => {
                if pace.refused(count, &failure) {
                    return Ok(true);
                }
                self.give_up(count, &failure.to_string());
            }
            Err(failure) => return Err(failure),
        }
        let done = self.spool().acknowledge(batch.end);
        done.map(|()| true).map_err(of_disk)
    }

    fn peek(&self, messages: usize) -> Result<Option<Batch>, Failure> {
        self.spool().peek(MAX_BYTES, messages).map_err(of_disk)
    }

    fn give_up(&self, count: u64, why: &str) {
        if count > 0 && self.tally.refused(count) {
            let name = self.name;
            eprintln!("llmtap: {name}: {count} given up ({why}); more will only be counted");
        }
    }

    fn spool(&self) -> MutexGuard<'_, Box<dyn Spool>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn of_disk(error: std::io::Error) -> Failure {
    Failure::Unavailable {
        why: format!("the spool cannot be read: {error}"),
        after: None,
    }
}

/// Somewhat longer, each time otherwise: many of us may have lost the same collector.
fn apart(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() & 0xff;
    pause.saturating_add(pause / 1024 * u32::try_from(random).unwrap_or_default())
}

impl Tally {
    pub fn sent(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::Relaxed);
    }

    /// They are given up; whether they are the first.
    pub fn refused(&self, count: u64) -> bool {
        self.refused.fetch_add(count, Ordering::Relaxed) == 0
    }

    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// With nothing that waits.
    pub fn status(&self) -> LaneStatus {
        LaneStatus {
            waiting: Depth::default(),
            sent: self.sent.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// How much is sent at once, as the collector takes it.
#[derive(Debug)]
struct Pace {
    most: usize,
    messages: usize,
    /// Messages refused one by one with none taken between.
    in_vain: u32,
}

impl Pace {
    /// So many are looked at alone before it is clear that none is taken.
    const PATIENCE: u32 = 16;

    const fn new(most: usize) -> Self {
        Self {
            most,
            messages: most,
            in_vain: 0,
        }
    }

    /// Grows again, slower than it shrank.
    fn taken(&mut self) {
        self.in_vain = 0;
        self.messages = (self.messages + 1 + self.messages / 8).min(self.most);
    }

    /// Whether a part of these `count` is to be tried.
    fn refused(&mut self, count: u64, failure: &Failure) -> bool {
        let takes_nothing = self.in_vain >= Self::PATIENCE && *failure != Failure::TooLarge;
        if count > 1 && !takes_nothing {
            self.messages = usize::try_from(count / 2).unwrap_or(self.most);
            return true;
        }
        self.in_vain = self.in_vain.saturating_add(1);
        if self.in_vain >= Self::PATIENCE {
            self.messages = self.most;
        }
        false
    }
}

/// A time in which the collector takes nothing.
#[derive(Debug, Default)]
struct Outage {
    attempts: u32,
}

impl Outage {
    /// How long to wait before the next attempt: twice as long each time, so that a
    /// collector that comes back is not run over.
    fn pause(&mut self, name: &str, failure: &Failure, waiting: Depth) -> Duration {
        if self.attempts == 0 {
            let messages = waiting.messages;
            eprintln!("llmtap: {name}: {failure}; {messages} wait, and are tried again");
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(5));
        self.attempts += 1;
        let asked = match failure {
            Failure::Unavailable { after, .. } => after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        doubled
            .min(LONGEST_PAUSE)
            .max(asked.min(10 * LONGEST_PAUSE))
    }

    fn over(&mut self, name: &str) {
        if std::mem::take(&mut self.attempts) > 0 {
            eprintln!("llmtap: {name}: the collector takes them again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_tried_in_parts() {
        let rejected = Failure::Rejected("status 400".into());
        // One of 64 is never taken, nor is a batch that holds it.
        let mut pace = Pace::new(16);
        let (mut at, mut given_up, mut requests) = (0_u64, Vec::new(), 0);
        while at < 64 {
            let count = (pace.messages as u64).min(64 - at);
            requests += 1;
            match (at..at + count).contains(&37) {
                false => pace.taken(),
                true if pace.refused(count, &rejected) => continue,
                true => given_up.extend(at..at + count),
            }
            at += count;
        }
        assert_eq!(given_up, [37]);
        assert!(requests < 30, "{requests}");
    }

    #[test]
    fn where_nothing_is_taken_each_batch_is_refused_once() {
        let rejected = Failure::Rejected("status 400".into());
        let mut pace = Pace::new(512);
        let (mut left, mut requests) = (100_000_u64, 0);
        while left > 0 {
            let count = (pace.messages as u64).min(left);
            requests += 1;
            if !pace.refused(count, &rejected) {
                left -= count;
            }
        }
        assert!(requests < 250, "{requests}");
    }

    #[test]
    fn pauses_differ_and_are_not_shorter() {
        let pause = Duration::from_secs(8);
        let all: Vec<Duration> = (0..64).map(|_| apart(pause)).collect();
        assert!(all.iter().all(|p| (8..10).contains(&p.as_secs())));
        assert!(all.iter().any(|p| *p != all[0]));
    }

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew() {
        let mut outage = Outage::default();
        let failure = Failure::Unavailable {
            why: "down".into(),
            after: None,
        };
        let mut pauses = || outage.pause("test", &failure, Depth::default()).as_secs();
        let first: Vec<u64> = (0..7).map(|_| pauses()).collect();
        assert_eq!(first, [1, 2, 4, 8, 16, 30, 30]);
        outage.over("test");
        let asked = Failure::Unavailable {
            why: "busy".into(),
            after: Some(Duration::from_secs(90)),
        };
        assert_eq!(outage.pause("test", &asked, Depth::default()).as_secs(), 90);
    }
}
