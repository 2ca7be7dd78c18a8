//! Series of numbers, by the values of their labels.
//!
//! In: measurements. Out: what they add up to since the start. Bounded: a label has so
//! many values and a metric so many series; what is beyond goes into a series of its
//! own, and is counted.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::export::semconv::metrics::{self as names, Kind, Metric};

/// In the order that the measurement had them.
pub type Labels = Vec<(&'static str, Box<str>)>;

/// What replaces the value of a label that has too many, as the conventions do.
pub const OTHER: &str = "_OTHER";

/// Marks the series that gets what is beyond the others.
pub const OVERFLOW: &str = "otel.metric.overflow";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Values of one label.
    pub values: usize,
    /// Series of one metric.
    pub series: usize,
}

/// A measurement and the span that it was made at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    pub value: f64,
    pub unix_nanos: u64,
    pub trace: u128,
    pub span: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// One for each bound, and one for what is above.
    pub counts: Vec<u64>,
    pub sum: f64,
    /// The last one of each bucket.
    pub exemplars: Vec<Option<Exemplar>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Histogram(Histogram),
}

/// All series of one metric.
#[derive(Clone, Debug)]
pub struct Family {
    pub metric: Metric,
    pub series: Vec<(Labels, Value)>,
}

/// Series that are added to.
#[derive(Debug)]
pub struct Store {
    bounds: Bounds,
    families: BTreeMap<&'static str, (Metric, HashMap<Labels, Value>)>,
    /// The values that each label has had.
    seen: HashMap<&'static str, HashSet<Box<str>>>,
    overflow: BTreeMap<&'static str, u64>,
}

/// What came to be in `families` since they were `then`. What comes and goes is as it is now.
pub fn since_then(families: &[Family], then: &[Family]) -> Vec<Family> {
    let before: HashMap<_, _> = then
        .iter()
        .flat_map(|family| {
            let series = family.series.iter();
            series.map(|(labels, value)| ((family.metric.name, labels), value))
        })
        .collect();
    let since = |family: &Family| {
        let grows = !matches!(family.metric.kind, Kind::UpDown | Kind::Gauge);
        let series = family.series.iter().map(|(labels, value)| {
            let before = before.get(&(family.metric.name, labels));
            let value = match before.filter(|_| grows) {
                Some(before) => value.minus(before),
                None => value.clone(),
            };
            (labels.clone(), value)
        });
        Family {
            metric: family.metric,
            series: series.collect(),
        }
    };
    families.iter().map(since).collect()
}

impl Value {
    fn minus(&self, before: &Self) -> Self {
        match (self, before) {
            (Self::Number(now), Self::Number(before)) => Self::Number((now - before).max(0.0)),
            (Self::Histogram(now), Self::Histogram(before)) => {
                let counts = now.counts.iter().zip(&before.counts);
                Self::Histogram(Histogram {
                    counts: counts.map(|(now, b)| now.saturating_sub(*b)).collect(),
                    sum: (now.sum - before.sum).max(0.0),
                    exemplars: now.exemplars.clone(),
                })
            }
            (now, _) => now.clone(),
        }
    }
}

impl Histogram {
    fn new(bounds: &[f64]) -> Self {
        Self {
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
            exemplars: vec![None; bounds.len() + 1],
        }
    }

