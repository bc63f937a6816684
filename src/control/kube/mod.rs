//! The cluster as the source of everything that sidecars are told.
//!
//! `watch` follows each kind of object, `convert` takes what the mesh uses out of it, `gather` puts
//! what comes together into the catalog at once. Who a pod is, is asked of the API server (`review`).
//! Nothing is served before all of it was seen once; after that, what is known stays while the
//! cluster can't be asked, and shows its age (`health`).
//!
//! What it writes there: `authority` (the keys, in one Secret that all replicas share), `state` (what
//! machines outside the cluster registered, in another), `lease` (who of the replicas does what only
//! one may do), and what that one does: `status`, `trust`, `webhook`. Every write says what it was
//! made from, so that nobody overwrites what they have not seen. Called by the process's wiring.

pub mod asking;
pub mod authority;
mod convert;
pub mod duties;
mod gather;
mod health;
pub mod lease;
mod namespaces;
mod review;
mod secret;
pub mod state;
pub mod status;
mod subjects;
mod tellers;
pub mod trust;
mod watch;
pub mod webhook;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::sync::mpsc;

pub use convert::{Judged, judge};
pub use health::{Health, Watch};
pub use namespaces::NamespaceLabels;
pub use review::Reviewer;
pub use subjects::Subjects;

pub use super::membership::{Bearer, Review, ReviewError};

use super::catalog::Catalog;
use super::inject::Traces;
use crate::runtime::supervise::vital;
use tellers::{Namespaces, Pods, Services, Slices, Written, Zones};
use watch::{Follower, Teller, Watchable};

/// Which cluster, and where in it the control plane is at home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Absent: the pod's own service account, else what `kubectl` would use.
    pub kubeconfig: Option<PathBuf>,
    /// The control plane's own.
    pub namespace: String,
    /// What tells this replica from the others: its pod's name.
    pub replica: String,
    /// Where copies of the roots and of the operators' token are put, for people beside it.
    pub copies: Option<PathBuf>,
    /// Absent: no pods are injected, and no resources judged before they are stored.
    pub webhook: Option<Webhook>,
}

/// Where the API server asks, and with what pods are injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub listen: SocketAddr,
    pub proxy_image: String,
    pub traces: Traces,
}

/// Why there is no way to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--kubeconfig: {} can't be used", .0.display())]
    Kubeconfig(PathBuf, #[source] KubeconfigError),
    #[error(
        "no cluster is known: this is no pod with a service account, and there is no kubeconfig; \
         name one with --kubeconfig"
    )]
    Nowhere(#[source] InferConfigError),
    #[error("the cluster's API can't be spoken to")]
    Client(#[source] kube::Error),
}

/// For a connection; a request that changes nothing is made again by whoever made it.
const CONNECT: Duration = Duration::from_secs(5);

/// A client of the cluster's API; nothing is asked yet.
///
/// # Errors
/// When there is nothing to make it from.
pub async fn connect(settings: &Settings) -> Result<Client, Error> {
    let mut config = match &settings.kubeconfig {
        Some(path) => {
            let unusable = |error| Error::Kubeconfig(path.clone(), error);
            let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)?
        }
        None => match Config::incluster() {
            Ok(config) => config,
            Err(_) => Config::infer().await.map_err(Error::Nowhere)?,
        },
    };
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).map_err(Error::Client)
}

/// Kinds that people write; the cluster may lack some of them.
const WRITTEN: &[(&str, &str, &str, &str)] = &[
    ("gateway.networking.k8s.io", "gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
    ("gateway.networking.k8s.io", "gateway.networking.k8s.io/v1", "GRPCRoute", "grpcroutes"),
    ("outrigger.dev", "outrigger.dev/v1alpha1", "TrafficPolicy", "trafficpolicies"),
    ("outrigger.dev", "outrigger.dev/v1alpha1", "AccessPolicy", "accesspolicies"),
    ("outrigger.dev", "outrigger.dev/v1alpha1", "RateLimitPolicy", "ratelimitpolicies"),
    ("outrigger.dev", "outrigger.dev/v1alpha1", "Workload", "workloads"),
];

/// Whether it is one of them.
pub fn is_written(api_version: &str, kind: &str) -> bool {
    WRITTEN.iter().any(|(_, version, name, _)| (*version, *name) == (api_version, kind))
}

/// A cluster that is watched.
pub struct Cluster {
    pub health: Health,
    pub subjects: Subjects,
    pub namespaces: NamespaceLabels,
    complete: tokio::sync::watch::Receiver<bool>,
}

impl Cluster {
    /// Begins to watch, and tells `catalog` from now on. `state` is what others watch, to be shown
    /// beside it.
    pub fn follow(client: &Client, catalog: &Arc<Catalog>, state: Option<Arc<Watch>>) -> Self {
        let (told, heard) = mpsc::channel(gather::QUEUE);
        let (subjects, namespaces) = (Subjects::default(), NamespaceLabels::default());
        let mut begun = Vec::from_iter(state);
        let mut begin = |watch: Arc<Watch>| {
            begun.push(Arc::clone(&watch));
            (watch, told.clone())
        };
        spawn(Api::<Service>::all(client.clone()), begin(Watch::new("services")), Services);
        spawn(
            Api::<EndpointSlice>::all(client.clone()),
            begin(Watch::new("endpointslices")),
            Slices,
        );
        spawn(Api::<Pod>::all(client.clone()), begin(Watch::new("pods")), Pods);
        let nodes = Api::<PartialObjectMeta<Node>>::all(client.clone());
        spawn(nodes, begin(Watch::new("nodes")), Zones);
        let all = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
        spawn(all, begin(Watch::new("namespaces")), Namespaces(namespaces.clone()));
        for &(group, api_version, kind, plural) in WRITTEN {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            let gvk = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
            let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
            let (subjects, in_force) = (subjects.clone(), HashMap::new());
            let teller = Written { api_version, kind, subjects, in_force };
            spawn(api, begin(Watch::new(plural)), teller);
        }
        let health = Health::new(&begun);
        let (complete, is_complete) = tokio::sync::watch::channel(false);
        let gathering = gather::gather(heard, Arc::clone(catalog), health.clone(), complete);
        tokio::spawn(vital("whoever gathers what the cluster says", gathering));
        Self { health, subjects, namespaces, complete: is_complete }
    }

    /// Waits until everything was seen once, and is in the catalog.
    pub async fn complete(&self) {
        let mut complete = self.complete.clone();
        // Who tells it goes on as long as the process does.
        let _ = complete.wait_for(|complete| *complete).await;
    }
}

fn spawn<K: Watchable, T: Teller<K> + 'static>(
    api: Api<K>,
    (watch, told): (Arc<Watch>, mpsc::Sender<watch::Told>),
    teller: T,
) {
    // What it has told stands in nobody's list but its own: another process lists anew.
    tokio::spawn(vital("a watch of the cluster", Follower::new(api, watch, teller, told).run()));
}
