//! What `deploy` holds: manifests that the API has a place for every word of, a
//! configuration that `llmtap` takes, a unit that systemd takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, Namespace, PodSpec, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(place(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn documents(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// As the API knows it: a field that it does not have would be missing from what it gives
/// back.
fn known<T: DeserializeOwned + Serialize>(document: &Value) -> T {
    let object: T = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(&object).unwrap(), *document);
    object
}

fn pod() -> PodSpec {
    let [document] = &documents("kubernetes/daemonset.yaml")[..] else {
        panic!("one DaemonSet");
    };
    let set: DaemonSet = known(document);
    let spec = set.spec.unwrap();
    let labels = spec.template.metadata.unwrap().labels;
    assert_eq!(spec.selector.match_labels, labels);
    spec.template.spec.unwrap()
}

fn container(pod: &PodSpec) -> &Container {
    let [container] = &pod.containers[..] else {
        panic!("one container");
    };
    container
}

#[test]
fn the_pod_sees_its_node() {
    let pod = pod();
    assert_eq!(pod.host_pid, Some(true));
    let container = container(&pod);
    let context = container.security_context.as_ref().unwrap();
    assert_eq!(context.privileged, Some(true));
    let node = container
        .env
        .iter()
        .flatten()
        .find(|v| v.name == "NODE_NAME");
    let source = node.unwrap().value_from.as_ref().unwrap();
    assert_eq!(
        source.field_ref.as_ref().unwrap().field_path,
        "spec.nodeName"
    );

    let volumes: Vec<&str> = pod.volumes.iter().flatten().map(|v| &*v.name).collect();
    let mounts = container.volume_mounts.as_deref().unwrap();
    assert!(mounts.iter().all(|mount| volumes.contains(&&*mount.name)));
    let paths: Vec<&str> = mounts.iter().map(|mount| &*mount.mount_path).collect();
    assert_eq!(
        paths,
        ["/etc/llmtap", "/var/lib/llmtap", "/sys/kernel/tracing"]
    );
}

#[test]
fn the_role_reads_pods_and_their_owners_and_nothing_else() {
    let documents = documents("kubernetes/rbac.yaml");
    let [account, role, binding] = &documents[..] else {
        panic!("an account, a role and a binding");
    };
    let account: ServiceAccount = known(account);
    let role: ClusterRole = known(role);
    let binding: ClusterRoleBinding = known(binding);
    let rules: Vec<String> = role.rules.iter().flatten().map(rule).collect();
    assert_eq!(
        rules,
        ["pods: get list watch", "replicasets: get", "jobs: get"]
    );
    assert_eq!(Some(&binding.role_ref.name), role.metadata.name.as_ref());
    let subject = &binding.subjects.unwrap()[0];
    assert_eq!(Some(&subject.name), account.metadata.name.as_ref());
    let [namespace] = &self::documents("kubernetes/namespace.yaml")[..] else {
        panic!("one namespace");
    };
    assert_eq!(
        subject.namespace,
        known::<Namespace>(namespace).metadata.name
    );
    assert_eq!(pod().service_account_name, account.metadata.name);
}

fn rule(rule: &k8s_openapi::api::rbac::v1::PolicyRule) -> String {
    let resources = rule.resources.iter().flatten().cloned().collect::<Vec<_>>();
    format!("{}: {}", resources.join(" "), rule.verbs.join(" "))
}

#[test]
fn all_manifests_are_listed() {
    let [list] = &documents("kubernetes/kustomization.yaml")[..] else {
        panic!("one list");
    };
    let named = |list: &Value| {
        let names = list.as_array().unwrap().iter();
        names
            .map(|n| n.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut listed = named(&list["resources"]);
    listed.extend(named(&list["configMapGenerator"][0]["files"]));
    listed.push("kustomization.yaml".to_owned());
    let folder = fs::read_dir(place("kubernetes")).unwrap();
    let mut there: Vec<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    listed.sort();
    there.sort();
    assert_eq!(listed, there);
}

#[test]
fn the_configuration_is_taken_and_fits_the_pod() {
    let output = Command::new(env!("CARGO_BIN_EXE_llmtap"))
        .args(["config", "--config"])
        .arg(place("kubernetes/config.yaml"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let config: Value = serde_saphyr::from_str(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let pod = pod();
    let container = container(&pod);
    let port = container.ports.as_ref().unwrap()[0].container_port;
    assert_eq!(config["prometheus"], format!("0.0.0.0:{port}"));
    let spool = config["spool"]["directory"].as_str().unwrap();
    let mut mounts = container.volume_mounts.iter().flatten();
    assert!(
        mounts.any(|mount| Path::new(spool).starts_with(&mount.mount_path)
            && mount.read_only != Some(true))
    );
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_takes_the_unit() {
    let unit = text("systemd/llmtap.service");
    // What it starts is not installed here.
    let unit = unit.replace("/usr/local/bin/llmtap", "/bin/true");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("llmtap.service");
    fs::write(&path, unit).unwrap();
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&path)
        .output()
        .expect("it is installed");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(
        verified.status.success() && !said.contains("llmtap.service"),
        "{said}"
    );
}
