//! What a real API server tells of pods is told of the calls of their containers. `llmtap`
//! asks it as in the pod of `deploy/kubernetes`, with the rights of that pod.

use std::fs;
use std::path::Path;
use std::process::Command;

use llmtap_e2e::cluster::Cluster;
use llmtap_e2e::group::Group;
use llmtap_e2e::server::wait;
use llmtap_e2e::{Scene, Tap, variable};
use serde_json::{Value, json};

/// The node that this host is.
const NODE: &str = "n1";
const USER: &str = "system:serviceaccount:llmtap:llmtap";
const PODS: &str = "/api/v1/namespaces/web/pods";

fn manifest(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes");
    fs::read_to_string(folder.join(name)).expect("it is there")
}

/// Applies what is to be applied for `llmtap`; gives the token of its pod.
fn install(cluster: &Cluster<'_>) -> String {
    cluster.create_yaml("/api/v1/namespaces", &manifest("namespace.yaml"));
    let accounts = "/api/v1/namespaces/llmtap/serviceaccounts";
    let rbac = manifest("rbac.yaml");
    let documents: Vec<&str> = rbac.split("\n---\n").collect();
    let [account, role, binding] = documents[..] else {
        panic!("an account, a role, a binding");
    };
    cluster.create_yaml(accounts, account);
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    cluster.create_yaml(&format!("{roles}/clusterroles"), role);
    cluster.create_yaml(&format!("{roles}/clusterrolebindings"), binding);
    let sets = "/apis/apps/v1/namespaces/llmtap/daemonsets";
    cluster.create_yaml(sets, &manifest("daemonset.yaml"));

    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"});
    let answer = cluster.create(&format!("{accounts}/llmtap/token"), &request);
    let token = answer["status"]["token"].as_str();
    token.expect("a token").to_owned()
}

/// `llmtap run` with the files of a pod's service account, which only it sees.
fn run(scene: &Scene, cluster: &Cluster<'_>, token: &str) -> Tap {
    let account = scene.folder().join("account");
    fs::create_dir(&account).expect("our own folder");
    fs::write(account.join("token"), token).expect("our own folder");
    fs::write(account.join("namespace"), "llmtap").expect("our own folder");
    fs::copy(scene.server.authority(), account.join("ca.crt")).expect("our own folder");
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs none /run; mkdir -p /run/secrets/kubernetes.io; \
                  cp -r \"$0\" /run/secrets/kubernetes.io/serviceaccount; exec \"$@\"";
    command
        .args(["--mount", "sh", "-ec", script])
        .arg(&account)
        .arg(variable("LLMTAP"))
        .args(["run", "--file-path", "-", "--spool-directory"])
        .arg(scene.folder().join("spool"))
        .args([
            "--kubernetes-labels",
            "app",
            "--kubernetes-annotations",
            "team",
        ])
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", cluster.port().to_string())
        .env("NODE_NAME", NODE)
        // A user's own cluster is not the one.
        .env("KUBECONFIG", account.join("none"));
    Tap::of(command)
}

/// One container in a pod, and what its calls tell of it.
struct Container<'s> {
    scene: &'s Scene,
    group: Group,
}

impl Container<'_> {
    /// The resource of a call that it makes.
    fn call(&self, tap: &Tap) -> Value {
        // It reads its reply for a second: who is gone at once can't be asked.
        let client = self.scene.curl(&["--limit-rate", "400"]);
        let (pid, _) = self.group.holding(client).run();
        let call = tap.calls(1, |call| call.pid() == pid).remove(0);
        call.0["resource"].clone()
    }

    /// The same, when it has all of `known`.
    fn known_as(&self, tap: &Tap, known: &[(&str, &str)]) -> Value {
        wait(&format!("{known:?}"), || {
            let resource = self.call(tap);
            let is_known = known.iter().all(|(name, value)| resource[*name] == **value);
            is_known.then_some(resource)
        })
    }
}

