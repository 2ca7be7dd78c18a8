//! What end-to-end tests are made of: a model server, a running sensor, real clients.
//!
//! `cargo xtask test` sets the scene by environment variables:
//!
//! | variable | is |
//! |---|---|
//! | `LLMTAP` | the sensor's binary |
//! | `E2E_PYTHON` | a Python that has `python/clients.txt` |
//! | `E2E_COLLECTORS` | a Python that has `python/collectors.txt` |
//! | `E2E_NODE` | a folder whose `node_modules` has `node/package.json` |
//! | `E2E_RUST` | the program of `rust` |
//! | `E2E_PYTHON_STACKS` | a Python that has `python/stacks.txt` |
//! | `E2E_PYTHON_DOTNET` | a Python that has `python/dotnet.txt` |
//! | `E2E_GO` | a folder with the programs of `go/`, built |
//! | `E2E_BUN` | a folder with versions of Bun, `bun-1.3.14` and so on |
//! | `E2E_AGENTS` | a folder with agents built by Bun |
//! | `E2E_ENVOY` | the program of Envoy |
//! | `E2E_RUSTLS_AGENTS` | a folder whose `node_modules` has `agents/package.json` |
//! | `E2E_PACKAGES` | packages of Debian's, unpacked |
//! | `E2E_ETCD` | the same of etcd |
//! | `E2E_KUBE_APISERVER` | the API server of Kubernetes |
//! | `E2E_DEBIAN` | the files of a Debian |
//!
//! Tests of large packages are ignored but by `cargo xtask test --agents`.

mod bodies;
mod call;
mod client;
pub mod cluster;
pub mod container;
pub mod group;
mod scene;
pub mod server;
mod tap;
pub mod traces;

pub use bodies::hashes_of_bodies;
pub use call::Call;
pub use client::{Client, Reply, Running};
pub use scene::{CANARY, Scene, chat, module, script, variable};
pub use tap::Tap;

use std::time::Duration;

/// How long anything may take; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);