    fn add(&mut self, bounds: &[f64], value: f64, exemplar: Option<Exemplar>) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
        if exemplar.is_some() {
            self.exemplars[bucket] = exemplar;
        }
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Store {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            families: BTreeMap::new(),
            seen: HashMap::new(),
            overflow: BTreeMap::new(),
        }
    }

    pub const fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Adds one measurement.
    pub fn add(
        &mut self,
        metric: Metric,
        labels: &[(&'static str, &str)],
        value: f64,
        exemplar: Option<Exemplar>,
    ) {
        match (metric.kind, self.series(metric, labels)) {
            (Kind::Histogram(bounds), Value::Histogram(histogram)) => {
                histogram.add(bounds, value, exemplar);
            }
            (_, Value::Number(sum)) => *sum += value,
            (_, Value::Histogram(_)) => {
                debug_assert!(false, "invariant: a metric keeps its kind");
            }
        }
    }

    /// Adds measurements that were put into the metric's buckets already. `exemplar`: one of
    /// them.
    pub fn add_counts(
        &mut self,
        metric: Metric,
        labels: &[(&'static str, &str)],
        (counts, sum): (&[u32], f64),
        exemplar: Option<Exemplar>,
    ) {
        let Kind::Histogram(bounds) = metric.kind else {
            return;
        };
        if let Value::Histogram(histogram) = self.series(metric, labels) {
            debug_assert_eq!(counts.len(), histogram.counts.len());
            for (count, more) in histogram.counts.iter_mut().zip(counts) {
                *count += u64::from(*more);
            }
            histogram.sum += sum;
            let bucket = exemplar.map(|e| bounds.partition_point(|bound| *bound < e.value));
            if let Some(place) = bucket.and_then(|at| histogram.exemplars.get_mut(at)) {
                *place = exemplar;
            }
        }
    }

    fn series(&mut self, metric: Metric, labels: &[(&'static str, &str)]) -> &mut Value {
        let mut key: Labels = labels
            .iter()
            .map(|(name, value)| (*name, self.bounded(name, value)))
            .collect();
        let most = self.bounds.series;
        let overflow = &mut self.overflow;
        let family = self.families.entry(metric.name);
        let (_, series) = family.or_insert_with(|| (metric, HashMap::new()));
        if series.len() >= most && !series.contains_key(&key) {
            *overflow.entry(metric.name).or_default() += 1;
            key = vec![(OVERFLOW, "true".into())];
        }
        series.entry(key).or_insert_with(|| match metric.kind {
            Kind::Histogram(bounds) => Value::Histogram(Histogram::new(bounds)),
            Kind::Counter | Kind::UpDown | Kind::Gauge => Value::Number(0.0),
        })
    }

    fn bounded(&mut self, label: &'static str, value: &str) -> Box<str> {
        let seen = self.seen.entry(label).or_default();
        if seen.contains(value) {
            return value.into();
        }
        if seen.len() < self.bounds.values && value.len() <= MAX_VALUE {
            seen.insert(value.into());
            return value.into();
        }
        *self.overflow.entry(label).or_default() += 1;
        OTHER.into()
    }

    /// What has been added up so far, by name.
    pub fn families(&self) -> Vec<Family> {
        let sorted = |series: &HashMap<Labels, Value>| {
            let mut series: Vec<_> = series.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            series.sort_by(|(a, _), (b, _)| a.cmp(b));
            series
        };
        let mut families: Vec<Family> = self
            .families
            .values()
            .map(|(metric, series)| Family {
                metric: *metric,
                series: sorted(series),
            })
            .collect();
        let overflow = self.overflow.iter().map(|(label, count)| {
            #[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
            let count = *count as f64;
            (vec![("label", Box::from(*label))], Value::Number(count))
        });
        families.push(Family {
            metric: names::OVERFLOW,
            series: overflow.collect(),
        });
        families
    }
}

/// A longer one is no name.
const MAX_VALUE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::semconv::metrics::{COST, SERVER_PER_TOKEN};

    fn store(values: usize, series: usize) -> Store {
        Store::new(Bounds { values, series })
    }

    fn number<'a>(families: &'a [Family], name: &str, label: &str) -> Option<&'a Value> {
        let family = families.iter().find(|f| f.metric.name == name)?;
        let found = |(labels, _): &&(Labels, Value)| labels.iter().any(|(_, v)| &**v == label);
        family.series.iter().find(found).map(|(_, value)| value)
    }

    #[test]
    fn a_measurement_goes_into_the_bucket_that_holds_it() {
        let mut store = store(9, 9);
        for value in [0.0, 0.01, 0.011, 2.5, 2.6] {
            store.add(SERVER_PER_TOKEN, &[], value, None);
        }
        let families = store.families();
        let Value::Histogram(histogram) = &families[0].series[0].1 else {
            panic!("no histogram");
        };
        assert_eq!(histogram.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(histogram.count(), 5);
        assert!((histogram.sum - 5.121).abs() < 1e-9);
    }

    #[test]
    fn since_then_only_what_grows_is_less() {
        let mut store = store(9, 9);
        store.add(COST, &[("model", "a")], 1.5, None);
        store.add(SERVER_PER_TOKEN, &[], 0.02, None);
        store.add(names::IN_FLIGHT, &[], 3.0, None);
        let then = store.families();
        store.add(COST, &[("model", "a")], 0.25, None);
        store.add(COST, &[("model", "b")], 2.0, None);
        store.add(SERVER_PER_TOKEN, &[], 2.6, None);
        let since = since_then(&store.families(), &then);
        assert_eq!(number(&since, COST.name, "a"), Some(&Value::Number(0.25)));
        assert_eq!(number(&since, COST.name, "b"), Some(&Value::Number(2.0)));
        let of = |name: &str| since.iter().find(|f| f.metric.name == name).unwrap();
        assert_eq!(of(names::IN_FLIGHT.name).series[0].1, Value::Number(3.0));
        let Value::Histogram(histogram) = &of(SERVER_PER_TOKEN.name).series[0].1 else {
            panic!("no histogram");
        };
        assert_eq!((histogram.count(), histogram.counts[13]), (1, 1));
        assert!((histogram.sum - 2.6).abs() < 1e-9);
    }

    #[test]
    fn too_many_values_share_one_and_are_counted() {
        let mut store = store(2, 9);
        for model in ["a", "b", "c", "d", "a"] {
            store.add(COST, &[("model", model)], 1.0, None);
        }
        let families = store.families();
        let of = |label| number(&families, COST.name, label);
        assert_eq!(of("a"), Some(&Value::Number(2.0)));
        assert_eq!(of(OTHER), Some(&Value::Number(2.0)));
        let overflow = number(&families, names::OVERFLOW.name, "model");
        assert_eq!(overflow, Some(&Value::Number(2.0)));
    }

    #[test]
    fn too_many_series_share_one_and_are_counted() {
        let mut store = store(100, 2);
        for model in ["a", "b", "c", "d"] {
            store.add(COST, &[("model", model)], 1.0, None);
        }
        let families = store.families();
        assert_eq!(families[0].series.len(), 3);
        assert_eq!(
            number(&families, COST.name, "true"),
            Some(&Value::Number(2.0))
        );
        let overflow = number(&families, names::OVERFLOW.name, COST.name);
        assert_eq!(overflow, Some(&Value::Number(2.0)));
    }
}
