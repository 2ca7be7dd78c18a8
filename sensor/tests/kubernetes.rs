//! The pods of a node, as an API server tells of them.

use std::thread;
use std::time::Duration;

use llmtap::enrich::k8s::{Options, Pods};
use llmtap::event::{Origin, Workload};
use llmtap_test_server::kubernetes::Cluster;
use serde_json::{Value, json};

fn pod(name: &str, container: Option<&str>) -> Value {
    let id = container.map(|id| format!("containerd://{id}"));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "web", "uid": format!("uid-{name}"),
            "labels": {"app": "shop"},
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": "nightly-1", "uid": "1",
                "controller": true,
            }],
        },
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"podIP": "10.1.2.3", "phase": "Running", "containerStatuses": [{
            "name": "app", "containerID": id, "image": "i", "imageID": "i", "ready": true,
            "restartCount": 0,
        }]},
    })
}

fn follow(cluster: &Cluster) -> Pods {
    let options = Options {
        node: "n1".into(),
        labels: vec!["app".into()],
        server: format!("http://{}", cluster.address()).parse().ok(),
        ..Options::default()
    };
    Pods::follow(options).unwrap()
}

fn in_container(id: &str) -> Origin {
    Origin {
        container: Some(id.into()),
        ..Origin::default()
    }
}

/// Waits until what is known of `origin` fits.
fn wait(pods: &Pods, origin: &Origin, fits: impl Fn(Option<&Workload>) -> bool) {
    for _ in 0..2_000 {
        if fits(pods.workload(origin).as_deref()) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain; known: {:?}", pods.workload(origin));
}

fn owners(workload: &Workload) -> String {
    let names: Vec<&str> = workload.owners.iter().map(|(_, name)| &**name).collect();
    names.join(" ")
}

#[test]
fn pods_are_listed_then_watched() {
    let cluster = Cluster::start().unwrap();
    cluster.put(
        "/apis/batch/v1/namespaces/web/jobs/nightly-1",
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {
                "name": "nightly-1", "namespace": "web",
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "2",
                    "controller": true,
                }],
            },
        }),
    );
    cluster.put_pod(pod("a", Some("aa")));
    let mut elsewhere = pod("b", Some("bb"));
    elsewhere["spec"]["nodeName"] = json!("n2");
    cluster.put_pod(elsewhere);

    let pods = follow(&cluster);
    wait(&pods, &in_container("aa"), |workload| {
        workload.is_some_and(|w| owners(w) == "nightly-1 nightly")
    });
    let workload = pods.workload(&in_container("aa")).unwrap();
    assert_eq!((&*workload.pod, &*workload.namespace), ("a", "web"));
    assert_eq!(workload.container.as_deref(), Some("app"));
    assert_eq!(workload.labels, [("app".into(), "shop".into())]);
    assert_eq!(workload.name(), "nightly");

    let at = |address: &str| pods.at(address.parse().unwrap());
    for address in ["10.1.2.3", "::ffff:10.1.2.3"] {
        assert_eq!(at(address).unwrap().name(), "nightly", "{address}");
    }
    assert!(at("10.1.2.4").is_none());

    // It is known by its pod before its container has an id, and then by that.
    let changes = pods.changes();
    cluster.put_pod(pod("c", None));
    let by_pod = Origin {
        pod_uid: Some("uid-c".into()),
        ..in_container("cc")
    };
    wait(&pods, &by_pod, |workload| {
        workload.is_some_and(|w| &*w.pod == "c" && w.container.is_none())
    });
    assert_ne!(pods.changes(), changes);
    cluster.put_pod(pod("c", Some("cc")));
    wait(&pods, &by_pod, |workload| {
        workload.is_some_and(|w| w.container.is_some())
    });

    // Its calls may end after it.
    cluster.delete_pod("web", "a");
    cluster.put_pod(pod("d", Some("dd")));
    wait(&pods, &in_container("dd"), |workload| workload.is_some());
    assert!(pods.workload(&in_container("aa")).is_some());

    assert!(pods.workload(&in_container("bb")).is_none());
    let requests = cluster.requests();
    let of_pods = requests
        .iter()
        .filter(|uri| uri.starts_with("/api/v1/pods"));
    assert!(of_pods.clone().count() >= 2);
    for uri in of_pods {
        assert!(uri.contains("spec.nodeName%3Dn1"), "{uri}");
    }
    let of_jobs = requests.iter().filter(|uri| uri.contains("/jobs/"));
    assert_eq!(of_jobs.count(), 1, "what is known is not asked again");
}

#[test]
fn a_server_that_is_down_is_asked_again() {
    let cluster = Cluster::start().unwrap();
    cluster.refuse(true);
    let pods = follow(&cluster);
    cluster.put_pod(pod("a", Some("aa")));
    // Whoever asks is answered all the same.
    assert!(pods.workload(&in_container("aa")).is_none());
    wait(&pods, &in_container("aa"), |_| {
        !cluster.requests().is_empty()
    });
    assert!(pods.workload(&in_container("aa")).is_none());

    cluster.refuse(false);
    wait(&pods, &in_container("aa"), |workload| workload.is_some());
    cluster.refuse(true);
    cluster.put_pod(pod("b", Some("bb")));
    cluster.refuse(false);
    wait(&pods, &in_container("bb"), |workload| workload.is_some());
    assert!(pods.workload(&in_container("aa")).is_some());
}

#[test]
fn nobody_waits_for_a_server_that_is_not_there() {
    let options = Options {
        server: "http://127.0.0.1:9".parse().ok(),
        ..Options::default()
    };
    let pods = Pods::follow(options).unwrap();
    assert!(pods.workload(&in_container("aa")).is_none());
    drop(pods);
}
