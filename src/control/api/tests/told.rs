//! Both ends of discovery together: whatever happens to the mesh, and whatever is asked for in
//! between, a sidecar that took everything that it was told knows what the catalog says.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::time::Instant;

use crate::agent::session::{Known, Want};
use crate::control::api::convert::Wanted;
use crate::control::api::subscriptions::Subscriptions;
use crate::control::catalog::{AddressFact, Catalog, StoredResource, resource_name};
use crate::control::store::{Committed, Key, Shelf};
use crate::model::{ServiceName, TrustDomain};
use crate::resources::bound::BoundEndpoint;
use crate::resources::{Origin, manifest, parse_documents};
use crate::wire::v1;

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    Service {
        name: u8,
        headless: bool,
        gone: bool,
    },
    Workload {
        name: u8,
        app: u8,
        weight: u8,
        gone: bool,
    },
    AskName(u8),
    AskAddress(u8),
    /// What is not used is let go: one bit a number.
    LetGo(u8),
    /// The sidecar takes what there is.
    Hear,
    /// It refuses what there is.
    Refuse,
    /// The session breaks and another begins, perhaps with another control plane.
    Reconnect {
        same: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let few = || 0..4u8;
    prop_oneof![
        3 => (few(), any::<bool>(), any::<bool>())
            .prop_map(|(name, headless, gone)| Step::Service { name, headless, gone }),
        5 => (few(), few(), 1..3u8, any::<bool>())
            .prop_map(|(name, app, weight, gone)| Step::Workload { name, app, weight, gone }),
        3 => few().prop_map(Step::AskName),
        2 => few().prop_map(Step::AskAddress),
        1 => any::<u8>().prop_map(Step::LetGo),
        5 => Just(Step::Hear),
        1 => Just(Step::Refuse),
        2 => any::<bool>().prop_map(|same| Step::Reconnect { same }),
    ]
}

fn service(name: u8) -> ServiceName {
    ServiceName::parse(&format!("s{name}.shop:80"), "").expect("a name")
}

/// Cluster addresses of services, and addresses of workloads.
fn address(number: u8) -> SocketAddr {
    match number {
        0 | 1 => ([10, 0, 0, number + 1], 80).into(),
        other => ([10, 0, 1, other + 1], 8080).into(),
    }
}

struct Mesh {
    catalog: Arc<Catalog>,
    revision: u64,
    epoch: u32,
    subscriptions: Subscriptions,
    known: Known,
    asked: (Vec<ServiceName>, Vec<SocketAddr>),
}

impl Mesh {
    fn new() -> Self {
        let catalog = Arc::new(Catalog::new(TrustDomain::default(), 0, &[]));
        let subscriptions = Subscriptions::new(Arc::clone(&catalog), "0".into());
        let known = Known::new(Vec::new());
        Self { catalog, revision: 0, epoch: 0, subscriptions, known, asked: Default::default() }
    }

