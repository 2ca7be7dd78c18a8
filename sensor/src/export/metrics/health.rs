//! What llmtap says of itself.

use super::number;
use super::series::{Family, Labels, Value};
use crate::export::otlp::LaneStatus;
use crate::export::semconv::metrics::{self as names, Metric};
use crate::export::worker::WorkerStatus;

/// A snapshot, filled by those who know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    pub traffic: Traffic,
    /// Room, what was wrong there, how often.
    pub faults: Vec<(&'static str, &'static str, u64)>,
    pub kernel: Kernel,
    pub workers: Vec<(&'static str, WorkerStatus)>,
    pub lanes: Vec<(&'static str, LaneStatus)>,
    pub process: Process,
}

/// What came through the rooms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub events: u64,
    pub bytes: u64,
    pub lost_bytes: u64,
    pub cut_bytes: u64,
    pub exchanges: u64,
    pub calls: u64,
    pub connections: u64,
    pub evicted: u64,
    pub refused_exchanges: u64,
}

/// What the probes say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    pub images: u64,
    /// Probes in place, and those that could not be set.
    pub probes: u64,
    pub unset: u64,
    /// Of those: plaintext came, and what came was none.
    pub verified: u64,
    pub withdrawn: u64,
    pub refused: u64,
    pub unreadable: u64,
    pub untracked: u64,
    pub processes: u64,
    /// Processes without probes at this moment, how often one lost them, and got them back.
    pub released: u64,
    pub releases: u64,
    pub taken_back: u64,
}

/// What running takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    pub memory_bytes: u64,
    pub cpu_seconds: f64,
}

/// Families of single numbers, in the making.
#[derive(Debug, Default)]
struct Families(Vec<Family>);

impl Families {
    fn add<'a>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (&'static str, &'a str, u64)>,
    ) {
        let labelled = |(label, value, count): (&'static str, &str, u64)| {
            let labels: Labels = match label {
                "" => Vec::new(),
                label => vec![(label, value.into())],
            };
            (labels, Value::Number(number(count)))
        };
        self.0.push(Family {
            metric,
            series: series.into_iter().map(labelled).collect(),
        });
    }

    fn faults(&mut self, faults: &[(&'static str, &'static str, u64)]) {
        let series = faults.iter().map(|(room, fault, count)| {
            let labels = vec![("room", Box::from(*room)), ("fault", Box::from(*fault))];
            (labels, Value::Number(number(*count)))
        });
        self.0.push(Family {
            metric: names::FAULTS,
            series: series.collect(),
        });
    }

    fn one(&mut self, metric: Metric, count: u64) {
        self.add(metric, [("", "", count)]);
    }
}

impl Health {
    pub fn families(&self) -> Vec<Family> {
        let mut out = Families::default();
        self.rooms(&mut out);
        self.probes(&mut out);
        self.ways_out(&mut out);
        out.one(names::MEMORY, self.process.memory_bytes);
        out.0.push(Family {
            metric: names::CPU,
            series: vec![(Vec::new(), Value::Number(self.process.cpu_seconds))],
        });
        out.0
    }

    fn rooms(&self, out: &mut Families) {
        let Traffic {
            events,
            bytes,
            lost_bytes,
            cut_bytes,
            exchanges,
            calls,
            connections,
            evicted: _,
            refused_exchanges: _,
        } = self.traffic;
        out.one(names::EVENTS, events);
        out.add(
            names::BYTES,
            [("state", "read", bytes), ("state", "cut", cut_bytes)],
        );
        out.one(names::LOST, lost_bytes);
        out.one(names::EXCHANGES, exchanges);
        out.one(names::CALLS, calls);
        out.one(names::CONNECTIONS, connections);
        out.faults(&self.faults);
    }

    fn probes(&self, out: &mut Families) {
        let Kernel {
            images,
            probes,
            unset,
            verified,
            withdrawn,
            refused,
            unreadable,
            untracked,
            processes,
            released,
            releases,
            taken_back,
        } = self.kernel;
        out.one(names::IMAGES, images);
        let states = [("state", "attached", probes), ("state", "failed", unset)];
        out.add(names::PROBES, states);
        let judged = [
            ("state", "verified", verified),
            ("state", "withdrawn", withdrawn),
        ];
        out.add(names::HOOKED, judged);
        out.one(names::RELEASED, released);
        let changes = [
            ("change", "released", releases),
            ("change", "taken_back", taken_back),
        ];
        out.add(names::RELEASES, changes);
        out.add(
            names::RECORD_LOSS,
            [
                ("reason", "ring_full", refused),
                ("reason", "unreadable", unreadable),
                ("reason", "untracked", untracked),
                ("reason", "process_news", processes),
                ("reason", "connections", self.traffic.evicted),
                ("reason", "exchanges", self.traffic.refused_exchanges),
            ],
        );
    }

    fn ways_out(&self, out: &mut Families) {
        let workers = || self.workers.iter();
        let lanes = || self.lanes.iter();
        let of_workers = workers().map(|(name, s)| ("exporter", *name, s.waiting));
        let of_lanes = lanes().map(|(name, s)| ("exporter", *name, s.waiting.messages));
        out.add(names::QUEUED, of_workers.chain(of_lanes));
        let bytes = lanes().map(|(name, s)| ("exporter", *name, s.waiting.bytes));
        out.add(names::WAITING, bytes);
        let of_workers = workers().map(|(name, s)| ("exporter", *name, s.dropped + s.failed));
        let of_lanes = lanes().map(|(name, s)| ("exporter", *name, s.waiting.dropped + s.refused));
        out.add(names::DROPPED, of_workers.chain(of_lanes));
        out.add(
            names::SENT,
            lanes().map(|(name, s)| ("exporter", *name, s.sent)),
        );
        out.add(
            names::FAILURES,
            lanes().map(|(name, s)| ("exporter", *name, s.failures)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_beside_who_is_released() {
        let health = Health {
            kernel: Kernel {
                released: 2,
                releases: 7,
                taken_back: 4,
                ..Kernel::default()
            },
            ..Health::default()
        };
        let families = health.families();
        let series = |metric: Metric| {
            let family = families.iter().find(|family| family.metric == metric);
            let series = &family.expect("it is among them").series;
            let numbers = series.iter().map(|(labels, value)| match value {
                Value::Number(number) => {
                    (labels.first().map(|(_, value)| value.to_string()), *number)
                }
                _ => panic!("a number"),
            });
            numbers.collect::<Vec<_>>()
        };
        assert_eq!(series(names::RELEASED), [(None, 2.0)]);
        let label = |text: &str| Some(text.to_owned());
        let changes = [(label("released"), 7.0), (label("taken_back"), 4.0)];
        assert_eq!(series(names::RELEASES), changes);
    }
}
