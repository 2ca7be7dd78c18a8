//! `llmtap config`: what can be configured, and what is.
//!
//! Layers, each over the one before: defaults, the standard variables of OpenTelemetry,
//! the file, our own variables, flags.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::{Map, Value};

pub mod keys;
mod otel;
pub mod schema;
mod value;

use keys::Overrides;
use schema::{Config, Otlp};

const EXAMPLES: &str = "\
Examples:
  llmtap config                                   what is in force, with all defaults
  llmtap config --config new.yaml                 whether that file is right
  llmtap config --schema > llmtap.schema.json     for editors";

/// Read where none is named, if it is there.
const USUAL: &str = "/etc/llmtap/config.yaml";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Print the JSON schema of the file instead
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    pub origin: Origin,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Args)]
pub struct Origin {
    /// The configuration, in YAML [default: /etc/llmtap/config.yaml, if it is there]
    #[arg(long, value_name = "FILE", env = "LLMTAP_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.schema {
        println!("{:#}", keys::json_schema());
        return Ok(());
    }
    let config = arguments.origin.load()?;
    print!("{}", printed(&config)?);
    Ok(())
}

fn printed(config: &Config) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(config)?)
}

impl Origin {
    /// Reads all layers anew.
    pub fn load(&self) -> anyhow::Result<Config> {
        let usual = Path::new(USUAL);
        let file = match &self.config {
            Some(path) => Some(path.as_path()),
            None => usual.exists().then_some(usual),
        };
        let file = match file {
            Some(path) => {
                let text = fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                of_file(&text).with_context(|| path.display().to_string())?
            }
            None => Value::Null,
        };
        let standard = otel::layer(|name| std::env::var(name).ok());
        let mut layers = Value::Object(Map::new());
        merge(&mut layers, standard.map_err(|error| anyhow!(error))?);
        merge(&mut layers, file);
        self.overrides
            .apply(&mut layers)
            .map_err(|error| anyhow!(error))?;
        let config: Config = serde_json::from_value(layers)?;
        check(&config)?;
        Ok(config)
    }
}

/// The file's layer. It is read twice: as a configuration, so that an error has its
/// line, and as a tree, so that what it does not say stays unsaid.
fn of_file(text: &str) -> anyhow::Result<Value> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    keys::yaml::<Config>(text).map_err(|error| anyhow!(error))?;
    keys::yaml(text).map_err(|error| anyhow!(error))
}

/// Lays `upper` over `lower`, key by key.
fn merge(lower: &mut Value, upper: Value) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            for (name, value) in upper {
                merge(lower.entry(name).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (lower, upper) => *lower = upper,
    }
}

