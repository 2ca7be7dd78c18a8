//! A reply as it grows: what dialects say of it, piece by piece.
//!
//! In: borrowed pieces. Out: [`Response`], [`Tokens`], failure. Must not know:
//! dialects, times.

use super::attr::Attributes;
use super::call::{ChatMessage, Failure, Name, Part, Response, Usage};
use super::json::Str;
use super::usage::Tokens;

mod beside;
mod slot;
mod start;

use slot::Slot;
pub(super) use slot::ToolFragment;
use start::Start;

/// Choices kept of one reply.
const MAX_CHOICES: usize = 128;
/// Parts kept of one choice.
const MAX_PARTS: usize = 4096;
/// Events whose content is kept, in bytes of them all.
const MAX_EVENTS: usize = 16 << 20;
/// Room for text that is to grow.
const USUAL_TEXT: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Whether text and parts are kept.
    content: bool,
    /// Bytes of events that were read.
    read: usize,
    pub(super) id: Option<Box<str>>,
    pub(super) model: Option<Box<str>>,
    pub(super) conversation_id: Option<Box<str>>,
    /// The operation, where the reply alone tells it.
    pub(super) operation: Option<&'static str>,
    pub(super) tokens: Tokens,
    /// Counts of the platform that serves another's model (Bedrock).
    pub(super) metered: Tokens,
    /// The platform's counts are the ones that hold.
    pub(super) is_metered: bool,
    pub(super) failure: Option<Failure>,
    /// The status that an error goes with, where no head told one.
    pub(super) status: Option<u16>,
    pub(super) attributes: Attributes,
    /// The provider has said that nothing more comes.
    pub(super) ended: bool,
    /// Something in it had the shape that the dialect gives its replies.
    pub(super) recognised: bool,
    /// Room for a piece that is decoded before it is read.
    pub(super) scratch: Vec<u8>,
    /// How the last event began.
    pub(super) start: Start,
    choices: Vec<Choice>,
    /// Content came since [`Reply::take_progress`].
    progress: bool,
    /// Content came before that.
    begun: bool,
    /// Bytes of text of the first choice that [`Reply::new_text`] has given.
    told: usize,
}

#[derive(Debug, Default)]
struct Choice {
    role: Option<Name>,
    finish: Option<Box<str>>,
    slots: Vec<Slot>,
}

impl Reply {
    pub(super) fn new(content: bool) -> Self {
        Self {
            content,
            ..Self::default()
        }
    }

    pub(super) const fn keeps_content(&self) -> bool {
        self.content
    }

