//! From the configuration to where each signal goes.

use std::time::Duration;

use anyhow::{Context as _, bail};
use http::uri::{Parts, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use llmtap::export::otlp::tls::Identity;
use llmtap::export::otlp::{self, Destination};

use crate::cmd::config::schema::{Compression, Otlp, Protocol, Signal};

/// Where `signal` goes; `None` where it is not sent.
pub fn of(otlp: &Otlp, signal: Signal) -> anyhow::Result<Option<Destination>> {
    if !otlp.signals.contains(&signal) {
        return Ok(None);
    }
    let (own, key) = match signal {
        Signal::Traces => (&otlp.traces_endpoint, "otlp.traces_endpoint"),
        Signal::Metrics => (&otlp.metrics_endpoint, "otlp.metrics_endpoint"),
        Signal::Logs => (&otlp.logs_endpoint, "otlp.logs_endpoint"),
    };
    let (endpoint, key, is_whole) = match (own, &otlp.endpoint) {
        (Some(own), _) => (own, key, true),
        (None, Some(all)) => (all, "otlp.endpoint", false),
        (None, None) => return Ok(None),
    };
    let uri = uri(endpoint, otlp.protocol, signal, is_whole)
        .with_context(|| format!("{key} is no address of a collector"))?;
    Ok(Some(Destination {
        uri,
        protocol: match otlp.protocol {
            Protocol::Grpc => otlp::Protocol::Grpc,
            Protocol::Http => otlp::Protocol::Http,
        },
        compression: match otlp.compression {
            Compression::None => otlp::Compression::None,
            Compression::Gzip => otlp::Compression::Gzip,
        },
        headers: headers(otlp)?,
        timeout: otlp.timeout.0.max(Duration::from_millis(1)),
        identity: Identity {
            certificate: otlp.certificate.clone(),
            client_certificate: otlp.client_certificate.clone(),
            client_key: otlp.client_key.clone(),
        },
    }))
}

/// The whole address. With gRPC the path is the method's; with HTTP it is added to the
/// endpoint's, unless that is of this signal alone.
fn uri(endpoint: &str, protocol: Protocol, signal: Signal, is_whole: bool) -> anyhow::Result<Uri> {
    let with_scheme = match endpoint.contains("://") {
        true => endpoint.to_owned(),
        false => format!("http://{endpoint}"),
    };
    let uri: Uri = with_scheme.parse()?;
    let Parts {
        scheme,
        authority,
        path_and_query,
        ..
    } = uri.into_parts();
    if !matches!(scheme.as_ref().map(|s| s.as_str()), Some("http" | "https")) {
        bail!("it begins with http:// or https://");
    }
    let base = path_and_query.as_ref().map_or("", PathAndQuery::path);
    let path = match protocol {
        Protocol::Grpc => method(signal).to_owned(),
        Protocol::Http if is_whole => base.to_owned(),
        Protocol::Http => format!("{}/v1/{}", base.trim_end_matches('/'), name(signal)),
    };
    let mut parts = Parts::default();
    (parts.scheme, parts.authority) = (scheme, authority);
    parts.path_and_query = Some(path.parse()?);
    Ok(Uri::from_parts(parts)?)
}

pub const fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "traces",
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    }
}

const fn method(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
}

/// The error names the field, and not its value.
fn headers(otlp: &Otlp) -> anyhow::Result<HeaderMap> {
    let field = |(name, value): (&String, &crate::cmd::config::schema::Secret)| {
        let fits = || format!("otlp.headers: {name} is no field of HTTP");
        let field: HeaderName = name.parse().with_context(fits)?;
        let mut value = HeaderValue::from_str(&value.0).with_context(fits)?;
        value.set_sensitive(true);
        Ok((field, value))
    };
    otlp.headers.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::config::schema::Secret;

    fn traces(change: impl FnOnce(&mut Otlp)) -> String {
        let mut otlp = Otlp::default();
        change(&mut otlp);
        let destination = of(&otlp, Signal::Traces).unwrap();
        destination.map_or_else(String::new, |d| d.uri.to_string())
    }

    #[test]
    fn paths_follow_from_protocol_and_signal() {
        assert_eq!(traces(|_| {}), "");
        let grpc = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let endpoint = |text: &str| Some(text.to_owned());
        assert_eq!(
            traces(|o| o.endpoint = endpoint("https://c.example:4317")),
            format!("https://c.example:4317{grpc}")
        );
        assert_eq!(
            traces(|o| o.endpoint = endpoint("c:4317")),
            format!("http://c:4317{grpc}")
        );
        let http = |all: Option<&str>, own: Option<&str>| {
            traces(|o| {
                o.protocol = Protocol::Http;
                o.endpoint = all.map(str::to_owned);
                o.traces_endpoint = own.map(str::to_owned);
            })
        };
        assert_eq!(http(Some("http://c:4318"), None), "http://c:4318/v1/traces");
        assert_eq!(
            http(Some("http://c/otlp/"), None),
            "http://c/otlp/v1/traces"
        );
        assert_eq!(http(None, Some("http://c/x")), "http://c/x");
        assert_eq!(http(Some("http://c"), Some("http://d/x")), "http://d/x");
    }

    #[test]
    fn a_wrong_address_or_field_is_named_and_not_its_value() {
        let mut otlp = Otlp {
            endpoint: Some("ftp://c".into()),
            ..Otlp::default()
        };
        let error = format!("{:#}", of(&otlp, Signal::Logs).unwrap_err());
        assert!(error.contains("otlp.endpoint"), "{error}");
        otlp.endpoint = Some("http://c".into());
        let secret = Secret("hunter2\n".into());
        otlp.headers.insert("api-key".into(), secret);
        let error = format!("{:#}", of(&otlp, Signal::Logs).unwrap_err());
        assert!(
            error.contains("api-key") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_signal_that_is_left_out_goes_nowhere() {
        let otlp = Otlp {
            endpoint: Some("http://c".into()),
            signals: vec![Signal::Metrics],
            ..Otlp::default()
        };
        assert!(of(&otlp, Signal::Traces).unwrap().is_none());
        assert!(of(&otlp, Signal::Metrics).unwrap().is_some());
    }
}
