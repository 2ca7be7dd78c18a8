//! Families as metrics of the OpenTelemetry protocol.
//!
//! In: [`Family`]s, cumulative since a moment. Out: one export request. The service of a
//! series becomes its resource.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as ProtoExemplar, Gauge, Histogram as ProtoHistogram,
    HistogramDataPoint, Metric as ProtoMetric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::encode::{pair, scope, span_id, string, trace_id};
use crate::export::metrics::series::{Exemplar, Histogram, OVERFLOW};
use crate::export::metrics::{Family, Labels, SERVICE, Value};
use crate::export::semconv::metrics::{Kind, Metric};

/// The moments that a request tells of.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    /// Since when numbers count.
    pub started_unix_nanos: u64,
    /// That is the time of the export before, and not of the start.
    pub is_delta: bool,
    pub now_unix_nanos: u64,
    /// Exemplars from before were told already.
    pub last_unix_nanos: u64,
}

/// A request with all families. `own`: what llmtap says of itself as a resource, to
/// which the series without a service belong.
pub fn request(families: &[Family], own: &[(String, String)], period: Period) -> Vec<u8> {
    let mut services = BTreeMap::<Option<&str>, Vec<ProtoMetric>>::new();
    for family in families {
        let mut of_service = BTreeMap::<Option<&str>, Vec<&(Labels, Value)>>::new();
        for series in &family.series {
            let (labels, _) = series;
            of_service.entry(service(labels)).or_default().push(series);
        }
        for (service, series) in of_service {
            let metric = encoded(&family.metric, &series, period);
            services.entry(service).or_default().push(metric);
        }
    }
    let resource_metrics = services.into_iter().map(|(service, metrics)| {
        let mut attributes: Vec<KeyValue> = own
            .iter()
            .filter(|(name, _)| service.is_none() || name != SERVICE)
            .map(|(name, value)| pair(name, string(value.as_str())))
            .collect();
        attributes.extend(service.map(|service| pair(SERVICE, string(service))));
        ResourceMetrics {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }
    });
    let request = ExportMetricsServiceRequest {
        resource_metrics: resource_metrics.collect(),
    };
    request.encode_to_vec()
}

fn service(labels: &Labels) -> Option<&str> {
    let (_, value) = labels.iter().find(|(name, _)| *name == SERVICE)?;
    (!value.is_empty()).then_some(value)
}

fn encoded(metric: &Metric, series: &[&(Labels, Value)], period: Period) -> ProtoMetric {
    let cumulative = AggregationTemporality::Cumulative as i32;
    let temporality = match period.is_delta {
        true => AggregationTemporality::Delta as i32,
        false => cumulative,
    };
    let numbers = || {
        let number = |(labels, value): &&(Labels, Value)| match value {
            Value::Number(value) => Some(number_point(labels, *value, period)),
            Value::Histogram(_) => None,
        };
        series.iter().filter_map(number).collect()
    };
    let data = match metric.kind {
        Kind::Histogram(bounds) => {
            let point = |(labels, value): &&(Labels, Value)| match value {
                Value::Histogram(histogram) => {
                    Some(histogram_point(labels, histogram, bounds, period))
                }
                Value::Number(_) => None,
            };
            metric::Data::Histogram(ProtoHistogram {
                data_points: series.iter().filter_map(point).collect(),
                aggregation_temporality: temporality,
            })
        }
        Kind::Gauge => metric::Data::Gauge(Gauge {
            data_points: numbers(),
        }),
        Kind::Counter | Kind::UpDown => metric::Data::Sum(Sum {
            data_points: numbers(),
            // What comes and goes has no other.
            aggregation_temporality: match metric.kind {
                Kind::UpDown => cumulative,
                _ => temporality,
            },
            is_monotonic: metric.kind == Kind::Counter,
        }),
    };
    ProtoMetric {
        name: metric.name.to_owned(),
        description: metric.about.to_owned(),
        unit: metric.unit.to_owned(),
        data: Some(data),
        ..ProtoMetric::default()
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels
        .iter()
        .filter(|(name, _)| *name != SERVICE)
        .map(|(name, value)| match (*name, value.parse()) {
            ("server.port", Ok(port)) => pair(name, super::encode::int(port)),
            (OVERFLOW, _) => pair(name, super::encode::bool(true)),
            _ => pair(name, string(&**value)),
        })
        .collect()
}

fn number_point(labels: &Labels, value: f64, period: Period) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: period.started_unix_nanos,
        time_unix_nano: period.now_unix_nanos,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn histogram_point(
    labels: &Labels,
    histogram: &Histogram,
    bounds: &[f64],
    period: Period,
) -> HistogramDataPoint {
    let exemplars = histogram.exemplars.iter().flatten();
    let new = exemplars.filter(|e| e.unix_nanos > period.last_unix_nanos);
    HistogramDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: period.started_unix_nanos,
        time_unix_nano: period.now_unix_nanos,
        count: histogram.count(),
        sum: Some(histogram.sum),
        bucket_counts: histogram.counts.clone(),
        explicit_bounds: bounds.to_vec(),
        exemplars: new.map(exemplar_of).collect(),
        ..HistogramDataPoint::default()
    }
}

fn exemplar_of(exemplar: &Exemplar) -> ProtoExemplar {
    ProtoExemplar {
        time_unix_nano: exemplar.unix_nanos,
        span_id: span_id(exemplar.span),
        trace_id: trace_id(exemplar.trace),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
        ..ProtoExemplar::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::metrics::{Bounds, Metrics};
    use crate::samples::record;

    #[test]
    fn services_become_resources() {
        let bounds = Bounds {
            values: 9,
            series: 9,
        };
        let mut metrics = Metrics::new(bounds);
        for service in ["shop", "cart"] {
            metrics.observe(&record(|call, origin| {
                origin.service = Some(service.into());
                call.server.port = Some(443);
            }));
        }
        let own = [(SERVICE.to_owned(), "llmtap".to_owned())];
        let period = Period {
            started_unix_nanos: 5,
            is_delta: false,
            now_unix_nanos: u64::MAX,
            last_unix_nanos: 0,
        };
        let bytes = request(&metrics.families(), &own, period);
        let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
        let names: Vec<_> = request
            .resource_metrics
            .iter()
            .map(|r| r.resource.as_ref().unwrap().attributes.clone())
            .collect();
        let service = |name: &str| vec![pair(SERVICE, string(name))];
        assert_eq!(names, [service("cart"), service("shop")]);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let duration = metrics
            .iter()
            .find(|m| m.name == "gen_ai.client.operation.duration")
            .unwrap();
        let Some(metric::Data::Histogram(histogram)) = &duration.data else {
            panic!("no histogram");
        };
        let [point] = &histogram.data_points[..] else {
            panic!("one series of one service");
        };
        assert_eq!((point.count, point.start_time_unix_nano), (1, 5));
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.exemplars.len(), 1);
        assert!(point.attributes.iter().all(|a| a.key != SERVICE));
    }
}
