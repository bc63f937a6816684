//! Pods, and the slices that name them: what a cluster says of who serves.
//!
//! Indexes, so that a change touches the services that name the pod, or the one that the slice is
//! of, and no others. A change that the mesh is not concerned with touches nothing: a cluster writes
//! a pod's status many times in its life. Called by the picture.

mod join;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::attachments::ServiceKey;
use super::cluster::{ObjectName, Pod, Slice};

/// All pods, slices and zones.
#[derive(Default)]
pub struct Members {
    pods: BTreeMap<ObjectName, Arc<Pod>>,
    by_ip: HashMap<IpAddr, BTreeSet<ObjectName>>,
    by_enrollment: HashMap<u64, ObjectName>,
    slices: HashMap<ObjectName, Slice>,
    by_service: HashMap<ServiceKey, BTreeSet<ObjectName>>,
    /// The services that name a pod, once for each of their slices.
    named: HashMap<ObjectName, Vec<ServiceKey>>,
    /// The services that name an address without a pod.
    bare: HashMap<IpAddr, Vec<ServiceKey>>,
    zones: HashMap<Arc<str>, Arc<str>>,
    /// Pods whose sidecars said that they are about to leave.
    withdrawn: HashSet<ObjectName>,
}

/// What a change may concern.
#[derive(Debug, Default)]
pub struct Touched {
    pub services: HashSet<ServiceKey>,
    pub ips: HashSet<IpAddr>,
}

impl Members {
    /// A pod came, changed or went; `None` when nothing changed that matters.
    pub fn pod(&mut self, name: &ObjectName, now: Option<Arc<Pod>>) -> Option<Touched> {
        let before = self.pods.get(name).cloned();
        if let (Some(before), Some(now)) = (&before, &now)
            && before.says_the_same(now)
        {
            return None;
        }
        // What an earlier start of its sidecar said is no word of this one.
        let start = |pod: &Arc<Pod>| (Arc::clone(&pod.uid), pod.restarts);
        if before.as_ref().map(start) != now.as_ref().map(start) {
            self.withdrawn.remove(name);
        }
        let mut touched = Touched::default();
        if let Some(before) = before {
            for ip in &before.addresses {
                take_out(&mut self.by_ip, &ip.to_canonical(), name);
            }
            self.by_enrollment.remove(&before.enrollment);
            self.touch(name, &before, &mut touched);
            self.pods.remove(name);
        }
        if let Some(now) = now {
            for ip in &now.addresses {
                self.by_ip.entry(ip.to_canonical()).or_default().insert(Arc::clone(name));
            }
            self.by_enrollment.insert(now.enrollment, Arc::clone(name));
            self.touch(name, &now, &mut touched);
            self.pods.insert(Arc::clone(name), now);
        }
        Some(touched)
    }

    /// A slice came, changed or went; `None` when nothing changed.
    pub fn slice(&mut self, name: &ObjectName, now: Option<Slice>) -> Option<Touched> {
        if self.slices.get(name) == now.as_ref() {
            return None;
        }
        let mut touched = Touched::default();
        if let Some(before) = self.slices.remove(name) {
            for member in &before.members {
                match &member.pod {
                    Some((pod, _)) => forget(&mut self.named, pod, &before.service),
                    None => forget(&mut self.bare, &member.address, &before.service),
                }
                touched.ips.insert(member.address.to_canonical());
            }
            take_out(&mut self.by_service, &before.service, name);
            touched.services.insert(before.service);
        }
        if let Some(now) = now {
            for member in &now.members {
                let service = now.service.clone();
                match &member.pod {
                    Some((pod, _)) => self.named.entry(Arc::clone(pod)).or_default().push(service),
                    None => self.bare.entry(member.address).or_default().push(service),
                }
                touched.ips.insert(member.address.to_canonical());
            }
            let slices = self.by_service.entry(now.service.clone()).or_default();
            slices.insert(Arc::clone(name));
            touched.services.insert(now.service.clone());
            self.slices.insert(Arc::clone(name), now);
        }
        Some(touched)
    }

    /// A node is somewhere else; `None` when it isn't.
    pub fn zone(&mut self, node: &Arc<str>, zone: Option<Arc<str>>) -> Option<Touched> {
        if self.zones.get(node) == zone.as_ref() {
            return None;
        }
        match zone {
            Some(zone) => self.zones.insert(Arc::clone(node), zone),
            None => self.zones.remove(node),
        };
        let mut touched = Touched::default();
        // Nodes don't move: this is a new one, before its pods come.
        for (name, pod) in self.pods.iter().filter(|(_, pod)| pod.node.as_ref() == Some(node)) {
            self.touch(name, pod, &mut touched);
        }
        Some(touched)
    }

    /// A pod is about to leave, or is back, as its sidecar says before the cluster does.
    pub fn withdraw(&mut self, name: &ObjectName, leaves: bool) -> Option<Touched> {
        let pod = self.pods.get(name)?;
        let mut touched = Touched::default();
        self.touch(name, pod, &mut touched);
        let changed = match leaves {
            true => self.withdrawn.insert(Arc::clone(name)),
            false => self.withdrawn.remove(name),
        };
        changed.then_some(touched)
    }

    fn touch(&self, name: &ObjectName, pod: &Pod, touched: &mut Touched) {
        touched.services.extend(self.named.get(name).into_iter().flatten().cloned());
        for ip in &pod.addresses {
            touched.ips.insert(ip.to_canonical());
            touched.services.extend(self.bare.get(ip).into_iter().flatten().cloned());
        }
    }

    /// The pods at an address.
    pub fn at(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<Pod>> {
        let names = self.by_ip.get(&ip.to_canonical()).into_iter().flatten();
        names.filter_map(|name| self.pods.get(name))
    }

    /// All pods, by namespace and name.
    pub fn pods(&self) -> &BTreeMap<ObjectName, Arc<Pod>> {
        &self.pods
    }

    pub fn pod_of(&self, enrollment: u64) -> Option<&Arc<Pod>> {
        self.pods.get(self.by_enrollment.get(&enrollment)?)
    }

    pub fn zone_of(&self, pod: &Pod) -> Option<&Arc<str>> {
        self.zones.get(pod.node.as_ref()?)
    }

    /// The addresses that a service's slices name.
    pub fn addresses(&self, service: &ServiceKey) -> impl Iterator<Item = IpAddr> {
        self.slices_of(service)
            .flat_map(|slice| slice.members.iter().map(|member| member.address.to_canonical()))
    }
}

fn take_out<K: std::hash::Hash + Eq>(
    index: &mut HashMap<K, BTreeSet<ObjectName>>,
    at: &K,
    name: &ObjectName,
) {
    if let Some(names) = index.get_mut(at) {
        names.remove(name);
        if names.is_empty() {
            index.remove(at);
        }
    }
}

/// Takes one of possibly several out.
fn forget<K: std::hash::Hash + Eq>(
    index: &mut HashMap<K, Vec<ServiceKey>>,
    at: &K,
    service: &ServiceKey,
) {
    if let Some(services) = index.get_mut(at) {
        if let Some(position) = services.iter().position(|known| known == service) {
            services.swap_remove(position);
        }
        if services.is_empty() {
            index.remove(at);
        }
    }
}
