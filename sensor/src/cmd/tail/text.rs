//! Calls as lines for people.
//!
//! In: steps of calls. Out: a line as a call starts, its text under it, a line as it
//! ends. A call with both ends on this host is one, told by the end that made it.

use std::collections::HashMap;

use llmtap::event::Role;
use llmtap::llm::CallId;
use llmtap::redact::{Policy, Record, TextStream};

use super::filter::Filter;
use super::pairs::Pairs;
use super::render::{self, Look};
use super::summary::Summary;
use super::watch::Printer;
use crate::cmd::pipeline::Step;

/// Prints steps as they come.
#[derive(Debug)]
pub struct Text {
    policy: Policy,
    filter: Filter,
    look: Look,
    pairs: Pairs,
    shown: HashMap<CallId, Shown>,
    last_number: u64,
    summary: Summary,
    /// The call whose text the cursor stands behind.
    open: Option<CallId>,
}

/// A call under way.
#[derive(Debug)]
struct Shown {
    number: u64,
    process: String,
    /// The process at its other end, where that is on this host.
    peer: Option<String>,
    text: TextStream,
    /// Its text is shown.
    follows: bool,
}

impl Text {
    pub fn new(policy: Policy, filter: Filter, look: Look) -> Self {
        Self {
            policy,
            filter,
            look,
            pairs: Pairs::default(),
            shown: HashMap::new(),
            last_number: 0,
            summary: Summary::default(),
            open: None,
        }
    }

    fn started(&mut self, record: &Record, out: &mut String) {
        let process = render::process(record);
        let other = self.pairs.start(record);
        let other = other.and_then(|other| self.shown.get_mut(&other));
        let told = other.map(|other| {
            other.peer = Some(process.clone());
            (other.number, other.process.clone())
        });
        let fits = !self.filter.needs_end() && self.filter.fits_start(record);
        let follows = told.is_none() && fits;
        let (number, peer) = match told {
            Some((number, peer)) => (number, Some(peer)),
            None => (self.next_number(), None),
        };
        if follows {
            self.line(&render::started(record, number, &self.look), out);
        }
        let text = self.policy.text_stream();
        let shown = Shown {
            number,
            process,
            peer,
            text,
            follows,
        };
        self.shown.insert(record.call().id, shown);
    }

    fn text(&mut self, id: CallId, text: &str, out: &mut String) {
        if let Some(shown) = self.shown.get_mut(&id).filter(|shown| shown.follows) {
            let (number, text) = (shown.number, shown.text.push(text));
            self.show_text(id, number, &text, out);
        }
    }

    fn finished(&mut self, record: &Record, out: &mut String) {
        let id = record.call().id;
        self.pairs.finish(id);
        let (number, peer) = match self.shown.remove(&id) {
            Some(mut shown) => {
                if shown.follows {
                    let rest = shown.text.finish();
                    self.show_text(id, shown.number, &rest, out);
                }
                (shown.number, shown.peer)
            }
            None => (self.next_number(), None),
        };
        // Of two ends, the client tells how the call ended.
        let told_by_peer = peer.is_some() && record.call().role == Role::Server;
        if !told_by_peer && self.filter.fits(record) {
            self.summary.add(record);
            let line = render::finished(record, number, peer.as_deref(), &self.look);
            self.line(&line, out);
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    fn line(&mut self, line: &str, out: &mut String) {
        self.close_text(out);
        out.push_str(line);
        out.push('\n');
    }

    fn close_text(&mut self, out: &mut String) {
        if self.open.take().is_some() {
            out.push('\n');
        }
    }

    fn show_text(&mut self, id: CallId, number: u64, text: &str, out: &mut String) {
        let margin = render::margin(number, &self.look);
        for c in text.chars() {
            if self.open != Some(id) {
                self.close_text(out);
                out.push_str(&margin);
                self.open = Some(id);
            }
            match c {
                '\n' => self.close_text(out),
                '\t' => out.push_str("    "),
                c if render::is_harmful(c) => out.push(char::REPLACEMENT_CHARACTER),
                c => out.push(c),
            }
        }
    }
}

impl Printer for Text {
    fn step(&mut self, step: Step, out: &mut String) -> anyhow::Result<()> {
        match step {
            Step::Started(call) => self.started(&self.policy.apply(call), out),
            Step::Text { call, text } => self.text(call, &text, out),
            Step::Finished(call) => self.finished(&self.policy.apply(call), out),
            Step::Served(_) => {}
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        self.summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::enriched;
    use llmtap::redact::Content;

    fn printed(filter: Filter, steps: Vec<Step>) -> String {
        let policy = Policy {
            content: Content::Full,
        };
        let look = Look {
            colour: false,
            width: Some(60),
            zone: jiff::tz::TimeZone::UTC,
        };
        let mut text = Text::new(policy, filter, look);
        let mut out = String::new();
        for step in steps {
            text.step(step, &mut out).unwrap();
        }
        out
    }

    fn call(id: u64, role: Role) -> llmtap::enrich::EnrichedCall {
        enriched(|call, origin| {
            call.id = CallId(id);
            call.role = role;
            if role == Role::Server {
                origin.pid = Some(7);
                origin.comm = Some("vllm".into());
                std::mem::swap(&mut origin.local, &mut origin.peer);
            }
        })
    }

    fn words(id: u64, text: &str) -> Step {
        Step::Text {
            call: CallId(id),
            text: text.into(),
        }
    }

    #[test]
    fn text_streams_under_its_call_and_calls_do_not_mix() {
        let out = printed(
            Filter::default(),
            vec![
                Step::Started(call(1, Role::Client)),
                words(1, "one "),
                words(1, "two\nthree\x1b[2J"),
                Step::Started(call(2, Role::Client)),
                words(2, "other"),
                words(1, "four"),
                Step::Finished(call(1, Role::Client)),
            ],
        );
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 7, "{out}");
        assert!(lines[0].contains("→ #1 python3"), "{out}");
        assert_eq!(lines[1], "  #1  │ one two");
        assert_eq!(lines[2], "  #1  │ three\u{fffd}[2J");
        assert_eq!(lines[4], "  #2  │ other");
        assert_eq!(lines[5], "  #1  │ four");
        assert!(
            lines[6].starts_with("✓ python3") && out.ends_with('\n'),
            "{out}"
        );
    }

    #[test]
    fn both_ends_of_a_call_are_one() {
        for (first, second) in [(1, 2), (2, 1)] {
            let role = |id| if id == 1 { Role::Client } else { Role::Server };
            let out = printed(
                Filter::default(),
                vec![
                    Step::Started(call(first, role(first))),
                    Step::Started(call(second, role(second))),
                    words(2, "said "),
                    words(1, "said "),
                    Step::Finished(call(2, Role::Server)),
                    Step::Finished(call(1, Role::Client)),
                ],
            );
            assert_eq!(out.matches("said").count(), 1, "{out}");
            assert_eq!(out.lines().count(), 3, "{out}");
            let last = out.lines().last().unwrap();
            assert!(last.starts_with("✓ python3(4242)"), "{out}");
        }
    }

    #[test]
    fn what_must_end_to_fit_shows_at_its_end_alone() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            filter: Filter,
        }
        let line = <Line as clap::Parser>::parse_from(["tail", "--slower-than", "1s"]);
        let steps = vec![
            Step::Started(call(1, Role::Client)),
            words(1, "said"),
            Step::Finished(call(1, Role::Client)),
        ];
        let out = printed(line.filter, steps);
        assert_eq!(out.lines().count(), 1, "{out}");
    }
}
