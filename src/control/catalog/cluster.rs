//! What a cluster says of itself: pods, and who serves a service by its slices.
//!
//! Unlike what the store keeps, none of it is ours: it comes from whoever watches the cluster, change
//! by change, and nothing of it is written. Addresses, labels and accounts are those of the cluster's
//! own records, whatever a sidecar says.

use std::net::IpAddr;
use std::sync::Arc;

use super::Held;
use super::attachments::ServiceKey;
use crate::control::grant::Grant;
use crate::model::Protocol;
use crate::resources::{Address, Metadata, Workload, WorkloadPort};

/// `namespace/name`.
pub type ObjectName = Arc<str>;

/// One change of what a cluster says.
#[derive(Debug)]
pub enum Change {
    /// A service, route or policy, by `kind/namespace/name`; `None`: it is gone.
    Resource(Arc<str>, Option<Held>),
    Pod(ObjectName, Option<Arc<Pod>>),
    Slice(ObjectName, Option<Slice>),
    /// Where a node is.
    Zone {
        node: Arc<str>,
        zone: Option<Arc<str>>,
    },
}

/// A pod that has not finished.
#[derive(Clone, Debug)]
pub struct Pod {
    pub metadata: Metadata,
    /// Of this pod alone; another of the same name has another.
    pub uid: Arc<str>,
    /// What its certificates are issued under; made of the uid.
    pub enrollment: u64,
    /// The primary one first; none before it has one.
    pub addresses: Vec<IpAddr>,
    pub service_account: Arc<str>,
    pub node: Option<Arc<str>>,
    /// Those of its containers that speak TCP.
    pub ports: Vec<WorkloadPort>,
    /// Its sidecar takes its traffic.
    pub is_meshed: bool,
    /// How often its sidecar was started again.
    pub restarts: u32,
    /// Its addresses are its node's.
    pub is_on_host: bool,
    /// It was told to end.
    pub is_terminating: bool,
    /// The cluster's, for people.
    pub version: u64,
}

impl Pod {
    /// Whether nothing changed that the mesh is concerned with.
    pub fn says_the_same(&self, other: &Pod) -> bool {
        let Pod {
            metadata,
            uid,
            enrollment: _,
            addresses,
            service_account,
            node,
            ports,
            is_meshed,
            restarts,
            is_on_host,
            is_terminating,
            version: _,
        } = self;
        *metadata == other.metadata
            && *uid == other.uid
            && *addresses == other.addresses
            && *service_account == other.service_account
            && *node == other.node
            && *ports == other.ports
            && *restarts == other.restarts
            && (*is_meshed, *is_on_host, *is_terminating)
                == (other.is_meshed, other.is_on_host, other.is_terminating)
    }

    pub fn name(&self) -> ObjectName {
        format!("{}/{}", self.metadata.namespace, self.metadata.name).into()
    }

    /// The right that its account gives it.
    pub fn grant(&self) -> Grant {
        Grant {
            namespace: self.metadata.namespace.clone(),
            service_account: self.service_account.to_string(),
            labels: self.metadata.labels.clone(),
            address: None,
        }
    }

    /// As a workload that somebody wrote down would say it; `None` before it has an address.
    pub fn workload(&self, zone: Option<&str>) -> Option<Workload> {
        Some(Workload {
            metadata: self.metadata.clone(),
            address: Address::Ip(*self.addresses.first()?),
            service_account: self.is_meshed.then(|| self.service_account.to_string()),
            zone: zone.map(str::to_owned),
            weight: 1,
            ports: self.ports.clone(),
        })
    }
}

/// A part of those who serve a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub service: ServiceKey,
    pub ports: Vec<SlicePort>,
    pub members: Vec<Member>,
}

/// A port that all members of a slice serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// That of the service's port; empty where it has none.
    pub name: String,
    /// Where members listen.
    pub port: u16,
    /// What it declares, if it declares anything.
    pub protocol: Protocol,
}

/// An address that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub address: IpAddr,
    /// The pod behind it; its uid, where that is said.
    pub pod: Option<(ObjectName, Option<Arc<str>>)>,
    pub is_ready: bool,
    /// It still answers, also when it is about to end.
    pub is_serving: bool,
    pub is_terminating: bool,
    pub zone: Option<Arc<str>>,
    /// The zones whose callers it is meant for; empty: nothing is said.
    pub for_zones: Vec<Arc<str>>,
}
