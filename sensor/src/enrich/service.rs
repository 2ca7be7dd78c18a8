//! Under which name the calls of a process are counted.
//!
//! In: the facts of a process, and the user's rules. Out: `service.name`.

use serde::Deserialize;

use crate::event::{Origin, Workload};

/// A name for the processes that fit; each field that is there must fit, and `*` stands
/// for any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// The path of the program.
    pub executable: Option<Box<str>>,
    /// The command line, as it is reported.
    pub command_line: Option<Box<str>>,
    /// The systemd unit.
    pub unit: Option<Box<str>>,
    /// The user's name.
    pub owner: Option<Box<str>>,
    /// The namespace of the pod.
    pub namespace: Option<Box<str>>,
    /// The workload, or the pod that has none.
    pub workload: Option<Box<str>>,
    /// What it is called.
    pub name: Box<str>,
}

/// The user's rules; the first that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Rules(Vec<Rule>);

impl Rules {
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// What the user says; else what the process declares; else its workload, its systemd
    /// service. `None`: the name of its program must do.
    pub fn service(&self, origin: &Origin) -> Option<Box<str>> {
        let rule = self.0.iter().find(|rule| rule.fits(origin));
        if let Some(rule) = rule {
            return Some(rule.name.clone());
        }
        let workload = || origin.workload.as_deref().map(Workload::name);
        let service = || origin.unit.as_deref()?.strip_suffix(".service");
        let declared = origin.service.as_deref();
        declared.or_else(workload).or_else(service).map(Box::from)
    }
}

impl Rule {
    fn fits(&self, origin: &Origin) -> bool {
        let workload = origin.workload.as_deref();
        let facts = [
            (&self.executable, origin.exe.as_deref()),
            (&self.command_line, origin.command_line.as_deref()),
            (&self.unit, origin.unit.as_deref()),
            (&self.owner, origin.owner.as_deref()),
            (&self.namespace, workload.map(|w| &*w.namespace)),
            (&self.workload, workload.map(Workload::name)),
        ];
        facts.into_iter().all(|(pattern, fact)| match pattern {
            Some(pattern) => fact.is_some_and(|fact| matches(pattern, fact)),
            None => true,
        })
    }
}

/// Whether `text` has the form of `pattern`, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return text.ends_with(piece);
        }
        let Some((_, after)) = text.split_once(piece) else {
            return false;
        };
        text = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn origin() -> Origin {
        Origin {
            exe: Some("/usr/bin/python3.11".into()),
            command_line: Some("python3 -m shop.api".into()),
            unit: Some("shop.service".into()),
            owner: Some("www".into()),
            ..Origin::default()
        }
    }

    #[test]
    fn names_in_their_order() {
        let rules = Rules::default();
        let mut origin = origin();
        assert_eq!(rules.service(&Origin::default()), None);
        assert_eq!(rules.service(&origin).as_deref(), Some("shop"));
        origin.workload = Some(Arc::new(Workload {
            pod: "checkout-7d9-x2x".into(),
            owners: vec![
                ("ReplicaSet".into(), "checkout-7d9".into()),
                ("Deployment".into(), "checkout".into()),
            ],
            ..Workload::default()
        }));
        assert_eq!(rules.service(&origin).as_deref(), Some("checkout"));
        origin.service = Some("declared".into());
        assert_eq!(rules.service(&origin).as_deref(), Some("declared"));
        let rules = Rules::new(vec![Rule {
            unit: Some("shop.*".into()),
            name: "ruled".into(),
            ..Rule::default()
        }]);
        assert_eq!(rules.service(&origin).as_deref(), Some("ruled"));
        origin.unit = Some("user.scope".into());
        assert_eq!(
            Rules::default().service(&Origin {
                service: None,
                workload: None,
                ..origin
            }),
            None
        );
    }

    #[test]
    fn every_field_of_a_rule_must_fit() {
        let rule = |change: fn(&mut Rule)| {
            let mut rule = Rule::default();
            change(&mut rule);
            rule.fits(&origin())
        };
        assert!(rule(|r| r.executable = Some("*/python*".into())));
        assert!(rule(|r| r.command_line = Some("*-m shop*".into())));
        assert!(rule(|r| {
            r.owner = Some("www".into());
            r.unit = Some("shop.service".into());
        }));
        assert!(!rule(|r| {
            r.owner = Some("www".into());
            r.unit = Some("other.service".into());
        }));
        assert!(!rule(|r| r.namespace = Some("*".into())), "it has none");
        assert!(!rule(|r| r.executable = Some("python*".into())));
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*b*c", "a-b-b-c", true),
            ("ab*b", "ab", false),
            ("**x", "yx", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
