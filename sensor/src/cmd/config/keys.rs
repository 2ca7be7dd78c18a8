//! The keys of the configuration as flags and variables: `otlp.batch_size` is
//! `--otlp-batch-size` and `LLMTAP_OTLP_BATCH_SIZE`.

use clap::builder::ArgAction;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::schema::Config;

/// One value that can be set.
#[derive(Clone, Debug)]
pub struct Key {
    /// From the outside in.
    pub path: Vec<String>,
    kind: Kind,
    about: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Switch,
    /// A number, or YAML where nothing shorter will do.
    Yaml,
    List,
    /// A list of what may have commas in it: one a line.
    Lines,
    /// `NAME=VALUE` pairs.
    Pairs,
}

/// What flags and variables say, in the order of the keys.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Vec<(Key, Vec<String>)>);

/// The schema of the configuration file.
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
}

/// All keys.
pub fn all() -> Vec<Key> {
    let mut keys = Vec::new();
    collect(&json_schema(), &mut Vec::new(), &mut keys);
    keys
}

fn collect(schema: &Value, path: &mut Vec<String>, keys: &mut Vec<Key>) {
    let Some(properties) = schema["properties"].as_object() else {
        keys.push(Key::new(path.clone(), schema));
        return;
    };
    for (name, schema) in properties {
        path.push(name.clone());
        collect(schema, path, keys);
        path.pop();
    }
}

impl Key {
    fn new(path: Vec<String>, schema: &Value) -> Self {
        let kind = match type_of(schema) {
            "string" => Kind::Text,
            "boolean" => Kind::Switch,
            "object" => Kind::Pairs,
            "array" if schema["items"]["format"] == "regex" => Kind::Lines,
            "array" if matches!(type_of(&schema["items"]), "string" | "integer") => Kind::List,
            _ if schema["enum"].is_array() || schema["oneOf"].is_array() => Kind::Text,
            _ => Kind::Yaml,
        };
        let mut about = schema["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let values = choices(schema);
        if !values.is_empty() {
            about = format!("{about} [{}]", values.join(", "));
        }
        Self { path, kind, about }
    }

    /// The flag, without its dashes.
    pub fn flag(&self) -> String {
        self.path.join("-").replace('_', "-")
    }

    pub fn variable(&self) -> String {
        format!("LLMTAP_{}", self.path.join("_").to_uppercase())
    }

    fn argument(&self) -> Arg {
        let argument = Arg::new(self.flag())
            .long(self.flag())
            .env(self.variable())
            .hide_env(true)
            .help(self.about.trim().to_owned())
            .help_heading("Configuration")
            .value_name(self.value_name());
        match self.kind {
            Kind::Switch => argument
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            Kind::List | Kind::Lines | Kind::Pairs => argument.action(ArgAction::Append),
            Kind::Text | Kind::Yaml => argument,
        }
    }

    fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Pairs => "NAME=VALUE",
            Kind::Switch => "BOOL",
            Kind::Text | Kind::List | Kind::Lines | Kind::Yaml => "VALUE",
        }
    }

    /// The value that a text means.
    fn parse(&self, texts: &[String]) -> Result<Value, String> {
        let words = || texts.iter().flat_map(|text| text.split(','));
        let words = || words().map(str::trim).filter(|word| !word.is_empty());
        let last = || texts.last().map_or("", String::as_str);
        match self.kind {
            Kind::Text => Ok(last().into()),
            Kind::Switch | Kind::Yaml => yaml(last()),
            Kind::List => words().map(scalar).collect(),
            Kind::Lines => {
                let lines = texts.iter().flat_map(|text| text.lines());
                Ok(lines.filter(|line| !line.is_empty()).collect())
            }
            Kind::Pairs => words()
                .map(pair)
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object),
        }
    }
}

fn type_of(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(name) => name,
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|n| *n != "null")
            .unwrap_or_default(),
        // An enumeration that may be absent.
        _ => match schema["anyOf"].as_array().and_then(|any| any.first()) {
            Some(first) => type_of(first),
            None => "",
        },
    }
}

fn choices(schema: &Value) -> Vec<&str> {
    let values = schema["enum"]
        .as_array()
        .or(schema["items"]["enum"].as_array());
    values
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Reads YAML 1.2, where `off` is a text. An error has its line, and not the text around
/// it, which may be a credential.
pub fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.without_snippet().to_string())
}

fn scalar(word: &str) -> Result<Value, String> {
    Ok(word
        .parse::<u64>()
        .map_or_else(|_| word.into(), Value::from))
}

/// As OpenTelemetry writes them, with values percent-encoded.
pub fn pair(word: &str) -> Result<(String, Value), String> {
    let (name, value) = word.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((name.trim().to_owned(), percent_decoded(value.trim()).into()))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let coded = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match coded.filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Overrides {
    /// Lays what was said over `config`. An error names the flag.
    pub fn apply(&self, config: &mut Value) -> Result<(), String> {
        for (key, texts) in &self.0 {
            let value = key
                .parse(texts)
                .and_then(|value| {
                    let mut alone = Value::Object(Map::new());
                    set(&mut alone, &key.path, value.clone());
                    let checked = serde_json::from_value::<Config>(alone);
                    checked.map(|_| value).map_err(|error| error.to_string())
                })
                .map_err(|error| format!("--{} ({}): {error}", key.flag(), key.variable()))?;
            set(config, &key.path, value);
        }
        Ok(())
    }
}

/// Sets the value at `path`, making the objects on the way.
pub fn set(config: &mut Value, path: &[String], value: Value) {
    match path {
        [] => *config = value,
        [name, rest @ ..] => {
            if !config.is_object() {
                *config = Value::Object(Map::new());
            }
            if let Some(object) = config.as_object_mut() {
                set(
                    object.entry(name.clone()).or_insert(Value::Null),
                    rest,
                    value,
                );
            }
        }
    }
}

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        command.args(all().iter().map(Key::argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = all().into_iter().filter_map(|key| {
            let texts = matches.get_many::<String>(&key.flag())?;
            let texts = texts.cloned().collect();
            Some((key, texts))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
