//! Token counts of one reply, from the provider's fields to the conventions' totals.
//!
//! In: counts as they come, whole or piece by piece. Out: [`Usage`]. Must not know:
//! where in a message a count stood.

use super::call::Usage;

/// What the provider has said so far. A later count replaces an earlier one: every
/// provider's streamed counts are cumulative.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tokens {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cache_read: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) reasoning: Option<u64>,
    /// Prompts of tools, counted beside `input` (Gemini).
    pub(super) tool_prompt: Option<u64>,
    /// `input` leaves out what the cache served or stored (Anthropic).
    pub(super) cache_is_apart: bool,
    /// `output` leaves out `reasoning` (Gemini).
    pub(super) reasoning_is_apart: bool,
}

impl Tokens {
    /// Takes over every count that `newer` has.
    pub(super) fn update(&mut self, newer: Self) {
        for (slot, count) in [
            (&mut self.input, newer.input),
            (&mut self.output, newer.output),
            (&mut self.cache_read, newer.cache_read),
            (&mut self.cache_write, newer.cache_write),
            (&mut self.reasoning, newer.reasoning),
            (&mut self.tool_prompt, newer.tool_prompt),
        ] {
            if count.is_some() {
                *slot = count;
            }
        }
        self.cache_is_apart |= newer.cache_is_apart;
        self.reasoning_is_apart |= newer.reasoning_is_apart;
    }

    /// Input with what the cache holds, output with what was thought; absent where no
    /// part of them was given.
    pub(super) fn total(self) -> Usage {
        let cache = |count| if self.cache_is_apart { count } else { None };
        let thought = self.reasoning.filter(|_| self.reasoning_is_apart);
        Usage {
            input: sum([
                self.input,
                cache(self.cache_read),
                cache(self.cache_write),
                self.tool_prompt,
            ]),
            output: sum([self.output, thought, None, None]),
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            reasoning: self.reasoning,
        }
    }
}

fn sum(counts: [Option<u64>; 4]) -> Option<u64> {
    counts.into_iter().flatten().reduce(u64::saturating_add)
}