    fn put(&mut self, text: &str, gone: bool) {
        let read = parse_documents(text, &Origin::file("test"), "shop").expect("sound");
        let metadata = read[0].metadata();
        let name = resource_name(read[0].kind(), &metadata.namespace, &metadata.name);
        let manifest = manifest::of(&read[0]);
        let stored = StoredResource { manifest, created_ms: 1, enrollment: None };
        self.revision += 1;
        let key = Key { shelf: Shelf::Resources, name };
        let changes = vec![(key, (!gone).then(|| stored.encode()))];
        self.catalog.absorb(&Committed { revision: self.revision, changes });
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Service { name, headless, gone } => {
                let ip = if headless { "None".into() } else { format!("10.0.0.{}", name + 1) };
                self.put(
                    &format!(
                        "{{apiVersion: v1, kind: Service, metadata: {{name: s{name}}}, \
                         spec: {{selector: {{app: a{name}}}, clusterIP: {ip}, \
                         ports: [{{port: 80, targetPort: 8080}}]}}}}"
                    ),
                    gone,
                );
            }
            Step::Workload { name, app, weight, gone } => self.put(
                &format!(
                    "{{apiVersion: outrigger.dev/v1alpha1, kind: Workload, \
                     metadata: {{name: w{name}, labels: {{app: a{app}}}}}, \
                     spec: {{address: 10.0.1.{}, serviceAccount: a, weight: {weight}, \
                     ports: [{{port: 8080}}]}}}}",
                    name + 1
                ),
                gone,
            ),
            Step::AskName(name) => self.ask(Want::Service(service(name))),
            Step::AskAddress(number) => self.ask(Want::Address(address(number))),
            Step::LetGo(used) => self.sweep(used),
            Step::Hear => self.hear(false),
            Step::Refuse => self.hear(true),
            Step::Reconnect { same } => self.reconnect(same),
        }
    }

    fn ask(&mut self, want: Want) {
        if !self.known.ask(&want, Instant::now()) {
            return;
        }
        let mut wanted = Wanted { services: Vec::new(), addresses: Vec::new() };
        match want {
            Want::Service(name) => {
                self.asked.0.push(name.clone());
                wanted.services.push(name);
            }
            Want::Address(address) => {
                self.asked.1.push(address);
                wanted.addresses.push(address);
            }
        }
        self.subscriptions.subscribe(&wanted).expect("few");
    }

    /// All but a few were not used for a long time.
    fn sweep(&mut self, used: u8) {
        let later = Instant::now() + std::time::Duration::from_secs(3600);
        let is_used = |want: &Want| match want {
            Want::Service(name) => (0..4).any(|n| used >> n & 1 == 1 && *name == service(n)),
            Want::Address(of) => (0..4).any(|n| used >> (4 + n) & 1 == 1 && *of == address(n)),
        };
        let gone = self.known.sweep(later, &is_used);
        let gone = Wanted::try_from(gone).expect("names");
        self.subscriptions.unsubscribe(&gone);
        self.asked.0.retain(|name| !gone.services.contains(name));
        self.asked.1.retain(|address| !gone.addresses.contains(address));
    }

    fn hear(&mut self, refuse: bool) {
        while let Some(update) = self.update() {
            let version = update.version.clone();
            // One answer alone that is refused is rightly missing afterwards.
            if refuse && update.services.len() + update.addresses.len() > 1 {
                let mut bad = update;
                bad.services.push(v1::ServiceAnswer { name: None, answer: None });
                self.known.take(bad, Instant::now()).expect_err("it has a hole");
                for update in self.subscriptions.refused(&version) {
                    self.known.take(update, Instant::now()).expect("sound");
                }
                return;
            }
            self.known.take(update, Instant::now()).expect("sound");
        }
    }

    fn update(&mut self) -> Option<v1::Update> {
        let mailbox = Arc::clone(self.subscriptions.mailbox());
        loop {
            let mut news = std::pin::pin!(mailbox.news());
            let news = match news.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(news) => news,
                Poll::Pending => return None,
            };
            if let Some(update) = self.subscriptions.update(&news) {
                return Some(update);
            }
        }
    }

    fn reconnect(&mut self, same: bool) {
        self.epoch += u32::from(!same);
        let epoch = self.epoch.to_string();
        self.subscriptions = Subscriptions::new(Arc::clone(&self.catalog), epoch.into());
        let (answered, open) = self.known.subscriptions();
        let answered = Wanted::try_from(answered).expect("names");
        let first = self.subscriptions.begin(&answered, &self.known.version());
        self.known.take(first, Instant::now()).expect("sound");
        let open = Wanted::try_from(open).expect("names");
        self.subscriptions.subscribe(&open).expect("few");
    }

    /// What the sidecar knows, as the catalog would say it.
    fn check(&mut self) {
        self.hear(false);
        assert!(self.known.is_complete());
        let picture = self.known.picture();
        let (services, addresses) = &self.asked;
        let reading = self.catalog.read(services, addresses);
        let told: BTreeMap<&ServiceName, _> =
            picture.services.iter().map(|bound| (&bound.name, bound)).collect();
        for (name, bound, _) in &reading.services {
            let same = match (bound, told.get(name)) {
                (Some(bound), Some(told)) => {
                    sorted(&bound.endpoints) == sorted(&told.endpoints)
                        && bound.cluster_ips == told.cluster_ips
                        && bound.headless == told.headless
                }
                (None, None) => true,
                _ => false,
            };
            assert!(same, "{name}: {bound:?} was told as {:?}", told.get(name));
        }
        for (address, fact) in &reading.addresses {
            let instance = picture.instances.iter().find(|i| {
                i.endpoint.port == address.port() && {
                    i.endpoint.address == crate::resources::Address::Ip(address.ip())
                }
            });
            match fact {
                AddressFact::Instance(of) => assert_eq!(instance, Some(&**of), "{address}"),
                AddressFact::Service(name) => assert!(told.contains_key(name), "{address}"),
                AddressFact::Unknown => assert_eq!(instance, None, "{address}"),
            }
        }
    }
}

fn sorted(endpoints: &[BoundEndpoint]) -> Vec<String> {
    let mut all: Vec<String> = endpoints.iter().map(|each| format!("{each:?}")).collect();
    all.sort();
    all
}

proptest! {
    #[test]
    fn a_sidecar_knows_what_the_catalog_says(steps in proptest::collection::vec(step(), 1..60)) {
        let mut mesh = Mesh::new();
        for step in &steps {
            mesh.take(step);
        }
        mesh.check();
    }
}
