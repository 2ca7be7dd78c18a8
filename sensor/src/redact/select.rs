//! Which calls leave, how many of them, and with how much of their content.
//!
//! In: [`EnrichedCall`]s. Out: a [`Record`] for each that is kept. What every rule says
//! about a call follows from the call and its process alone.

use std::time::Duration;

use super::rewrite::{Patterns, Rewrite};
use super::{Content, Record, ServedRecord, record, served_record};
use crate::enrich::service::Matcher;
use crate::enrich::{EnrichedCall, EnrichedRequest};

/// What is kept; the first rule that matches a call decides what differs from the rest.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub content: Content,
    /// Masked beside the built-in finds, and also where content is kept in full.
    pub patterns: Patterns,
    /// Characters kept of each text.
    pub max_text: Option<usize>,
    /// Of how many traces one is kept, from 0 to 1.
    pub share: Share,
    /// Calls that failed are kept all.
    pub keep_errors: bool,
    /// Calls that took longer are kept all.
    pub keep_slower: Option<Duration>,
    pub rules: Vec<Rule>,
}

/// A number from 0 to 1; 1 unless it is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl Default for Share {
    fn default() -> Self {
        Self(1.0)
    }
}

/// What differs for some calls.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Each that is there must fit.
    pub service: Option<Matcher>,
    pub provider: Option<Matcher>,
    pub path: Option<Matcher>,
    /// Nothing of these calls leaves, not even their number.
    pub drop: bool,
    pub content: Option<Content>,
    pub hash: bool,
    pub max_text: Option<usize>,
    pub share: Option<Share>,
}

impl Rule {
    fn matches(&self, enriched: &EnrichedCall, service: Option<&str>) -> bool {
        let call = &enriched.call;
        fits(self.service.as_ref(), service)
            && fits(self.provider.as_ref(), Some(&call.provider))
            && fits(self.path.as_ref(), call.server.path.as_deref())
    }
}

impl Rule {
    /// Whether it is about all that a service does.
    fn is_of_service(&self, service: Option<&str>) -> bool {
        let is_general = self.provider.is_none() && self.path.is_none();
        is_general && fits(self.service.as_ref(), service)
    }
}

fn fits(wanted: Option<&Matcher>, text: Option<&str>) -> bool {
    wanted.is_none_or(|matcher| text.is_some_and(|text| matcher.fits(text)))
}

impl Selection {
    /// Whether any content can leave.
    pub fn needs_content(&self) -> bool {
        let of_rules = self.rules.iter().filter_map(|rule| rule.content);
        of_rules.chain([self.content]).any(|c| c != Content::Off)
    }

    /// Whether nothing of a call may leave, as far as it is known by now.
    pub fn drops(&self, enriched: &EnrichedCall, service: Option<&str>) -> bool {
        let rule = self.rules.iter().find(|r| r.matches(enriched, service));
        rule.is_some_and(|rule| rule.drop)
    }

    /// The record of a finished call; `None` where nothing of it may leave.
    /// `service`: the name that it leaves under.
    pub fn apply(&self, enriched: EnrichedCall, service: Option<&str>) -> Option<Record> {
        let rule = self.rules.iter().find(|r| r.matches(&enriched, service));
        if rule.is_some_and(|rule| rule.drop) {
            return None;
        }
        let content = rule.and_then(|rule| rule.content).unwrap_or(self.content);
        let rewrite = Rewrite {
            mask: content != Content::Full,
            own: Some(&self.patterns),
            hash: rule.is_some_and(|rule| rule.hash),
            max_text: rule.and_then(|rule| rule.max_text).or(self.max_text),
        };
        let share = rule.and_then(|rule| rule.share).unwrap_or(self.share);
        let share = if self.is_kept(&enriched) {
            1.0
        } else {
            share.0
        };
        Some(record(enriched, content, &rewrite, share))
    }