    /// An event of so many bytes is to be read. Beyond a limit nothing more is kept of
    /// what events say, but that they say who and how much.
    pub(super) fn reads(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes);
    }

    /// Bytes of the events whose content is kept.
    pub(super) fn held_bytes(&self) -> usize {
        self.read.min(MAX_EVENTS)
    }

    /// Whether content was left out because there was too much.
    pub(super) const fn is_cut(&self) -> bool {
        self.content && self.read > MAX_EVENTS
    }

    /// The first id is the reply's; some routers give each piece another.
    pub(super) fn set_id(&mut self, id: Str<'_>) {
        if self.id.is_none() {
            self.id = id.boxed();
        }
    }

    pub(super) fn set_model(&mut self, model: Str<'_>) {
        replace(&mut self.model, model);
    }

    /// The first failure told is the one kept.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.recognised = true;
        self.failure.get_or_insert(failure);
    }

    pub(super) fn role(&mut self, choice: usize, role: Str<'_>) {
        if role.is_empty() {
            return;
        }
        let Some(choice) = self.choice(choice).filter(|c| c.role.is_none()) else {
            return;
        };
        choice.role = match role.key() {
            "assistant" | "model" => Some(Name::Borrowed("assistant")),
            _ => role.string().map(Name::Owned),
        };
    }

    pub(super) fn finish(&mut self, choice: usize, reason: Str<'_>) {
        if reason.is_empty() {
            return;
        }
        if let Some(choice) = self.choice(choice) {
            replace(&mut choice.finish, reason);
        }
    }

    /// Adds to the text of block `key`, or to the newest part where blocks have no
    /// numbers.
    pub(super) fn text(&mut self, choice: usize, key: Option<u64>, text: Str<'_>) {
        if text.is_empty() {
            return;
        }
        self.progress = true;
        let slot = self.slot(
            choice,
            key,
            |part| matches!(part, Part::Text(_)),
            || Part::Text(String::with_capacity(USUAL_TEXT)),
        );
        if let Some(Part::Text(kept)) = slot {
            text.append_to(kept);
        }
    }

    /// Adds text that has no escapes to undo.
    pub(super) fn plain_text(&mut self, choice: usize, text: &str) {
        if text.is_empty() {
            return;
        }
        self.progress = true;
        let slot = self.slot(
            choice,
            None,
            |part| matches!(part, Part::Text(_)),
            || Part::Text(String::with_capacity(USUAL_TEXT)),
        );
        if let Some(Part::Text(kept)) = slot {
            kept.push_str(text);
        }
    }

    /// As [`Reply::text`], for what the model thought.
    pub(super) fn reasoning(&mut self, choice: usize, key: Option<u64>, text: Str<'_>) {
        if text.is_empty() {
            return;
        }
        self.progress = true;
        let slot = self.slot(
            choice,
            key,
            |part| matches!(part, Part::Reasoning(_)),
            || Part::Reasoning(String::with_capacity(USUAL_TEXT)),
        );
        if let Some(Part::Reasoning(kept)) = slot {
            text.append_to(kept);
        }
    }

    /// Begins a tool call or adds to the arguments of one.
    pub(super) fn tool(&mut self, choice: usize, fragment: ToolFragment<'_>) {
        self.progress = true;
        let Some(slots) = self.slots(choice) else {
            return;
        };
        if let Some(slot) = slots.iter_mut().rev().find(|slot| slot.continues(fragment)) {
            if !slot.closed {
                slot.extend(fragment);
            }
            return;
        }
        // A fragment without a name belongs to a call whose beginning was not seen.
        if fragment.name.is_empty() || slots.len() >= MAX_PARTS {
            return;
        }
        slots.push(Slot {
            key: fragment.key,
            part: fragment.into_part(),
            closed: false,
        });
    }

    /// Adds a tool call that comes whole.
    pub(super) fn whole_tool(&mut self, choice: usize, call: ToolFragment<'_>) {
        self.part(choice, call.key, || Some(call.into_part()));
    }

    /// Adds a part that comes whole.
    pub(super) fn part(
        &mut self,
        choice: usize,
        key: Option<u64>,
        part: impl FnOnce() -> Option<Part>,
    ) {
        self.progress = true;
        if let Some(slots) = self.slots(choice).filter(|s| s.len() < MAX_PARTS)
            && let Some(part) = part()
        {
            slots.push(Slot {
                key,
                part,
                closed: true,
            });
        }
    }

    /// Marks content that is not kept (audio, for one).
    pub(super) fn progressed(&mut self) {
        self.progress = true;
    }

    /// Forgets the parts of `choice`, because the provider sends all of them anew; but
    /// for media, which it does not.
    pub(super) fn restart(&mut self, choice: usize) {
        if let Some(choice) = self.choice(choice) {
            let kept = |slot: &Slot| matches!(slot.part, Part::Media(_));
            choice.slots.retain(kept);
        }
    }

    /// Forgets the parts of block `key`, because the provider sends it anew.
    pub(super) fn restart_block(&mut self, choice: usize, key: u64) {
        if let Some(choice) = self.choice(choice) {
            choice.slots.retain(|slot| slot.key != Some(key));
        }
    }

    /// Bytes of the reply are missing here: nothing is added to what began before, and
    /// counts that a missing event may have replaced are forgotten.
    pub(super) fn gap(&mut self) {
        if !self.ended {
            self.tokens = Tokens::default();
            self.start.forget();
        }
        for slot in self.choices.iter_mut().flat_map(|c| &mut c.slots) {
            slot.closed = true;
        }
    }

    pub(super) fn take_progress(&mut self) -> bool {
        let progress = std::mem::take(&mut self.progress);
        self.begun |= progress;
        progress
    }

    /// Whether any content came, kept or not.
    pub(super) fn has_content(&self) -> bool {
        self.begun || self.progress
    }

    /// The next piece of the first choice's text that was not given yet.
    pub(super) fn new_text(&mut self) -> Option<&str> {
        let mut skip = self.told;
        for slot in &self.choices.first()?.slots {
            let Part::Text(text) = &slot.part else {
                continue;
            };
            if skip < text.len() {
                let fresh = text.get(skip..)?;
                self.told = self.told.saturating_add(fresh.len());
                return Some(fresh);
            }
            skip = skip.saturating_sub(text.len());
        }
        None
    }

    /// The model's own counts, and the platform's where there are none; or the other way
    /// round.
    pub(super) fn usage(&self) -> Usage {
        let (told, metered) = (self.tokens.total(), self.metered.total());
        let (first, second) = if self.is_metered {
            (metered, told)
        } else {
            (told, metered)
        };
        Usage {
            input: first.input.or(second.input),
            output: first.output.or(second.output),
            cache_read: first.cache_read.or(second.cache_read),
            cache_write: first.cache_write.or(second.cache_write),
            reasoning: first.reasoning.or(second.reasoning),
        }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = Response {
            id: self.id,
            model: self.model,
            ..Response::default()
        };
        for choice in self.choices {
            response.finish_reasons.extend(choice.finish.clone());
            if self.content {
                response.messages.push(ChatMessage {
                    role: choice.role.unwrap_or(Name::Borrowed("assistant")),
                    parts: choice.slots.into_iter().map(|slot| slot.part).collect(),
                    name: None,
                    finish_reason: choice.finish,
                });
            }
        }
        response
    }

    fn choice(&mut self, index: usize) -> Option<&mut Choice> {
        if index >= MAX_CHOICES {
            return None;
        }
        if index >= self.choices.len() {
            let wanted = index.saturating_add(1);
            self.choices.resize_with(wanted, Choice::default);
        }
        self.choices.get_mut(index)
    }

    /// The parts of a choice, where parts are kept.
    fn slots(&mut self, choice: usize) -> Option<&mut Vec<Slot>> {
        let keeps = self.content && !self.is_cut();
        let choice = self.choice(choice)?;
        keeps.then_some(&mut choice.slots)
    }

    /// The part to add to: block `key`'s of the right kind, or a new one.
    fn slot(
        &mut self,
        choice: usize,
        key: Option<u64>,
        kind: impl Fn(&Part) -> bool,
        new: impl FnOnce() -> Part,
    ) -> Option<&mut Part> {
        let slots = self.slots(choice)?;
        let fits = |slot: &Slot| slot.key == key && !slot.closed && kind(&slot.part);
        let at = match key {
            Some(_) => slots.iter().rposition(fits),
            None => slots
                .len()
                .checked_sub(1)
                .filter(|_| slots.last().is_some_and(fits)),
        };
        let at = match at {
            Some(at) => at,
            None if slots.len() < MAX_PARTS => {
                slots.push(Slot {
                    key,
                    part: new(),
                    closed: false,
                });
                slots.len().checked_sub(1)?
            }
            None => return None,
        };
        slots.get_mut(at).map(|slot| &mut slot.part)
    }
}

/// Sets `slot` to what `text` says, if anything; without allocating where it says
/// the same again.
fn replace(slot: &mut Option<Box<str>>, text: Str<'_>) {
    if slot.as_deref() != Some(text.key())
        && let Some(text) = text.boxed()
    {
        *slot = Some(text);
    }
}
