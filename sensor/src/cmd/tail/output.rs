//! Text on its way to standard output.
//!
//! In: whole lines. Out: the same, written by a thread of its own, so that a terminal
//! that is held (Ctrl-S) or a slow reader stops neither the probes nor the calls
//! behind. What such a reader has not taken waits up to a limit; beyond it, lines are
//! left out and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Text that may wait for a reader of live output, in bytes.
const WAITING: usize = 64 << 20;
/// How long the end waits for a reader of live output that takes nothing.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes written at once: between two of them it shows whether the reader still reads.
const PORTION: usize = 64 << 10;

/// What happens when the reader is slower than the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Lines are left out: the traffic does not wait.
    Drop,
    /// The source waits.
    Wait,
}

/// A writer and its thread.
#[derive(Debug)]
pub struct Output {
    shared: Arc<Shared>,
    slow: Slow,
    limit: usize,
    thread: Option<JoinHandle<()>>,
    left_out: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: String,
    /// What the system has not taken yet, of `waiting` and of what the thread holds.
    bytes: usize,
    lines: u64,
    is_over: bool,
    failed: Option<io::Error>,
}

impl Output {
    /// Starts the thread.
    pub fn new(slow: Slow, sink: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_limit(slow, WAITING, sink)
    }

    fn with_limit(slow: Slow, limit: usize, sink: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("llmtap-print".to_owned())
            .spawn(move || of_thread.write_all(sink))?;
        Ok(Self {
            shared,
            slow,
            limit,
            thread: Some(thread),
            left_out: 0,
        })
    }

    /// Takes `text`, which ends with a line or is to be continued, and leaves it empty.
    /// Gives the failure of an earlier write.
    pub fn print(&mut self, text: &mut String) -> io::Result<()> {
        let mut state = self.shared.state();
        let full = |state: &State| state.bytes >= self.limit;
        if self.slow == Slow::Wait {
            while full(&state) && state.failed.is_none() {
                state = self.shared.wait(state, Duration::MAX);
            }
        }
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        if text.is_empty() {
            return Ok(());
        }
        if full(&state) {
            self.left_out += lines(text.as_bytes());
        } else {
            state.waiting.push_str(text);
            state.bytes += text.len();
            state.lines += lines(text.as_bytes());
            self.shared.changed.notify_all();
        }
        text.clear();
        Ok(())
    }

    /// Waits until all is written, and says how many lines were not.
    pub fn finish(mut self) -> io::Result<u64> {
        let patience = match self.slow {
            Slow::Drop => FAREWELL,
            Slow::Wait => Duration::MAX,
        };
        self.finish_within(patience)
    }

    /// The reader has as long as `patience` for each portion.
    fn finish_within(&mut self, patience: Duration) -> io::Result<u64> {
        let mut state = self.shared.state();
        state.is_over = true;
        self.shared.changed.notify_all();
        let mut progress = (state.bytes, Instant::now());
        while state.bytes > 0 && state.failed.is_none() {
            if progress.0 != state.bytes {
                progress = (state.bytes, Instant::now());
            }
            let left = patience.saturating_sub(progress.1.elapsed());
            if left.is_zero() {
                // The thread sticks in the system, and ends with the process.
                self.thread = None;
                return Ok(self.left_out + state.lines);
            }
            state = self.shared.wait(state, left);
        }
        let failed = state.failed.take();
        drop(state);
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
        failed.map_or(Ok(self.left_out), Err)
    }
}

/// Nothing is left behind where a run ends by an error.
impl Drop for Output {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.finish_within(Duration::ZERO);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        if most == Duration::MAX {
            return self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let waited = self.changed.wait_timeout(state, most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// What the thread does.
    fn write_all(&self, mut sink: impl Write) {
        let mut text = String::new();
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() {
                if state.is_over {
                    return;
                }
                state = self.wait(state, Duration::MAX);
            }
            std::mem::swap(&mut text, &mut state.waiting);
            drop(state);
            for portion in text.as_bytes().chunks(PORTION) {
                let done = sink.write_all(portion).and_then(|()| sink.flush());
                let mut state = self.state();
                state.bytes -= portion.len();
                state.lines -= lines(portion);
                self.changed.notify_all();
                if let Err(error) = done {
                    state.failed = Some(error);
                    return;
                }
            }
            text.clear();
        }
    }
}

fn lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A reader that takes a portion for each token it is given.
    struct Held(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn held(slow: Slow) -> (Output, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (tokens, held) = channel();
        let taken = Arc::default();
        let output = Output::with_limit(slow, 8, Held(held, Arc::clone(&taken))).unwrap();
        (output, tokens, taken)
    }

    fn print(output: &mut Output, text: &str) -> io::Result<()> {
        output.print(&mut text.to_owned())
    }

    #[test]
    fn all_is_written_in_order_before_the_end() {
        let (mut output, tokens, taken) = held(Slow::Wait);
        for _ in 0..3 {
            tokens.send(()).unwrap();
        }
        for text in ["one\ntwo\n", "three\n", "four\n"] {
            print(&mut output, text).unwrap();
        }
        assert_eq!(output.finish().unwrap(), 0);
        assert_eq!(&*taken.lock().unwrap(), b"one\ntwo\nthree\nfour\n");
    }

    #[test]
    fn a_held_reader_holds_nobody_and_what_it_misses_is_counted() {
        let (mut output, tokens, taken) = held(Slow::Drop);
        for text in ["one\ntwo\n", "three\nfour\n", "five\n"] {
            print(&mut output, text).unwrap();
        }
        // The first fills it, the other three lines find no room.
        assert_eq!(output.finish_within(Duration::from_millis(1)).unwrap(), 5);
        assert!(taken.lock().unwrap().is_empty());
        drop(tokens);
    }

    #[test]
    fn a_reader_that_is_gone_is_told_to_who_prints() {
        let (mut output, tokens, _taken) = held(Slow::Drop);
        drop(tokens);
        print(&mut output, "one\n").unwrap();
        let told = output.finish().unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::BrokenPipe);
    }
}