    /// The record of a request that was served; `None` where nothing of its service may
    /// leave. `whole`: a call that was made for it is kept whatever the share.
    pub fn apply_served(
        &self,
        enriched: EnrichedRequest,
        service: Option<&str>,
        whole: bool,
    ) -> Option<ServedRecord> {
        let rule = self.rules.iter().find(|rule| rule.is_of_service(service));
        if rule.is_some_and(|rule| rule.drop) {
            return None;
        }
        let content = rule.and_then(|rule| rule.content).unwrap_or(self.content);
        let rewrite = Rewrite {
            mask: content != Content::Full,
            own: Some(&self.patterns),
            ..Rewrite::default()
        };
        let share = rule.and_then(|rule| rule.share).unwrap_or(self.share);
        let share = if whole { 1.0 } else { share.0 };
        Some(served_record(enriched, &rewrite, share))
    }

    fn is_kept(&self, enriched: &EnrichedCall) -> bool {
        let call = &enriched.call;
        let took = call.timing.end.since(call.timing.start);
        (self.keep_errors && call.error.is_some())
            || self.keep_slower.is_some_and(|limit| took > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::call::{ChatMessage, Failure, Part};
    use crate::samples::enriched;

    fn call() -> EnrichedCall {
        enriched(|call, _| {
            call.server.path = Some("/v1/chat/completions".into());
            call.request.messages = vec![ChatMessage {
                role: "user".into(),
                parts: vec![Part::Text("mail jo@example.org, EMP-1".into())],
                ..ChatMessage::default()
            }];
        })
    }

    fn said(record: &Record) -> Option<&str> {
        match &record.call().request.messages.first()?.parts[..] {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rule = |service: &str| Rule {
            service: Some(Matcher::new(service)),
            ..Rule::default()
        };
        let selection = Selection {
            rules: vec![
                Rule {
                    drop: true,
                    path: Some(Matcher::new("/v1/embeddings")),
                    ..rule("shop")
                },
                Rule {
                    content: Some(Content::Full),
                    share: Some(Share(0.25)),
                    ..rule("shop")
                },
                Rule {
                    drop: true,
                    ..rule("*")
                },
            ],
            ..Selection::default()
        };
        assert!(selection.needs_content());
        let shop = selection.apply(call(), Some("shop")).unwrap();
        assert_eq!(said(&shop), Some("mail jo@example.org, EMP-1"));
        assert!((shop.share() - 0.25).abs() < 1e-9);
        assert!(selection.apply(call(), Some("cart")).is_none());
        assert!(selection.drops(&call(), Some("cart")));
        assert!(!selection.drops(&call(), Some("shop")));
        let unnamed = selection.apply(call(), None).unwrap();
        assert_eq!(said(&unnamed), None);
    }

    #[test]
    fn failed_and_slow_calls_are_kept() {
        let selection = Selection {
            share: Share(0.0),
            keep_errors: true,
            keep_slower: Some(Duration::from_secs(5)),
            ..Selection::default()
        };
        let share = |change: fn(&mut EnrichedCall)| {
            let mut call = call();
            change(&mut call);
            selection.apply(call, None).unwrap().share()
        };
        assert!(share(|_| {}) < 0.5);
        assert!(
            share(|c| c.call.timing.end = crate::time::Timestamp::from_nanos(60_000_000_000)) > 0.5
        );
        let failed = |c: &mut EnrichedCall| {
            c.call.error = Some(Failure {
                kind: "429".into(),
                message: None,
            });
        };
        assert!(share(failed) > 0.5);
    }

    #[test]
    fn own_patterns_are_masked_even_in_full_content() {
        let selection = Selection {
            content: Content::Full,
            patterns: Patterns::parse(["EMP-[0-9]+"]).unwrap(),
            max_text: Some(30),
            ..Selection::default()
        };
        let record = selection.apply(call(), None).unwrap();
        assert_eq!(said(&record), Some("mail jo@example.org, [masked]"));
    }
}