/// Makes an object of namespace `web`, as the controller of `above` would; gives it as an owner.
fn object(cluster: &Cluster<'_>, what: (&str, &str, &str), above: &[Value], spec: &Value) -> Value {
    let (group, kind, name) = what;
    let path = format!("/apis/{group}/namespaces/web/{}s", kind.to_lowercase());
    let body = json!({"metadata": {"name": name, "ownerReferences": above}, "spec": spec});
    let made = cluster.create(&path, &body);
    json!({
        "apiVersion": group, "kind": kind, "name": name, "uid": made["metadata"]["uid"],
        "controller": true,
    })
}

/// Who owns pods: by a Deployment, a StatefulSet, a CronJob.
struct Owners {
    replicas: Value,
    stateful: Value,
    job: Value,
}

fn owners(cluster: &Cluster<'_>) -> Owners {
    let template = |restart: &str| {
        let containers = json!([{"name": "app", "image": "i"}]);
        json!({
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": containers, "restartPolicy": restart},
        })
    };
    let selector = json!({"matchLabels": {"app": "shop"}});
    let set = json!({"selector": selector, "template": template("Always")});
    let job = json!({"template": template("Never")});
    let jobs = json!({"schedule": "@daily", "jobTemplate": {"spec": job}});
    let deployment = object(cluster, ("apps/v1", "Deployment", "shop"), &[], &set);
    let cron = object(cluster, ("batch/v1", "CronJob", "nightly"), &[], &jobs);
    Owners {
        replicas: object(
            cluster,
            ("apps/v1", "ReplicaSet", "shop-7d9f"),
            &[deployment],
            &set,
        ),
        stateful: object(cluster, ("apps/v1", "StatefulSet", "cart"), &[], &set),
        job: object(cluster, ("batch/v1", "Job", "nightly-1"), &[cron], &job),
    }
}

/// A pod of one container, on `node`, with the control group that its node would make.
fn pod<'s>(
    cluster: &Cluster<'s>,
    (name, node): (&str, &str),
    owner: &Value,
    labels: &Value,
) -> Container<'s> {
    let pod = json!({
        "metadata": {
            "name": name, "labels": labels, "annotations": {"team": "a", "other": "x"},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "i"}]},
    });
    let made = cluster.create(PODS, &pod);
    let uid = made["metadata"]["uid"].as_str().expect("it has one");
    Container {
        scene: cluster.scene(),
        group: Group::of(uid, &id(name)),
    }
}

/// The container of pod `name` begins to run.
fn starts(cluster: &Cluster<'_>, name: &str) {
    let status = json!({
        "name": "app", "containerID": format!("containerd://{}", id(name)), "image": "i",
        "imageID": "i", "ready": true, "restartCount": 0,
    });
    let patch = json!({"status": {"containerStatuses": [status]}});
    cluster.change(&format!("{PODS}/{name}/status"), &patch);
}

/// The id of the container of pod `name`.
fn id(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<64}")
}

