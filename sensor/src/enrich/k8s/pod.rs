//! What is kept of a pod.
//!
//! In: a pod as the API server describes it. Out: the [`Workload`] of each of its
//! containers.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod as Described};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::Options;
use crate::event::Workload;

/// What runs in a pod: name and id.
type Container = (Box<str>, Box<str>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) uid: Box<str>,
    pub(super) workload: Workload,
    containers: Vec<Container>,
    /// Its own, not those of its node.
    addresses: Vec<IpAddr>,
    /// Set on pods of a Deployment: the name of their ReplicaSet ends in it.
    template_hash: Option<Box<str>>,
}

impl Pod {
    /// `None` where it has no name yet.
    pub(super) fn of(described: &Described, options: &Options) -> Option<Self> {
        let metadata = &described.metadata;
        let labels = metadata.labels.iter().flatten();
        let annotations = metadata.annotations.iter().flatten();
        let owner = controller(metadata.owner_references.as_deref().unwrap_or_default());
        let hash = metadata
            .labels
            .as_ref()
            .and_then(|l| l.get("pod-template-hash"));
        let mut pod = Self {
            uid: uid(described)?.into(),
            workload: Workload {
                namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
                pod: metadata.name.as_deref()?.into(),
                container: None,
                node: Some(options.node.clone()),
                owners: owner.into_iter().collect(),
                labels: asked_for(labels, &options.labels),
                annotations: asked_for(annotations, &options.annotations),
            },
            containers: containers(described),
            addresses: addresses(described),
            template_hash: hash.map(|hash| hash.as_str().into()),
        };
        pod.tell_deployment();
        Some(pod)
    }

    /// Each container by its id.
    pub(super) fn containers(&self) -> impl Iterator<Item = (Box<str>, Arc<Workload>)> {
        self.containers.iter().map(|(name, id)| {
            let workload = Workload {
                container: Some(name.clone()),
                ..self.workload.clone()
            };
            (id.clone(), Arc::new(workload))
        })
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }

    /// What is known of each of its containers.
    pub(super) fn workload(&self) -> Arc<Workload> {
        Arc::new(self.workload.clone())
    }

    /// The owner whose own owner is not known.
    pub(super) fn uppermost(&self) -> Option<(&str, &str)> {
        let (kind, name) = self.workload.owners.last()?;
        matches!(&**kind, "ReplicaSet" | "Job").then_some((kind, name))
    }

    /// Adds the owner of the uppermost owner.
    pub(super) fn owned_by(&mut self, owner: (Box<str>, Box<str>)) {
        self.workload.owners.push(owner);
    }

    /// A Deployment names its ReplicaSets after itself and marks their pods.
    fn tell_deployment(&mut self) {
        let Some(hash) = &self.template_hash else {
            return;
        };
        let deployment = match self.workload.owners.last() {
            Some((kind, name)) if &**kind == "ReplicaSet" => name
                .strip_suffix(&**hash)
                .and_then(|name| name.strip_suffix('-')),
            _ => None,
        };
        if let Some(name) = deployment.map(Box::from) {
            self.owned_by(("Deployment".into(), name));
        }
    }
}

/// The uid by which control groups name a pod: that of its source for one that the kubelet
/// reads from a file.
pub(super) fn uid(described: &Described) -> Option<&str> {
    let metadata = &described.metadata;
    let annotations = metadata.annotations.as_ref();
    let mirrored = annotations.and_then(|a| a.get("kubernetes.io/config.hash"));
    mirrored.or(metadata.uid.as_ref()).map(String::as_str)
}

/// Kind and name of the owner that manages an object.
pub(super) fn controller(owners: &[OwnerReference]) -> Option<(Box<str>, Box<str>)> {
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    Some((owner.kind.as_str().into(), owner.name.as_str().into()))
}

/// A pod that has ended no longer has what it still names.
fn addresses(described: &Described) -> Vec<IpAddr> {
    let of_node = described.spec.as_ref().and_then(|spec| spec.host_network);
    let Some(status) = described.status.as_ref().filter(|_| of_node != Some(true)) else {
        return Vec::new();
    };
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return Vec::new();
    }
    let all = status.pod_ips.iter().flatten();
    let all = all.map(|address| address.ip.as_str());
    all.chain(status.pod_ip.as_deref())
        .filter_map(|address| address.parse().ok())
        .collect()
}

fn containers(described: &Described) -> Vec<Container> {
    let Some(status) = &described.status else {
        return Vec::new();
    };
    let all = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let all = all.into_iter().flatten().flatten();
    all.filter_map(|status: &ContainerStatus| {
        // As `containerd://ID`.
        let (_, id) = status.container_id.as_deref()?.split_once("://")?;
        Some((status.name.as_str().into(), id.into()))
    })
    .collect()
}

