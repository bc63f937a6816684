//! Who depends on what, and what each has still to hear.
//!
//! A reader's mailbox holds names, not states: marking one twice costs nothing, and a reader that is
//! slow finds one mark for many changes. So memory is bounded by what readers subscribed to.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::attachments::ServiceKey;
use super::governed::Subjects;
use super::picture::Changed;
use crate::model::ServiceName;

/// What a reader has still to look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    pub services: HashSet<ServiceName>,
    pub addresses: HashSet<SocketAddr>,
    /// The list of what is revoked is another.
    pub revocations: bool,
    /// The workload's own access policies may be others.
    pub inbound: bool,
}

impl News {
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.addresses.is_empty() && !self.revocations && !self.inbound
    }
}

/// One reader's.
#[derive(Debug)]
pub struct Mailbox {
    id: u64,
    news: Mutex<News>,
    bell: Notify,
}

impl Mailbox {
    /// What it is known by among all readers of this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for news and takes them. Cancelling loses nothing.
    pub async fn news(&self) -> News {
        loop {
            let bell = self.bell.notified();
            let news = std::mem::take(&mut *self.lock());
            if !news.is_empty() {
                return news;
            }
            bell.await;
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Marks things for this reader alone.
    pub fn mark(&self, services: &[ServiceName], addresses: &[SocketAddr]) {
        let mut news = self.lock();
        news.services.extend(services.iter().cloned());
        news.addresses.extend(addresses);
        drop(news);
        self.bell.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All readers.
#[derive(Default)]
pub struct Audience {
    next: u64,
    readers: HashMap<u64, Reader>,
    by_service: HashMap<ServiceName, HashSet<u64>>,
    by_ip: HashMap<IpAddr, HashSet<u64>>,
    /// By namespace, then name.
    by_workload: HashMap<String, HashMap<String, HashSet<u64>>>,
}

struct Reader {
    mailbox: Arc<Mailbox>,
    services: HashSet<ServiceName>,
    addresses: HashSet<SocketAddr>,
    /// Whose sidecar it is, by namespace and name.
    workload: Option<ServiceKey>,
}

impl Audience {
    pub fn len(&self) -> usize {
        self.readers.len()
    }

    pub fn enter(&mut self) -> Arc<Mailbox> {
        self.next += 1;
        let mailbox =
            Arc::new(Mailbox { id: self.next, news: Mutex::default(), bell: Notify::new() });
        let reader = Reader {
            mailbox: Arc::clone(&mailbox),
            services: HashSet::new(),
            addresses: HashSet::new(),
            workload: None,
        };
        self.readers.insert(mailbox.id, reader);
        mailbox
    }

    pub fn leave(&mut self, mailbox: &Mailbox) {
        if let Some(reader) = self.readers.remove(&mailbox.id) {
            reader.services.iter().for_each(|name| forget(&mut self.by_service, name, mailbox.id));
            let ips = reader.addresses.iter().map(|address| address.ip().to_canonical());
            ips.for_each(|ip| forget(&mut self.by_ip, &ip, mailbox.id));
            if let Some((namespace, name)) = reader.workload
                && let Some(all) = self.by_workload.get_mut(&namespace)
            {
                forget(all, &name, mailbox.id);
                if all.is_empty() {
                    self.by_workload.remove(&namespace);
                }
            }
        }
    }

    /// A reader is marked when other access policies may hold for a workload.
    pub fn stand_for(&mut self, mailbox: &Mailbox, namespace: &str, name: &str) {
        let Some(reader) = self.readers.get_mut(&mailbox.id) else { return };
        reader.workload = Some((namespace.to_owned(), name.to_owned()));
        let all = self.by_workload.entry(namespace.to_owned()).or_default();
        all.entry(name.to_owned()).or_default().insert(mailbox.id);
    }

    pub fn subscribe(
        &mut self,
        mailbox: &Mailbox,
        services: &[ServiceName],
        addresses: &[SocketAddr],
    ) {
        let Some(reader) = self.readers.get_mut(&mailbox.id) else { return };
        for name in services {
            if reader.services.insert(name.clone()) {
                self.by_service.entry(name.clone()).or_default().insert(mailbox.id);
            }
        }
        for &address in addresses {
            reader.addresses.insert(address);
            self.by_ip.entry(address.ip().to_canonical()).or_default().insert(mailbox.id);
        }
    }

    pub fn unsubscribe(
        &mut self,
        mailbox: &Mailbox,
        services: &[ServiceName],
        addresses: &[SocketAddr],
    ) {
        let Some(reader) = self.readers.get_mut(&mailbox.id) else { return };
        for name in services {
            if reader.services.remove(name) {
                forget(&mut self.by_service, name, mailbox.id);
            }
        }
        for address in addresses {
            if !reader.addresses.remove(address) {
                continue;
            }
            let ip = address.ip().to_canonical();
            if !reader.addresses.iter().any(|left| left.ip().to_canonical() == ip) {
                forget(&mut self.by_ip, &ip, mailbox.id);
            }
        }
    }

    /// Marks the revocations for everybody.
    pub fn alarm(&self) {
        for reader in self.readers.values() {
            reader.mailbox.lock().revocations = true;
            reader.mailbox.bell.notify_one();
        }
    }

    /// Marks what changed for everybody who depends on it.
    pub fn tell(&self, changed: &Changed) {
        for name in &changed.services {
            for id in self.by_service.get(name).into_iter().flatten() {
                if let Some(reader) = self.readers.get(id) {
                    reader.mailbox.mark(std::slice::from_ref(name), &[]);
                }
            }
        }
        for ip in &changed.ips {
            for id in self.by_ip.get(ip).into_iter().flatten() {
                let Some(reader) = self.readers.get(id) else { continue };
                let at_ip = |address: &&SocketAddr| address.ip().to_canonical() == *ip;
                let marked: Vec<SocketAddr> =
                    reader.addresses.iter().filter(at_ip).copied().collect();
                reader.mailbox.mark(&[], &marked);
            }
        }
        self.tell_subjects(&changed.subjects);
    }

    fn tell_subjects(&self, Subjects { mesh, namespaces, workloads }: &Subjects) {
        let of_mesh = self.by_workload.values().filter(|_| *mesh).flat_map(HashMap::values);
        let of_namespaces = namespaces.iter().filter_map(|of| self.by_workload.get(of));
        let of_namespaces = of_namespaces.flat_map(HashMap::values);
        let named = |(namespace, name): &ServiceKey| self.by_workload.get(namespace)?.get(name);
        let all = of_mesh.chain(of_namespaces).chain(workloads.iter().filter_map(named));
        for reader in all.flatten().filter_map(|id| self.readers.get(id)) {
            reader.mailbox.lock().inbound = true;
            reader.mailbox.bell.notify_one();
        }
    }
}

fn forget<K: std::hash::Hash + Eq>(map: &mut HashMap<K, HashSet<u64>>, key: &K, id: u64) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