/// What the types do not say.
fn check(config: &Config) -> anyhow::Result<()> {
    let Otlp {
        traces,
        metrics,
        logs,
        ..
    } = &config.otlp;
    let own = [("traces.", traces), ("metrics.", metrics), ("logs.", logs)];
    let own = own.map(|(name, way)| (name, &way.client_certificate, &way.client_key));
    let all = ("", &config.otlp.client_certificate, &config.otlp.client_key);
    for (name, certificate, key) in own.into_iter().chain([all]) {
        if certificate.is_some() != key.is_some() {
            bail!("otlp.{name}client_certificate and otlp.{name}client_key go together");
        }
    }
    let server = config.kubernetes.server.as_deref().map(http::Uri::from_str);
    if server.is_some_and(|server| !server.is_ok_and(|uri| uri.authority().is_some())) {
        bail!("kubernetes.server: an API server is at a URL");
    }
    if config.services.iter().any(|rule| rule.name.is_empty()) {
        bail!("services: each rule has a name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        origin: Origin,
    }

    fn loaded(file: &str, flags: &[&str]) -> anyhow::Result<Config> {
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(path.path(), file).unwrap();
        let name = path.path().to_str().unwrap();
        let arguments = ["llmtap", "--config", name]
            .into_iter()
            .chain(flags.iter().copied());
        Line::try_parse_from(arguments)?.origin.load()
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        assert_eq!(loaded("", &[]).unwrap(), Config::default());
        assert_eq!(loaded("# nothing\n", &[]).unwrap(), Config::default());
    }

    #[test]
    fn flags_go_over_the_file() {
        let file = "otlp:\n  endpoint: http://a:4317\n  timeout: 3s\nsampling: {ratio: 0.5}\n";
        let config = loaded(
            file,
            &[
                "--otlp-endpoint",
                "http://b:4317",
                "--otlp-headers",
                "a=1,b=x%20y",
                "--otlp-headers",
                "c=2",
                "--content",
                "redacted",
                "--pids",
                "1,2",
                "--estimate-tokens",
                "--prometheus",
                "127.0.0.1:9464",
                "--mask",
                "EMP-[0-9]{1,3}",
                "--mask",
                "a,b",
                "--otlp-traces-timeout",
                "2s",
                "--rules",
                "[{service: shop, drop: true}]",
            ],
        )
        .unwrap();
        let Config { otlp, .. } = &config;
        assert_eq!(otlp.endpoint.as_deref(), Some("http://b:4317"));
        assert_eq!(otlp.timeout.0.as_secs(), 3);
        assert_eq!(otlp.traces.timeout.map(|t| t.0.as_secs()), Some(2));
        let mask: Vec<&str> = config.mask.iter().map(|m| m.0.as_str()).collect();
        assert_eq!(mask, ["EMP-[0-9]{1,3}", "a,b"]);
        let headers: Vec<_> = otlp.headers.iter().map(|(n, v)| (&**n, &*v.0)).collect();
        assert_eq!(headers, [("a", "1"), ("b", "x y"), ("c", "2")]);
        assert_eq!(config.content, schema::ContentLevel::Redacted);
        assert_eq!(config.pids, [1, 2]);
        assert!(config.estimate_tokens);
        assert!(config.prometheus.is_some());
        assert!(config.rules[0].drop);
        assert!((config.sampling.ratio.0 - 0.5).abs() < 1e-9);
    }

    #[test]
    fn every_key_can_be_given_as_a_flag() {
        let printed = serde_json::to_value(Config::default()).unwrap();
        for key in keys::all() {
            let mut at = &printed;
            for name in &key.path {
                at = &at[name];
            }
            let text = match at {
                Value::Null => continue,
                Value::Array(items) if items.is_empty() => continue,
                Value::String(text) => text.clone(),
                Value::Array(items) if items.iter().all(Value::is_string) => {
                    let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                    items.join(",")
                }
                Value::Object(_) => continue,
                other => other.to_string(),
            };
            let flag = format!("--{}={text}", key.flag());
            let config = loaded("", &[&flag]).unwrap_or_else(|e| panic!("{flag}: {e:#}"));
            assert_eq!(config, Config::default(), "{flag}");
        }
    }

    #[test]
    fn an_error_says_where_it_is_and_shows_no_value() {
        let error = |file: &str| format!("{:#}", loaded(file, &[]).unwrap_err());
        let unknown = error("content: full\notlp:\n  endpont: x\n");
        assert!(
            unknown.contains("endpont") && unknown.contains("line 3"),
            "{unknown}"
        );
        let ratio = error("sampling:\n  ratio: 7\n");
        assert!(
            ratio.contains("line 2") && ratio.contains("between 0 and 1"),
            "{ratio}"
        );
        for (text, line) in [
            ("otlp:\n  batch_size: 0\n", "line 2"),
            ("spool:\n\n  max_mib: 0\n", "line 3"),
            ("mask:\n  - a\n  - '('\n", "line 3"),
            ("rules:\n  - content: all\n", "line 2"),
        ] {
            let error = error(text);
            assert!(error.contains(line), "{error}");
        }
        let header = error("otlp:\n  headers:\n    - api-key=hunter2\n");
        assert!(!header.contains("hunter2"), "{header}");
        let flag = format!("{:#}", loaded("", &["--otlp-protocol", "tcp"]).unwrap_err());
        assert!(flag.contains("--otlp-protocol"), "{flag}");
    }

    #[test]
    fn what_the_types_do_not_say_is_checked() {
        for file in [
            "kubernetes: {server: 'no url'}",
            "kubernetes: {server: /path}",
            "services: [{unit: a}]",
            "otlp: {logs: {client_key: a.pem}}",
        ] {
            let key = file.split(':').next().unwrap();
            let error = loaded(file, &[]).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        let flags = [
            "--kubernetes-server=http://a:1",
            "--kubernetes-labels=app,team",
        ];
        let config = loaded("", &flags).unwrap();
        assert_eq!(config.kubernetes.labels, ["app", "team"]);
    }

    #[test]
    fn what_is_printed_can_be_read_and_has_no_credential() {
        let file = "otlp: {headers: {api-key: hunter2}}\nmax_text: 5\n";
        let config = loaded(file, &[]).unwrap();
        let printed = printed(&config).unwrap();
        assert!(!printed.contains("hunter2"));
        let again = loaded(&printed, &[]).unwrap();
        assert_eq!(again.max_text, Some(5));
        assert_eq!(again.spool, config.spool);
    }

    #[test]
    fn the_schema_takes_what_we_take() {
        let schema = keys::json_schema();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let printed = serde_json::to_value(Config::default()).unwrap();
        assert!(validator.is_valid(&printed));
        let wrong = serde_json::json!({"otlp": {"endpont": "x"}});
        assert!(!validator.is_valid(&wrong));
    }
}
