//! From the configuration to what is kept of which calls.

use llmtap::redact::{Content, Matcher, Patterns, Rule, Selection, Share};

use crate::cmd::config::schema::{self, Config, ContentLevel};

pub fn of(config: &Config) -> anyhow::Result<Selection> {
    let schema::Sampling {
        ratio,
        keep_errors,
        keep_slower_than,
    } = config.sampling;
    Ok(Selection {
        content: content(config.content),
        patterns: Patterns::parse(config.mask.iter().map(String::as_str))?,
        max_text: config.max_text,
        share: Share(ratio.0),
        keep_errors,
        keep_slower: keep_slower_than.map(|span| span.0),
        rules: config.rules.iter().map(rule).collect(),
    })
}

fn rule(rule: &schema::Rule) -> Rule {
    let matcher = |pattern: &Option<String>| pattern.as_deref().map(Matcher::new);
    Rule {
        service: matcher(&rule.service),
        provider: matcher(&rule.provider),
        path: matcher(&rule.path),
        drop: rule.drop,
        content: rule.content.map(content),
        hash: rule.hash,
        max_text: rule.max_text,
        share: rule.ratio.map(|ratio| Share(ratio.0)),
    }
}

const fn content(level: ContentLevel) -> Content {
    match level {
        ContentLevel::Off => Content::Off,
        ContentLevel::Redacted => Content::Redacted,
        ContentLevel::Full => Content::Full,
    }
}
