//! Names of models, from the package's clauses to patterns with wildcards.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::convert::{list, string};

/// Patterns of names that a model goes by.
#[derive(Default)]
pub struct Names {
    pub any: BTreeSet<String>,
    pub except: BTreeSet<String>,
}

impl Names {
    pub fn add(&mut self, clause: &Value) -> Result<()> {
        let text = |key| string(clause, key);
        match string(clause, "")? {
            "ClauseEquals" => self.any.extend([literal(text("equals")?)?]),
            "ClauseStartsWith" => {
                self.any
                    .extend([format!("{}*", literal(text("starts_with")?)?)]);
            }
            "ClauseEndsWith" => self
                .any
                .extend([format!("*{}", literal(text("ends_with")?)?)]),
            "ClauseContains" => self
                .any
                .extend([format!("*{}*", literal(text("contains")?)?)]),
            "ClauseRegex" => self.any.extend(from_regex(text("regex")?)?),
            "ClauseOr" => {
                for clause in list(clause, "or_") {
                    self.add(clause)?;
                }
            }
            "ClauseAnd" => {
                // The one thing that is excluded so far: speech. No other name that the
                // model goes by is affected.
                let is_speech = |c: &&Value| c["regex"] == "^(?!.*-[tT][tT][sS](?:$|-))";
                let (speech, rest): (Vec<_>, Vec<_>) =
                    list(clause, "and_").iter().partition(is_speech);
                let ([_], [one]) = (speech.as_slice(), rest.as_slice()) else {
                    bail!("cannot write {clause} with wildcards");
                };
                self.except.extend(["*-tts".into(), "*-tts-*".into()]);
                self.add(one)?;
            }
            other => bail!("unknown clause {other}"),
        }
        Ok(())
    }
}

fn literal(text: &str) -> Result<String> {
    if text.contains(['*', '#']) {
        bail!("{text} means something else here");
    }
    Ok(text.to_lowercase())
}

/// Patterns that say the same as `regex`, of the few kinds that are used.
fn from_regex(regex: &str) -> Result<Vec<String>> {
    let cannot = || format!("cannot write {regex} with wildcards");
    let body = regex.strip_prefix('^').with_context(cannot)?;
    let mut pattern = match body.strip_suffix('$') {
        Some(body) => body.to_owned(),
        None => format!("{body}*"),
    };
    for digits in [2, 4, 8] {
        pattern = pattern.replace(&format!("\\d{{{digits}}}"), &"#".repeat(digits));
    }
    pattern = pattern.replace("\\d", "#").replace("\\.", ".");
    let patterns: Vec<String> = if pattern.contains("[-@]") {
        ["-", "@"].map(|one| pattern.replace("[-@]", one)).into()
    } else {
        vec![pattern]
    };
    if patterns
        .iter()
        .any(|p| p.contains(['\\', '[', '(', '{', '+', '?', '|', '^', '$']))
    {
        bail!(cannot());
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clauses_become_wildcards() {
        let clause = json!({"": "ClauseOr", "or_": [
            {"": "ClauseEquals", "equals": "A-1"},
            {"": "ClauseStartsWith", "starts_with": "a-2"},
            {"": "ClauseContains", "contains": "a-3"},
            {"": "ClauseRegex", "regex": r"^a-4[-@]\d{4}-\d{2}$"},
            {"": "ClauseRegex", "regex": r"^a\.5-\d"},
        ]});
        let mut names = Names::default();
        names.add(&clause).unwrap();
        let expected = [
            "*a-3*",
            "a-1",
            "a-2*",
            "a-4-####-##",
            "a-4@####-##",
            "a.5-#*",
        ];
        assert_eq!(names.any, expected.map(String::from).into());
        assert!(from_regex("^a(b)?$").is_err());
        assert!(from_regex("a$").is_err());
    }
}
