//! Under which name the calls of a process are counted.
//!
//! In: the facts of a process, and the user's rules. Out: `service.name`.

use crate::event::{Origin, Workload};

/// A text with `*` for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher(Box<str>);

/// A name for the processes that fit; each matcher that is there must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The path of the program.
    pub executable: Option<Matcher>,
    /// The command line, as it is reported.
    pub command: Option<Matcher>,
    /// The systemd unit.
    pub unit: Option<Matcher>,
    /// The user's name.
    pub owner: Option<Matcher>,
    /// The namespace of the pod.
    pub namespace: Option<Matcher>,
    /// The workload, or the pod that has none.
    pub workload: Option<Matcher>,
    /// What it is called.
    pub name: Box<str>,
}

/// The user's rules; the first that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
            (&self.command, origin.command_line.as_deref()),
            (&self.unit, origin.unit.as_deref()),
            (&self.owner, origin.owner.as_deref()),
            (&self.namespace, workload.map(|w| &*w.namespace)),
            (&self.workload, workload.map(Workload::name)),
        ];
        facts.into_iter().all(|(matcher, fact)| match matcher {
            Some(matcher) => fact.is_some_and(|fact| matcher.fits(fact)),
            None => true,
        })
    }
}

impl Matcher {
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    pub fn fits(&self, text: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else {
            return *self.0 == *text;
        };
        let Some(mut text) = text.strip_prefix(start) else {
            return false;
        };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        for piece in middle.split('*') {
            match text.split_once(piece) {
                Some((_, after)) => text = after,
                None => return false,
            }
        }
        text.ends_with(end)
    }
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
            unit: Some(Matcher::new("shop.*")),
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
        assert!(rule(|r| r.executable = Some(Matcher::new("*/python*"))));
        assert!(rule(|r| r.command = Some(Matcher::new("*-m shop*"))));
        assert!(rule(|r| {
            r.owner = Some(Matcher::new("www"));
            r.unit = Some(Matcher::new("shop.service"));
        }));
        assert!(!rule(|r| {
            r.owner = Some(Matcher::new("www"));
            r.unit = Some(Matcher::new("other.service"));
        }));
        assert!(
            !rule(|r| r.namespace = Some(Matcher::new("*"))),
            "it has none"
        );
        assert!(!rule(|r| r.executable = Some(Matcher::new("python*"))));
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, fits) in [
            ("shop", "shop", true),
            ("shop", "shops", false),
            ("shop*", "shops", true),
            ("*", "", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("*/chat/*", "/v1/chat/completions", true),
            ("ab*b", "ab", false),
            ("ab*ba", "aba", false),
            ("**x", "yx", true),
        ] {
            assert_eq!(Matcher::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }
}
