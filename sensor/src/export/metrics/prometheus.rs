//! Families as a page for Prometheus: its text format 0.0.4, or OpenMetrics 1.0, which
//! has exemplars.
//!
//! Names follow OpenTelemetry's rules for Prometheus: dots become underscores, the unit
//! and `total` are appended.

use std::fmt::{self, Write as _};

use super::number;
use super::series::{Exemplar, Family, Histogram, Labels, Value};
use crate::export::semconv::metrics::{Kind, Metric};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// What the scraper says that it takes.
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Text,
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The page.
pub fn page(families: &[Family], format: Format) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.series.is_empty()) {
        // Writing to memory cannot fail.
        let _ = write_family(&mut out, family, format);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn write_family(out: &mut String, family: &Family, format: Format) -> fmt::Result {
    let Metric { about, kind, .. } = family.metric;
    let base = name(&family.metric);
    let is_counter = kind == Kind::Counter;
    let sample = match is_counter {
        true => format!("{base}_total"),
        false => base.clone(),
    };
    // In OpenMetrics the family is what a counter counts, without `total`.
    let described = match format {
        Format::OpenMetrics => &base,
        Format::Text => &sample,
    };
    let kind = match kind {
        Kind::Histogram(_) => "histogram",
        Kind::Counter => "counter",
        Kind::UpDown | Kind::Gauge => "gauge",
    };
    writeln!(out, "# HELP {described} {about}")?;
    writeln!(out, "# TYPE {described} {kind}")?;
    for (labels, value) in &family.series {
        match value {
            Value::Number(value) => {
                out.push_str(&sample);
                write_labels(out, labels, None)?;
                writeln!(out, " {value}")?;
            }
            Value::Histogram(histogram) => {
                write_histogram(out, &base, family.metric.kind, labels, histogram, format)?;
            }
        }
    }
    Ok(())
}

fn write_histogram(
    out: &mut String,
    base: &str,
    kind: Kind,
    labels: &Labels,
    histogram: &Histogram,
    format: Format,
) -> fmt::Result {
    let Kind::Histogram(bounds) = kind else {
        return Ok(());
    };
    let mut below = 0;
    let bounds = bounds.iter().map(|bound| decimal(*bound));
    let bounds = bounds.chain(["+Inf".to_owned()]);
    let buckets = histogram.counts.iter().zip(&histogram.exemplars);
    for (bound, (count, exemplar)) in bounds.zip(buckets) {
        below += count;
        write!(out, "{base}_bucket")?;
        write_labels(out, labels, Some(&bound))?;
        write!(out, " {below}")?;
        if let Some(exemplar) = exemplar.filter(|_| format == Format::OpenMetrics) {
            write_exemplar(out, exemplar)?;
        }
        out.push('\n');
    }
    for (suffix, value) in [
        ("sum", histogram.sum.to_string()),
        ("count", below.to_string()),
    ] {
        write!(out, "{base}_{suffix}")?;
        write_labels(out, labels, None)?;
        writeln!(out, " {value}")?;
    }
    Ok(())
}

fn write_exemplar(out: &mut String, exemplar: Exemplar) -> fmt::Result {
    let Exemplar {
        value,
        unix_nanos,
        trace,
        span,
    } = exemplar;
    let seconds = number(unix_nanos / 1_000_000) / 1000.0;
    write!(
        out,
        " # {{trace_id=\"{trace:032x}\",span_id=\"{span:016x}\"}} {value} {seconds:.3}"
    )
}

/// A bound with a fraction, so that both formats mean the same series.
fn decimal(bound: f64) -> String {
    format!("{bound:?}")
}

fn write_labels(out: &mut String, labels: &Labels, bound: Option<&str>) -> fmt::Result {
    let own = labels.iter().map(|(name, value)| (*name, &**value));
    let all = own.chain(bound.map(|bound| ("le", bound)));
    let mut opened = false;
    for (name, value) in all {
        out.push(if opened { ',' } else { '{' });
        opened = true;
        write!(out, "{}=\"", underscored(name))?;
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    if opened {
        out.push('}');
    }
    Ok(())
}

/// Without `total`.
fn name(metric: &Metric) -> String {
    let mut name = underscored(metric.name);
    let unit = match metric.unit {
        "s" => "seconds",
        "By" => "bytes",
        _ => "",
    };
    if !unit.is_empty() && !name.ends_with(unit) {
        name.push('_');
        name.push_str(unit);
    }
    name
}

fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::metrics::series::{Bounds, Store};
    use crate::export::semconv::metrics::{COST, CPU, SERVER_PER_TOKEN};

    fn families() -> Vec<Family> {
        let mut store = Store::new(Bounds {
            values: 9,
            series: 9,
        });
        let exemplar = Exemplar {
            value: 0.02,
            unix_nanos: 1_760_000_000_123_456_789,
            trace: 0xabc,
            span: 0xdef,
        };
        let labels = [("gen_ai.request.model", "a\"b\\c\nd")];
        store.add(SERVER_PER_TOKEN, &labels, 0.02, Some(exemplar));
        store.add(COST, &[], 0.25, None);
        store.families()
    }

    #[test]
    fn text_has_types_buckets_and_escapes() {
        let page = page(&families(), Format::Text);
        let lines: Vec<&str> = page.lines().collect();
        for line in [
            "# TYPE gen_ai_server_time_per_output_token_seconds histogram",
            r#"gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_request_model="a\"b\\c\nd",le="0.01"} 0"#,
            r#"gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_request_model="a\"b\\c\nd",le="+Inf"} 1"#,
            r#"gen_ai_server_time_per_output_token_seconds_count{gen_ai_request_model="a\"b\\c\nd"} 1"#,
            "# TYPE llmtap_client_cost_usd_total counter",
            "llmtap_client_cost_usd_total 0.25",
        ] {
            assert!(lines.contains(&line), "{line}\nin\n{page}");
        }
        assert!(!page.contains("trace_id"));
    }

    #[test]
    fn open_metrics_has_exemplars_and_an_end() {
        let page = page(&families(), Format::OpenMetrics);
        assert!(page.contains("# TYPE llmtap_client_cost_usd counter\n"));
        assert!(page.contains("\nllmtap_client_cost_usd_total 0.25\n"));
        let exemplar = "le=\"0.025\"} 1 # {trace_id=\"00000000000000000000000000000abc\",\
                        span_id=\"0000000000000def\"} 0.02 1760000000.123\n";
        assert!(page.contains(exemplar), "{page}");
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn units_are_part_of_names() {
        assert_eq!(name(&CPU), "llmtap_cpu_seconds");
        assert_eq!(
            name(&crate::export::semconv::metrics::BYTES),
            "llmtap_bytes"
        );
    }
}
