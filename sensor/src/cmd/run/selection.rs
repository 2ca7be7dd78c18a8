//! From the configuration to what is kept of which calls, and under which names.

use llmtap::enrich::service::{self, Matcher};
use llmtap::redact::{Content, Patterns, Rule, Selection, Share};

use crate::cmd::config::schema::{self, Config, ContentLevel};

pub fn of(config: &Config) -> anyhow::Result<Selection> {
    let schema::Sampling {
        ratio,
        keep_errors,
        keep_slower_than,
    } = config.sampling;
    Ok(Selection {
        content: content(config.content),
        patterns: Patterns::parse(config.mask.iter().map(|pattern| pattern.0.as_str()))?,
        max_text: config.max_text,
        share: Share(ratio.0),
        keep_errors,
        keep_slower: keep_slower_than.map(|span| span.0),
        rules: config.rules.iter().map(rule).collect(),
    })
}

/// The names of services.
pub fn services(config: &Config) -> service::Rules {
    service::Rules::new(config.services.iter().map(service).collect())
}

fn service(rule: &schema::ServiceRule) -> service::Rule {
    service::Rule {
        executable: matcher(rule.executable.as_deref()),
        command: matcher(rule.command.as_deref()),
        unit: matcher(rule.unit.as_deref()),
        owner: matcher(rule.owner.as_deref()),
        namespace: matcher(rule.namespace.as_deref()),
        workload: matcher(rule.workload.as_deref()),
        name: rule.name.as_str().into(),
    }
}

fn matcher(pattern: Option<&str>) -> Option<Matcher> {
    pattern.map(Matcher::new)
}

fn rule(rule: &schema::Rule) -> Rule {
    Rule {
        service: matcher(rule.service.as_deref()),
        provider: matcher(rule.provider.as_deref()),
        path: matcher(rule.path.as_deref()),
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
