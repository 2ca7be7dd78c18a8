//! What this host and its cluster know of processes, added to the events of live probes.
//!
//! In: events as they come. Out: the same, with facts; and facts that become known later
//! as events of their own, so that a capture holds them, too.

use std::collections::VecDeque;
use std::sync::Arc;

use llmtap::enrich::k8s::{self, Pods};
use llmtap::enrich::process::Processes;
use llmtap::event::{ConnectionId, Event, EventKind, Origin, Workload};
use llmtap::time::Timestamp;

use super::config::schema::Kubernetes;

/// Connections at most that wait for the cluster to tell of their pods.
const MAX_WAITING: usize = 1 << 12;

#[derive(Debug, Default)]
pub struct Facts {
    processes: Processes,
    pods: Option<Pods>,
    /// What was known of pods when `waiting` was last looked through.
    seen: u64,
    waiting: Waiting,
    /// Time of the last event; what is told later is told at this time.
    newest: Timestamp,
}

/// Connections of containers whose pods are not known yet, with what is known of each.
#[derive(Debug, Default)]
struct Waiting(VecDeque<(ConnectionId, Box<Origin>)>);

impl Facts {
    /// Begins to gather; in a cluster also of the pods of this node, which is `host`
    /// where nobody says otherwise.
    pub fn gather(config: &Kubernetes, host: &str) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let pods = cluster(config, host, &variable).and_then(|options| {
            Pods::follow(options)
                .inspect_err(|error| eprintln!("llmtap: pods stay unknown: {error}"))
                .ok()
        });
        Self {
            pods,
            ..Self::default()
        }
    }

    /// Adds to `event` what is known by now.
    pub fn add(&mut self, event: &mut Event<'_>) {
        self.newest = self.newest.max(event.at);
        let EventKind::Open(origin) = &mut event.kind else {
            return;
        };
        // At once: the process may be gone by the time its call ends.
        self.processes.fill(origin);
        if let Some(pods) = &self.pods {
            origin.workload = pods.workload(origin);
            origin.peer_workload = origin.peer.and_then(|peer| pods.at(peer.ip()));
            self.waiting.note(event.connection, origin);
        }
    }

    /// Tells what has become known of connections that were told of before.
    pub fn tell(&mut self, each: &mut dyn FnMut(Event<'_>)) {
        let Some(pods) = &self.pods else { return };
        let changes = pods.changes();
        if std::mem::replace(&mut self.seen, changes) != changes {
            let workload = |origin: &Origin| pods.workload(origin);
            self.waiting.settle(self.newest, &workload, each);
        }
    }
}

/// What to ask the API server, if it is to be asked.
fn cluster(
    config: &Kubernetes,
    host: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Option<k8s::Options> {
    let is_named = config.node.is_some() || config.server.is_some();
    let is_there = || is_named || variable("KUBERNETES_SERVICE_HOST").is_some();
    if !config.enabled.unwrap_or_else(is_there) {
        return None;
    }
    let node = config.node.clone().or_else(|| variable("NODE_NAME"));
    let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    Some(k8s::Options {
        node: node
            .filter(|name| !name.is_empty())
            .as_deref()
            .unwrap_or(host)
            .into(),
        labels: boxed(&config.labels),
        annotations: boxed(&config.annotations),
        server: config
            .server
            .as_deref()
            .and_then(|server| server.parse().ok()),
    })
}

impl Waiting {
    fn note(&mut self, connection: ConnectionId, origin: &Origin) {
        let is_known = origin
            .workload
            .as_ref()
            .is_some_and(|workload| workload.container.is_some());
        if is_known || (origin.container.is_none() && origin.pod_uid.is_none()) {
            return;
        }
        if self.0.len() >= MAX_WAITING {
            self.0.pop_front();
        }
        let place = Origin {
            container: origin.container.clone(),
            pod_uid: origin.pod_uid.clone(),
            ..Origin::default()
        };
        self.0.push_back((connection, Box::new(place)));
    }

    fn settle(
        &mut self,
        at: Timestamp,
        workload: &dyn Fn(&Origin) -> Option<Arc<Workload>>,
        each: &mut dyn FnMut(Event<'_>),
    ) {
        self.0.retain(|(connection, place)| {
            let Some(workload) = workload(place) else {
                return true;
            };
            // Its container may be told later than the pod.
            let is_partial = workload.container.is_none();
            let origin = Origin {
                workload: Some(workload),
                ..Origin::default()
            };
            each(Event {
                connection: *connection,
                at,
                kind: EventKind::Open(Box::new(origin)),
            });
            is_partial
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(container: &str) -> Origin {
        Origin {
            container: Some(container.into()),
            ..Origin::default()
        }
    }

    /// The connections that are told of when `known` containers are.
    fn told(waiting: &mut Waiting, known: &[&str]) -> Vec<u64> {
        let mut told = Vec::new();
        let workload = |origin: &Origin| {
            let container = origin.container.as_deref()?;
            known.contains(&container).then(|| {
                Arc::new(Workload {
                    container: Some("app".into()),
                    ..Workload::default()
                })
            })
        };
        waiting.settle(Timestamp::default(), &workload, &mut |event| {
            assert!(matches!(event.kind, EventKind::Open(o) if o.workload.is_some()));
            told.push(event.connection.0);
        });
        told
    }

    #[test]
    fn a_cluster_is_asked_where_there_is_one() {
        let node = |config: &Kubernetes, variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name)?;
                Some(found.1.to_owned())
            };
            cluster(config, "host", &variable).map(|options| options.node)
        };
        let silent = Kubernetes::default();
        let with = |change: fn(&mut Kubernetes)| {
            let mut config = Kubernetes::default();
            change(&mut config);
            config
        };
        let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("NODE_NAME", "n1")];
        assert_eq!(node(&silent, &[]), None);
        assert_eq!(node(&silent, &[("NODE_NAME", "n1")]), None);
        assert_eq!(node(&silent, &pod).as_deref(), Some("n1"));
        assert_eq!(node(&silent, &pod[..1]).as_deref(), Some("host"));
        assert_eq!(node(&with(|c| c.enabled = Some(false)), &pod), None);
        let named = with(|c| c.node = Some("n2".into()));
        assert_eq!(node(&named, &pod).as_deref(), Some("n2"));
        let elsewhere = with(|c| c.server = Some("http://a".into()));
        assert_eq!(node(&elsewhere, &[]).as_deref(), Some("host"));
    }

    #[test]
    fn what_is_known_later_is_told_once() {
        let mut waiting = Waiting::default();
        waiting.note(ConnectionId(1), &place("a"));
        waiting.note(ConnectionId(2), &place("b"));
        waiting.note(ConnectionId(3), &Origin::default());
        assert_eq!(told(&mut waiting, &[]), [0; 0]);
        assert_eq!(told(&mut waiting, &["b"]), [2]);
        assert_eq!(told(&mut waiting, &["a", "b"]), [1]);
        assert!(waiting.0.is_empty());
    }

    #[test]
    fn those_who_wait_are_bounded() {
        let mut waiting = Waiting::default();
        for connection in 0..10_000 {
            waiting.note(ConnectionId(connection), &place("a"));
        }
        assert_eq!(waiting.0.len(), MAX_WAITING);
    }
}
