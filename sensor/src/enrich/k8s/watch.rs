//! Follows the API server: lists and watches the pods of one node, and asks for the
//! owners of their owners.

use std::collections::HashMap;
use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod as Described;
use k8s_openapi::{Metadata, NamespaceResourceScope};
use kube::core::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config};

use super::pod::{self, Pod};
use super::{Options, Shared};

/// How long until the server is looked for again, where nothing says where it is.
const PAUSE: Duration = Duration::from_secs(10);

/// How long an answer about one object may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Owners whose owners are remembered.
const MAX_OWNERS: usize = 1 << 12;

/// Kind, namespace and name of an owner.
type OwnerKey = (Box<str>, Box<str>, Box<str>);

/// Kind and name of who owns it, if anybody does.
type Owner = Option<(Box<str>, Box<str>)>;

struct Follower<'a> {
    client: Client,
    options: &'a Options,
    shared: &'a Shared,
    owners: HashMap<OwnerKey, Owner>,
    /// Pods of a list that is not complete.
    listed: Vec<Pod>,
    /// Nobody needs to hear again that the server does not answer.
    is_told: bool,
}

/// Never ends by itself.
pub(super) async fn follow(options: &Options, shared: &Shared) {
    let mut is_told = false;
    let client = loop {
        match client(options.server.as_ref()).await {
            Ok(client) => break client,
            Err(error) => tell(&mut is_told, &*error),
        }
        tokio::time::sleep(PAUSE).await;
    };
    let follower = Follower {
        client,
        options,
        shared,
        owners: HashMap::new(),
        listed: Vec::new(),
        is_told,
    };
    follower.run().await;
}

async fn client(server: Option<&http::Uri>) -> Result<Client, Box<dyn Error>> {
    let plain = server.filter(|server| server.scheme_str() == Some("http"));
    let mut config = match plain {
        Some(server) => Config::new(server.clone()),
        None => Config::infer().await?,
    };
    if let Some(server) = server {
        config.cluster_url = server.clone();
    }
    // The watcher asks again by itself; what is tried again below it fails unseen.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

fn tell(is_told: &mut bool, error: &dyn Error) {
    if !std::mem::replace(is_told, true) {
        eprintln!("llmtap: pods: the API server does not tell of them: {error}");
    }
}

impl Follower<'_> {
    async fn run(mut self) {
        let node = &self.options.node;
        let own = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let pods: Api<Described> = Api::all(self.client.clone());
        let mut events = pin!(watcher(pods, own).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event).await,
                Err(error) => tell(&mut self.is_told, &error),
            }
        }
    }

    async fn take(&mut self, event: Event<Described>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(described) => {
                self.listed.extend(Pod::of(&described, self.options));
            }
            Event::InitDone => {
                self.is_told = false;
                let pods = std::mem::take(&mut self.listed);
                // What is known serves at once; whose pods they are follows.
                self.shared.replace(pods.clone());
                for pod in pods {
                    self.find_owners(pod).await;
                }
            }
            Event::Apply(described) => {
                if let Some(pod) = Pod::of(&described, self.options) {
                    self.shared.apply(pod.clone());
                    self.find_owners(pod).await;
                }
            }
            Event::Delete(described) => {
                if let Some(uid) = pod::uid(&described) {
                    self.shared.remove(uid);
                }
            }
        }
    }

    async fn find_owners(&mut self, mut pod: Pod) {
        let Some((kind, name)) = pod.uppermost() else {
            return;
        };
        let namespace = pod.workload.namespace.clone();
        let key = (Box::from(kind), namespace, Box::from(name));
        let owner = match self.owners.get(&key) {
            Some(owner) => owner.clone(),
            None => self.ask(key).await,
        };
        if let Some(owner) = owner {
            pod.owned_by(owner);
            self.shared.apply(pod);
        }
    }

    async fn ask(&mut self, key: OwnerKey) -> Owner {
        let (kind, namespace, name) = &key;
        let metadata = async {
            match &**kind {
                "Job" => self.metadata::<Job>(namespace, name).await,
                _ => self.metadata::<ReplicaSet>(namespace, name).await,
            }
        };
        // Where we may not ask, the pod keeps the owner that it names.
        let metadata = tokio::time::timeout(PATIENCE, metadata).await.ok()??;
        let owner = pod::controller(metadata.owner_references.as_deref().unwrap_or_default());
        if self.owners.len() >= MAX_OWNERS {
            self.owners.clear();
        }
        self.owners.insert(key, owner.clone());
        owner
    }

    async fn metadata<K>(&self, namespace: &str, name: &str) -> Option<ObjectMeta>
    where
        K: k8s_openapi::Resource<Scope = NamespaceResourceScope>
            + Metadata<Ty = ObjectMeta>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let object = api.get_metadata_opt(name).await.ok()??;
        Some(object.metadata)
    }
}