fn asked_for<'a>(
    all: impl Iterator<Item = (&'a String, &'a String)>,
    wanted: &[Box<str>],
) -> Vec<(Box<str>, Box<str>)> {
    all.filter(|(name, _)| wanted.iter().any(|wanted| **wanted == ***name))
        .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use serde_json::{Value, json};

    fn pod(change: impl FnOnce(&mut Value)) -> Option<Pod> {
        let mut described = json!({
            "metadata": {
                "name": "shop-7d9f-x2x",
                "namespace": "web",
                "uid": "u1",
                "labels": {"app": "shop", "pod-template-hash": "7d9f", "other": "x"},
                "annotations": {"team": "a"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Other", "name": "no", "uid": "1"},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-7d9f",
                     "uid": "2", "controller": true},
                ],
            },
            "status": {
                "phase": "Running",
                "podIP": "10.1.2.3",
                "podIPs": [{"ip": "10.1.2.3"}, {"ip": "fd00::3"}],
                "containerStatuses": [
                    status("app", json!("containerd://aa")),
                    status("late", json!(null)),
                ],
                "initContainerStatuses": [status("init", json!("cri-o://bb"))],
            },
        });
        change(&mut described);
        let described: Described = serde_json::from_value(described).unwrap();
        let options = Options {
            node: "n1".into(),
            labels: vec!["app".into(), "absent".into()],
            annotations: vec!["team".into()],
            server: None,
        };
        Pod::of(&described, &options)
    }

    fn status(name: &str, id: Value) -> Value {
        json!({"name": name, "containerID": id, "image": "i", "imageID": "i", "ready": true,
               "restartCount": 0})
    }

    fn pairs(list: &[(Box<str>, Box<str>)]) -> String {
        let pairs: Vec<String> = list.iter().map(|(a, b)| format!("{a}={b}")).collect();
        pairs.join(" ")
    }

    #[test]
    fn a_pod_says_what_its_containers_are() {
        let pod = pod(|_| {}).unwrap();
        let all: Vec<_> = pod.containers().collect();
        let names: Vec<_> = all
            .iter()
            .map(|(id, workload)| (&**id, workload.container.as_deref().unwrap()))
            .collect();
        assert_eq!(names, [("aa", "app"), ("bb", "init")]);
        let workload = &all[0].1;
        assert_eq!(
            (&*workload.namespace, &*workload.pod),
            ("web", "shop-7d9f-x2x")
        );
        assert_eq!(workload.node.as_deref(), Some("n1"));
        assert_eq!(pairs(&workload.labels), "app=shop");
        assert_eq!(pairs(&workload.annotations), "team=a");
        assert_eq!(
            pairs(&workload.owners),
            "ReplicaSet=shop-7d9f Deployment=shop"
        );
        assert_eq!(workload.name(), "shop");
        assert_eq!(pod.uppermost(), None);
    }

    #[test]
    fn a_deployment_is_told_by_its_mark_alone() {
        let other = pod(|pod| pod["metadata"]["labels"]["pod-template-hash"] = json!("zzz"));
        let other = other.unwrap();
        assert_eq!(pairs(&other.workload.owners), "ReplicaSet=shop-7d9f");
        assert_eq!(other.uppermost(), Some(("ReplicaSet", "shop-7d9f")));
        let alone = pod(|pod| pod["metadata"]["ownerReferences"] = json!(null)).unwrap();
        assert_eq!(alone.workload.name(), "shop-7d9f-x2x");
    }

    #[test]
    fn addresses_are_its_own_while_it_runs() {
        let own = |change: fn(&mut Value)| {
            let pod = pod(change).unwrap();
            let addresses: BTreeSet<String> = pod.addresses().map(|a| a.to_string()).collect();
            Vec::from_iter(addresses).join(" ")
        };
        assert_eq!(own(|_| {}), "10.1.2.3 fd00::3");
        assert_eq!(own(|pod| pod["status"]["phase"] = json!("Succeeded")), "");
        let of_node =
            |pod: &mut Value| pod["spec"] = json!({"hostNetwork": true, "containers": []});
        assert_eq!(own(of_node), "");
    }

    #[test]
    fn pods_from_files_are_named_by_their_source() {
        let pod = pod(|pod| {
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": "h1"});
        });
        assert_eq!(&*pod.unwrap().uid, "h1");
    }

    #[test]
    fn a_pod_that_is_hardly_there() {
        assert_eq!(pod(|pod| pod["metadata"] = json!({})), None);
        let bare = pod(|pod| pod["status"] = json!({})).unwrap();
        assert_eq!(bare.containers().count(), 0);
    }
}