#[test]
#[ignore = "a long build: cargo xtask test --receivers"]
fn pods_of_a_real_cluster() {
    let scene = Scene::new();
    let mut cluster = Cluster::start(&scene);
    let token = install(&cluster);
    cluster.create("/api/v1/namespaces", &json!({"metadata": {"name": "web"}}));
    let owners = owners(&cluster);
    let marked = json!({"app": "shop", "pod-template-hash": "7d9f"});
    let label = json!({"app": "shop"});
    let shop = pod(&cluster, ("shop-7d9f-a", NODE), &owners.replicas, &marked);
    let unmarked = pod(&cluster, ("shop-7d9f-b", NODE), &owners.replicas, &label);
    let cart = pod(&cluster, ("cart-0", NODE), &owners.stateful, &label);
    let nightly = pod(&cluster, ("nightly-1-c", NODE), &owners.job, &label);
    let elsewhere = pod(&cluster, ("cart-1", "n2"), &owners.stateful, &label);
    for name in [
        "shop-7d9f-a",
        "shop-7d9f-b",
        "cart-0",
        "nightly-1-c",
        "cart-1",
    ] {
        starts(&cluster, name);
    }

    let tap = run(&scene, &cluster, &token);
    let resource = shop.known_as(&tap, &[("k8s.container.name", "app")]);
    for (name, value) in [
        ("k8s.namespace.name", "web"),
        ("k8s.pod.name", "shop-7d9f-a"),
        ("k8s.node.name", NODE),
        ("k8s.replicaset.name", "shop-7d9f"),
        ("k8s.deployment.name", "shop"),
        ("k8s.pod.label.app", "shop"),
        ("k8s.pod.annotation.team", "a"),
        ("service.name", "shop"),
    ] {
        assert_eq!(resource[name], value, "{name}");
    }
    assert!(resource["k8s.pod.annotation.other"].is_null());
    unmarked.known_as(&tap, &[("k8s.deployment.name", "shop")]);
    cart.known_as(&tap, &[("k8s.statefulset.name", "cart")]);
    nightly.known_as(
        &tap,
        &[
            ("k8s.job.name", "nightly-1"),
            ("k8s.cronjob.name", "nightly"),
        ],
    );
    assert!(elsewhere.call(&tap)["k8s.pod.name"].is_null());

    // It is known by its pod before its container has an id, and then by that.
    let late = pod(&cluster, ("cart-2", NODE), &owners.stateful, &label);
    let resource = late.known_as(&tap, &[("k8s.pod.name", "cart-2")]);
    assert!(resource["k8s.container.name"].is_null());
    starts(&cluster, "cart-2");
    late.known_as(&tap, &[("k8s.container.name", "app")]);
    cluster.delete(&format!("{PODS}/shop-7d9f-a"));
    // Another one asked for its owners, and both are those of its like.
    let next = pod(&cluster, ("nightly-1-d", NODE), &owners.job, &label);
    starts(&cluster, "nightly-1-d");
    next.known_as(&tap, &[("k8s.cronjob.name", "nightly")]);
    assert_eq!(
        shop.call(&tap)["k8s.pod.name"],
        "shop-7d9f-a",
        "it may end later"
    );

    for (uri, status) in cluster.asked(USER, "/") {
        assert_eq!(status, 200, "{uri}");
    }

    // Nobody waits for a server that is gone; and what it says later of what nobody heard of
    // is that it has forgotten.
    cluster.stop();
    assert_eq!(cart.call(&tap)["k8s.pod.name"], "cart-0");
    let mut unheard = None;
    cluster.behind(|cluster| {
        cluster.delete(&format!("{PODS}/cart-2"));
        unheard = Some(pod(cluster, ("cart-3", NODE), &owners.stateful, &label));
        starts(cluster, "cart-3");
    });
    cluster.serve();
    let unheard = unheard.expect("invariant: made above");
    unheard.known_as(
        &tap,
        &[
            ("k8s.container.name", "app"),
            ("k8s.statefulset.name", "cart"),
        ],
    );
    assert_eq!(cart.call(&tap)["k8s.pod.name"], "cart-0");
    assert_asked_little(&cluster);
}

/// It asks for what it needs, and what it knows it does not ask again.
fn assert_asked_little(cluster: &Cluster<'_>) {
    let asked = cluster.asked(USER, "/");
    // One that begins may not know yet who is allowed to ask.
    let answered = asked.iter().filter(|(_, status)| *status == 200);
    let (pods, others): (Vec<_>, Vec<_>) =
        answered.partition(|(uri, _)| uri.starts_with("/api/v1/pods?"));
    for (uri, _) in &pods {
        assert!(uri.contains("fieldSelector=spec.nodeName%3Dn1"), "{uri}");
    }
    let lists = pods.iter().filter(|(uri, _)| !uri.contains("watch="));
    assert_eq!(
        lists.count(),
        2,
        "at first, and when the server had forgotten"
    );
    let mut others: Vec<&str> = others.iter().map(|(uri, _)| &**uri).collect();
    others.sort_unstable();
    assert_eq!(
        others,
        [
            "/apis/apps/v1/namespaces/web/replicasets/shop-7d9f",
            "/apis/batch/v1/namespaces/web/jobs/nightly-1",
        ]
    );
}
