//! Counts tokens on a thread of its own.
//!
//! In: finished calls without counts. Out: the same calls, a little later, with an
//! estimate. No call is lost: one that finds no room comes back at once.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;

use llmtap::enrich::{EnrichedCall, tokens};

/// Calls that wait at most.
const QUEUE: usize = 64;

/// The thread, and the ways to it.
#[derive(Debug)]
pub struct Estimator {
    /// `None`: no more will come.
    calls: Option<SyncSender<EnrichedCall>>,
    counted: Receiver<EnrichedCall>,
}

impl Estimator {
    pub fn start() -> io::Result<Self> {
        let (calls, queue) = mpsc::sync_channel::<EnrichedCall>(QUEUE);
        let (done, counted) = mpsc::channel();
        thread::Builder::new()
            .name("llmtap-tokens".into())
            .spawn(move || {
                for mut call in queue {
                    // A tokenizer that fails costs an estimate, not a call.
                    let usage = catch_unwind(AssertUnwindSafe(|| tokens::estimate(&call.call)));
                    if let Ok(usage) = usage {
                        call.call.usage = usage;
                        call.is_estimated = true;
                    }
                    if done.send(call).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            calls: Some(calls),
            counted,
        })
    }

    /// Takes `call`, or gives it back where there is no room. `patient`: waits for room.
    pub fn offer(&self, call: EnrichedCall, patient: bool) -> Option<EnrichedCall> {
        let Some(calls) = &self.calls else {
            return Some(call);
        };
        if patient {
            return calls.send(call).err().map(|refused| refused.0);
        }
        match calls.try_send(call) {
            Ok(()) => None,
            Err(TrySendError::Full(call) | TrySendError::Disconnected(call)) => Some(call),
        }
    }

    /// What has been counted since the last time.
    pub fn counted(&self) -> impl Iterator<Item = EnrichedCall> + '_ {
        self.counted.try_iter()
    }

    /// Takes no more, and waits for the rest.
    pub fn rest(&mut self) -> impl Iterator<Item = EnrichedCall> + '_ {
        self.calls = None;
        self.counted.iter()
    }
}

#[cfg(test)]
mod tests {
    use llmtap::llm::CallId;
    use llmtap::llm::call::{ChatMessage, Media, MediaSource, Part, Usage};

    use super::*;
    use crate::samples::enriched;

    fn uncounted(id: u64) -> EnrichedCall {
        let said = |text: &str| ChatMessage {
            parts: vec![Part::Text(text.into())],
            ..ChatMessage::default()
        };
        enriched(|call, _| {
            call.id = CallId(id);
            call.usage = Usage::default();
            call.request.messages = vec![said("hello world")];
            call.response.messages = vec![said("hello")];
        })
    }

    #[test]
    fn every_call_comes_back_with_an_estimate() {
        let mut estimator = Estimator::start().unwrap();
        for id in 0..200 {
            assert!(tokens::can_estimate(&uncounted(id).call));
            assert!(estimator.offer(uncounted(id), true).is_none());
        }
        let counted: Vec<_> = estimator.rest().collect();
        let ids: Vec<u64> = counted.iter().map(|call| call.call.id.0).collect();
        assert_eq!(ids, (0..200).collect::<Vec<_>>());
        for call in counted {
            assert!(call.is_estimated);
            // Two words, three tokens around them and three before the reply.
            assert_eq!(
                (call.call.usage.input, call.call.usage.output),
                (Some(8), Some(1))
            );
        }
        assert!(estimator.offer(uncounted(1), false).is_some(), "it is over");
    }

    #[test]
    fn what_is_counted_or_cut_is_not_estimated() {
        let can = |change: fn(&mut EnrichedCall)| {
            let mut call = uncounted(1);
            change(&mut call);
            tokens::can_estimate(&call.call)
        };
        assert!(can(|_| {}));
        assert!(!can(|call| call.call.usage.output = Some(1)));
        assert!(!can(|call| call.call.capture.lost_bytes = 1));
        assert!(!can(|call| call.call.response.messages.clear()));
        assert!(!can(|call| call.call.operation = "transcription".into()));
        assert!(!can(|call| {
            let picture = Part::Media(Media {
                modality: "image".into(),
                mime_type: None,
                source: MediaSource::Inline { bytes: 9 },
            });
            call.call.request.messages[0].parts.push(picture);
        }));
    }
}
