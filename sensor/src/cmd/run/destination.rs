//! From the configuration to where each signal goes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::uri::{Parts, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use llmtap::export::otlp::tls::Identity;
use llmtap::export::otlp::{self, Destination};

use crate::cmd::config::schema::{Compression, Otlp, Protocol, Secret, Signal, Way};

/// Where `signal` goes; `None` where it is not sent.
pub fn of(otlp: &Otlp, signal: Signal) -> anyhow::Result<Option<Destination>> {
    if !otlp.signals.contains(&signal) {
        return Ok(None);
    }
    let own = way(otlp, signal);
    let name = name(signal);
    let (endpoint, key, is_whole) = match (&own.endpoint, &otlp.endpoint) {
        (Some(own), _) => (own, format!("otlp.{name}.endpoint"), true),
        (None, Some(all)) => (all, "otlp.endpoint".to_owned(), false),
        (None, None) => return Ok(None),
    };
    let protocol = own.protocol.unwrap_or(otlp.protocol);
    let uri = uri(endpoint, protocol, signal, is_whole)
        .with_context(|| format!("{key} is no address of a collector"))?;
    let fields = match own.headers.is_empty() {
        true => headers("otlp.headers", &otlp.headers)?,
        false => headers(&format!("otlp.{name}.headers"), &own.headers)?,
    };
    let timeout = own.timeout.unwrap_or(otlp.timeout);
    Ok(Some(Destination {
        uri,
        protocol: match protocol {
            Protocol::Grpc => otlp::Protocol::Grpc,
            Protocol::Http => otlp::Protocol::Http,
        },
        compression: match own.compression.unwrap_or(otlp.compression) {
            Compression::None => otlp::Compression::None,
            Compression::Gzip => otlp::Compression::Gzip,
        },
        headers: fields,
        timeout: timeout.0.max(Duration::from_millis(1)),
        identity: identity(otlp, own),
    }))
}

const fn way(otlp: &Otlp, signal: Signal) -> &Way {
    match signal {
        Signal::Traces => &otlp.traces,
        Signal::Metrics => &otlp.metrics,
        Signal::Logs => &otlp.logs,
    }
}

/// A certificate and its key come from the same place.
fn identity(otlp: &Otlp, own: &Way) -> Identity {
    let (client_certificate, client_key) = match (&own.client_certificate, &own.client_key) {
        (None, None) => (&otlp.client_certificate, &otlp.client_key),
        own => own,
    };
    Identity {
        certificate: own
            .certificate
            .as_ref()
            .or(otlp.certificate.as_ref())
            .cloned(),
        client_certificate: client_certificate.clone(),
        client_key: client_key.clone(),
    }
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
fn headers(key: &str, headers: &BTreeMap<String, Secret>) -> anyhow::Result<HeaderMap> {
    let field = |(name, value): (&String, &Secret)| {
        let fits = || format!("{key}: {name} is no field of HTTP");
        let field: HeaderName = name.parse().with_context(fits)?;
        let mut value = HeaderValue::from_str(&value.0).with_context(fits)?;
        value.set_sensitive(true);
        Ok((field, value))
    };
    headers.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::config::schema::Span;

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
                o.traces.endpoint = own.map(str::to_owned);
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
    fn what_is_said_of_a_signal_goes_over_what_is_said_of_all() {
        let secret = |text: &str| Secret(text.to_owned());
        let otlp = Otlp {
            endpoint: Some("http://c:4317".into()),
            headers: [("a".to_owned(), secret("1"))].into(),
            certificate: Some("all.pem".into()),
            client_certificate: Some("all-client.pem".into()),
            client_key: Some("all-key.pem".into()),
            traces: Way {
                endpoint: Some("https://d/x".into()),
                protocol: Some(Protocol::Http),
                headers: [("b".to_owned(), secret("2"))].into(),
                compression: Some(Compression::None),
                timeout: Some(Span::seconds(3)),
                certificate: Some("d.pem".into()),
                ..Way::default()
            },
            ..Otlp::default()
        };
        let traces = of(&otlp, Signal::Traces).unwrap().unwrap();
        assert_eq!(traces.uri.to_string(), "https://d/x");
        assert_eq!(traces.protocol, otlp::Protocol::Http);
        assert_eq!(traces.compression, otlp::Compression::None);
        assert_eq!(traces.timeout.as_secs(), 3);
        let fields: Vec<_> = traces.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(fields, ["b"]);
        let identity = &traces.identity;
        assert_eq!(identity.certificate.as_deref(), Some("d.pem".as_ref()));
        assert_eq!(identity.client_key.as_deref(), Some("all-key.pem".as_ref()));
        let logs = of(&otlp, Signal::Logs).unwrap().unwrap();
        assert_eq!(
            (logs.protocol, logs.timeout.as_secs()),
            (otlp::Protocol::Grpc, 10)
        );
        assert_eq!(logs.headers.get("a").unwrap(), "1");
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
