//! What Kubernetes knows of the containers of this node.
//!
//! In: news of the API server about the node's own pods. Out: the [`Workload`] of a
//! container. Whoever asks is answered at once with what is known: a thread of its own
//! follows the server, and a server that is down or slow is only asked again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::future::select;
use tokio::sync::Notify;

use crate::event::{Origin, Workload};

mod pod;
mod watch;

use pod::Pod;

/// Containers that are gone and still remembered, for calls that end after them.
const MAX_GONE: usize = 1 << 10;

/// Pods of one node at most; the usual limit is 110.
const MAX_PODS: usize = 1 << 13;

/// What to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Name of the node that this host is.
    pub node: Box<str>,
    /// Labels and annotations of pods that are reported.
    pub labels: Vec<Box<str>>,
    pub annotations: Vec<Box<str>>,
    /// Where the API server is; `None`: where the pod's service account or a kubeconfig
    /// says. Without TLS it gets no credentials.
    pub server: Option<http::Uri>,
}

/// The pods of this node.
#[derive(Debug)]
pub struct Pods {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    store: Mutex<Store>,
    changes: AtomicU64,
    stop: Notify,
}

/// By pod and by container.
#[derive(Debug, Default)]
struct Store {
    pods: HashMap<Box<str>, Pod>,
    containers: HashMap<Box<str>, Arc<Workload>>,
    /// Uids of pods.
    addresses: HashMap<IpAddr, Box<str>>,
    gone: VecDeque<Box<str>>,
}

impl Pods {
    /// Begins to follow the API server, in a thread of its own.
    pub fn follow(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new()
            .name("llmtap-pods".to_owned())
            .spawn(move || {
                let following = pin!(watch::follow(&options, &of_thread));
                let stopped = pin!(of_thread.stop.notified());
                runtime.block_on(select(following, stopped));
                // Names are looked up in threads that may hang.
                runtime.shutdown_timeout(Duration::from_millis(100));
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// What the process of `origin` runs as, by its container, or else by its pod.
    pub fn workload(&self, origin: &Origin) -> Option<Arc<Workload>> {
        let store = self.shared.store();
        let by_container = || store.containers.get(origin.container.as_deref()?).cloned();
        let by_pod = || Some(store.pods.get(origin.pod_uid.as_deref()?)?.workload());
        by_container().or_else(by_pod)
    }

    /// What runs at an address, where that is one of this node's pods.
    pub fn at(&self, address: IpAddr) -> Option<Arc<Workload>> {
        let store = self.shared.store();
        let uid = store.addresses.get(&address.to_canonical())?;
        Some(store.pods.get(uid)?.workload())
    }

    /// A number that is another whenever more is known.
    pub fn changes(&self) -> u64 {
        self.shared.changes.load(Ordering::Acquire)
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, pod: Pod) {
        self.store().apply(pod);
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn remove(&self, uid: &str) {
        self.store().remove(uid);
    }

    /// Of all pods only these are left.
    fn replace(&self, pods: Vec<Pod>) {
        let mut store = self.store();
        let gone: Vec<Box<str>> = store
            .pods
            .keys()
            .filter(|uid| pods.iter().all(|pod| pod.uid != **uid))
            .cloned()
            .collect();
        for uid in gone {
            store.remove(&uid);
        }
        for pod in pods {
            store.apply(pod);
        }
        drop(store);
        self.changes.fetch_add(1, Ordering::Release);
    }
}

impl Store {
    fn apply(&mut self, pod: Pod) {
        if self.pods.len() >= MAX_PODS && !self.pods.contains_key(&pod.uid) {
            return;
        }
        let ids: Vec<Box<str>> = pod.containers().map(|(id, _)| id).collect();
        self.containers.extend(pod.containers());
        self.forget_addresses(&pod.uid);
        let addresses = pod.addresses().map(|a| (a, pod.uid.clone()));
        self.addresses.extend(addresses);
        // A container that was started anew has another id.
        let before = self.pods.insert(pod.uid.clone(), pod);
        for (id, _) in before.iter().flat_map(Pod::containers) {
            if !ids.contains(&id) {
                self.retire(id);
            }
        }
    }

    fn remove(&mut self, uid: &str) {
        self.forget_addresses(uid);
        if let Some(pod) = self.pods.remove(uid) {
            for (id, _) in pod.containers() {
                self.retire(id);
            }
        }
    }

    /// Another pod may have got one of them meanwhile.
    fn forget_addresses(&mut self, uid: &str) {
        let before = self.pods.get(uid).map(|pod| pod.addresses().collect());
        for address in before.into_iter().flat_map(Vec::into_iter) {
            if self.addresses.get(&address).is_some_and(|of| **of == *uid) {
                self.addresses.remove(&address);
            }
        }
    }

    fn retire(&mut self, container: Box<str>) {
        self.gone.push_back(container);
        if self.gone.len() > MAX_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.containers.remove(&oldest);
        }
    }
}
