//! Where a call happened: the process, its place, and what is at the other end.

use std::path::Path;

use super::Attributes;
use crate::event::{Origin, Role, Workload};
use crate::redact::{Record, ServedRecord};

/// What made the call, or served it.
pub fn resource(record: &Record) -> Attributes<'_> {
    place(record.origin(), record.host())
}

/// What served the request.
pub fn served_resource(record: &ServedRecord) -> Attributes<'_> {
    place(record.origin(), record.host())
}

fn place<'a>(origin: &'a Origin, host: Option<&'a str>) -> Attributes<'a> {
    let mut out = Attributes::default();
    let exe = origin.exe.as_deref();
    let file = exe.and_then(|exe| Path::new(exe).file_name()?.to_str());
    out.known("service.name", service_name(origin));
    out.known("process.pid", origin.pid.map(i64::from));
    out.known("process.executable.name", file.or(origin.comm.as_deref()));
    out.known("process.executable.path", exe);
    out.known("process.command_line", origin.command_line.as_deref());
    out.known("process.owner", origin.owner.as_deref());
    out.known("container.id", origin.container.as_deref());
    out.known("container.runtime.name", origin.runtime.as_deref());
    out.known("llmtap.systemd.unit", origin.unit.as_deref());
    out.known("k8s.pod.uid", origin.pod_uid.as_deref());
    if let Some(workload) = origin.workload.as_deref() {
        kubernetes(&mut out, workload);
    }
    out.known("host.name", host);
    out
}

fn kubernetes<'a>(out: &mut Attributes<'a>, workload: &'a Workload) {
    out.set("k8s.namespace.name", &*workload.namespace);
    out.set("k8s.pod.name", &*workload.pod);
    out.known("k8s.container.name", workload.container.as_deref());
    out.known("k8s.node.name", workload.node.as_deref());
    for (kind, name) in &workload.owners {
        let attribute = match &**kind {
            "ReplicaSet" => "k8s.replicaset.name",
            "Deployment" => "k8s.deployment.name",
            "StatefulSet" => "k8s.statefulset.name",
            "DaemonSet" => "k8s.daemonset.name",
            "Job" => "k8s.job.name",
            "CronJob" => "k8s.cronjob.name",
            _ => continue,
        };
        out.set(attribute, &**name);
    }
    for (name, value) in &workload.labels {
        out.set(format!("k8s.pod.label.{name}"), &**value);
    }
    for (name, value) in &workload.annotations {
        out.set(format!("k8s.pod.annotation.{name}"), &**value);
    }
}

/// What its service is called, or else its program.
pub fn service_name(origin: &Origin) -> Option<&str> {
    let exe = || Path::new(origin.exe.as_deref()?).file_name()?.to_str();
    let service = origin.service.as_deref();
    service.or_else(exe).or(origin.comm.as_deref())
}

/// The service at the other end, where that is in the cluster: a pod, or else the Service
/// that a name of its says.
pub(super) fn peer<'a>(out: &mut Attributes<'a>, record: &'a Record) {
    let workload = record.origin().peer_workload.as_deref();
    let address = record.call().server.address.as_deref();
    let asked = address.filter(|_| record.call().role == Role::Client);
    let known = workload.map(|workload| (workload.name(), &*workload.namespace));
    if let Some((name, namespace)) = known.or_else(|| cluster_service(asked?)) {
        out.set("service.peer.name", name);
        out.set("service.peer.namespace", namespace);
    }
}

/// Name and namespace of a Service, as `NAME.NAMESPACE.svc.cluster.local` has them; before them
/// may be a pod's of a set.
fn cluster_service(address: &str) -> Option<(&str, &str)> {
    let host = address.strip_suffix(".cluster.local").unwrap_or(address);
    let (before, namespace) = host.strip_suffix(".svc")?.rsplit_once('.')?;
    let name = before.rsplit('.').next()?;
    (!name.is_empty() && !namespace.is_empty()).then_some((name, namespace))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::attributes;
    use super::*;
    use crate::llm::Call;
    use crate::samples::record;

    fn peer_of(change: impl FnOnce(&mut Call, &mut Origin)) -> String {
        let record = record(change);
        let attributes = attributes(&record);
        let of = |wanted: &str| {
            let found = attributes.iter().find(|(name, _)| *name == wanted);
            found.map_or(Ok("-".to_owned()), |(_, v)| serde_json::to_string(v))
        };
        let names = ["service.peer.name", "service.peer.namespace"];
        names.map(|name| of(name).unwrap()).join(" ")
    }

    #[test]
    fn every_kind_of_owner_has_its_name() {
        for (kind, name) in [
            ("ReplicaSet", "k8s.replicaset.name"),
            ("Deployment", "k8s.deployment.name"),
            ("StatefulSet", "k8s.statefulset.name"),
            ("DaemonSet", "k8s.daemonset.name"),
            ("Job", "k8s.job.name"),
            ("CronJob", "k8s.cronjob.name"),
        ] {
            let record = record(|_, origin| {
                origin.workload = Some(Arc::new(Workload {
                    owners: vec![(kind.into(), "shop".into())],
                    labels: vec![("app".into(), "a".into())],
                    annotations: vec![("team".into(), "b".into())],
                    ..Workload::default()
                }));
            });
            let resource = resource(&record);
            let names: Vec<&str> = resource.iter().map(|(name, _)| name).collect();
            for name in [name, "k8s.pod.label.app", "k8s.pod.annotation.team"] {
                assert!(names.contains(&name), "{name}: {names:?}");
            }
        }
    }

    #[test]
    fn the_other_end_in_the_cluster_is_named() {
        let at = |address: &str| peer_of(|call, _| call.server.address = Some(address.into()));
        for address in [
            "vllm.models.svc.cluster.local",
            "vllm.models.svc",
            "vllm-0.vllm.models.svc.cluster.local",
        ] {
            assert_eq!(at(address), r#""vllm" "models""#, "{address}");
        }
        for address in ["api.openai.com", "svc", ".svc", "a.svc", "10.0.0.1"] {
            assert_eq!(at(address), "- -", "{address}");
        }
        let pod = |role: Role| {
            peer_of(|call, origin| {
                call.role = role;
                call.server.address = Some("other.models.svc".into());
                origin.peer_workload = Some(Arc::new(Workload {
                    namespace: "web".into(),
                    pod: "shop-7d9f-x2x".into(),
                    owners: vec![("Deployment".into(), "shop".into())],
                    ..Workload::default()
                }));
            })
        };
        assert_eq!(pod(Role::Client), r#""shop" "web""#);
        assert_eq!(pod(Role::Server), r#""shop" "web""#);
    }
}
