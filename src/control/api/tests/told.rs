//! Both ends of discovery together: whatever happens to the mesh, and whatever is asked for in
//! between, a sidecar that took everything that it was told knows what the catalog says. What either
//! end says may be on its way while more happens.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::agent::session::{Known, Remembered, Taken, Want};
use crate::control::api::convert::{Wanted, names};
use crate::control::api::subscriptions::Subscriptions;
use crate::control::catalog::{AddressFact, Catalog, Served, StoredResource, resource_name};
use crate::control::store::{Committed, Key, Shelf};
use crate::model::{Coverage, ServiceName, TrustDomain};
use crate::resources::bound::{Bound, BoundEndpoint};
use crate::resources::{Address, Origin, manifest, parse_documents};
use crate::wire::v1;

mod returning;
mod steps;
use steps::{Step, address, service, step};

/// Where the sidecar's workload is.
const NAMESPACE: &str = "front";

/// What the sidecar says.
enum Said {
    Wants(v1::Subscription),
    LetsGo(v1::Subscription),
    Took(String),
    Refused(String),
}

struct Mesh {
    catalog: Arc<Catalog>,
    revision: u64,
    epoch: u32,
    subscriptions: Subscriptions,
    known: Known,
    asked: (Vec<ServiceName>, Vec<SocketAddr>),
    /// On their way to the control plane, and from it.
    up: VecDeque<Said>,
    down: VecDeque<v1::Update>,
    now: Instant,
    /// In this session.
    has_refused: bool,
}

impl Mesh {
    fn new() -> Self {
        let catalog = Arc::new(Catalog::new(TrustDomain::default(), 0, &[]));
        let subscriptions = Subscriptions::new(Arc::clone(&catalog), "0".into(), NAMESPACE);
        Self {
            catalog,
            revision: 0,
            epoch: 0,
            subscriptions,
            known: Known::new(Vec::new()),
            asked: Default::default(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            now: Instant::now(),
            has_refused: false,
        }
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
            Step::AskName(name) => self.ask(Want::Service(service(name))),
            Step::AskAddress(number) => self.ask(Want::Address(address(number))),
            Step::LetGo(used) => self.sweep(used),
            Step::Listen => self.listen(),
            Step::Tell => self.tell(),
            Step::Hear => self.hear(false),
            Step::Refuse => self.hear(true),
            Step::Reconnect { same } => self.reconnect(same),
            ref change => {
                let (text, gone) = change.resource();
                self.put(&text, gone);
            }
        }
    }

    fn ask(&mut self, want: Want) {
        if !self.known.ask(&want, self.now) {
            return;
        }
        let mut wanted = v1::Subscription::default();
        match want {
            Want::Service(name) => wanted.services.push((&name).into()),
            Want::Address(address) => wanted.addresses.push(address.to_string()),
        }
        self.subscribe(wanted);
    }

    fn subscribe(&mut self, wanted: v1::Subscription) {
        let Wanted { services, addresses } = Wanted::try_from(wanted.clone()).expect("names");
        let fresh = services.into_iter().filter(|name| !self.asked.0.contains(name));
        let fresh: Vec<ServiceName> = fresh.collect();
        self.asked.0.extend(fresh);
        let fresh = addresses.into_iter().filter(|address| !self.asked.1.contains(address));
        let fresh: Vec<SocketAddr> = fresh.collect();
        self.asked.1.extend(fresh);
        self.up.push_back(Said::Wants(wanted));
    }

    /// All but a few were not used for a long time.
    fn sweep(&mut self, used: u8) {
        self.now += Duration::from_secs(3600);
        let is_used = |want: &Want| match want {
            Want::Service(name) => (0..4).any(|n| used >> n & 1 == 1 && *name == service(n)),
            Want::Address(of) => (0..4).any(|n| used >> (4 + n) & 1 == 1 && *of == address(n)),
        };
        let gone = self.known.sweep(self.now, &is_used);
        let unwanted = Wanted::try_from(gone.clone()).expect("names");
        self.asked.0.retain(|name| !unwanted.services.contains(name));
        self.asked.1.retain(|address| !unwanted.addresses.contains(address));
        self.up.push_back(Said::LetsGo(gone));
    }

    /// The control plane hears what is on its way to it.
    fn listen(&mut self) {
        while let Some(said) = self.up.pop_front() {
            let wanted = |said| Wanted::try_from(said).expect("names");
            match said {
                Said::Wants(more) => self.subscriptions.subscribe(&wanted(more)).expect("few"),
                Said::LetsGo(less) => self.subscriptions.unsubscribe(&wanted(less)),
                Said::Took(version) => self.subscriptions.taken(&version),
                Said::Refused(version) => self.down.extend(self.subscriptions.refused(&version)),
            }
        }
    }

    /// The control plane tells what there is.
    fn tell(&mut self) {
        let mailbox = Arc::clone(self.subscriptions.mailbox());
        loop {
            let mut news = std::pin::pin!(mailbox.news());
            let polled = news.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(news) = polled else { return };
            self.down.extend(self.subscriptions.update(&news));
        }
    }

    /// The sidecar hears what is on its way to it, and takes it, but for the first if it refuses.
    fn hear(&mut self, mut refuses: bool) {
        while let Some(mut update) = self.down.pop_front() {
            let version = update.version.clone();
            // One answer alone that is refused is rightly missing afterwards.
            if refuses && update.services.len() + update.addresses.len() > 1 {
                (refuses, self.has_refused) = (false, true);
                update.services.push(v1::ServiceAnswer { name: None, answer: None });
                self.known.take(update).expect_err("it has a hole");
                self.up.push_back(Said::Refused(version));
                continue;
            }
            let before = self.covered();
            let Ok(Taken { unwanted, faults }) = self.known.take(update) else {
                // A change of what was refused.
                assert!(self.has_refused);
                self.up.push_back(Said::Refused(version));
                continue;
            };
            assert_eq!(faults, [""; 0]);
            self.goes_on(before);
            self.up.push_back(Said::Took(version));
            if unwanted != v1::Subscription::default() {
                self.up.push_back(Said::LetsGo(unwanted));
            }
            let again = self.known.ask_again(self.now);
            if again != v1::Subscription::default() {
                self.subscribe(again);
            }
        }
    }

    fn covered(&self) -> HashSet<ServiceName> {
        match self.known.picture().coverage {
            Coverage::Answered { services, .. } => services,
            Coverage::Whole => panic!("it never asked for all"),
        }
    }

    /// What was in use stays so, and what is in use is known with what it leads to.
    fn goes_on(&self, before: HashSet<ServiceName>) {
        let after = self.covered();
        let mut kept = before.iter().filter(|name| self.asked.0.contains(name));
        assert!(kept.all(|name| after.contains(name)), "{before:?} became {after:?}");
    }

    fn reconnect(&mut self, same: bool) {
        self.has_refused = false;
        self.up.clear();
        self.down.clear();
        self.epoch += u32::from(!same);
        let epoch = self.epoch.to_string();
        self.subscriptions = Subscriptions::new(Arc::clone(&self.catalog), epoch.into(), NAMESPACE);
        let Remembered { answered, open, implied } = self.known.remembered();
        let answered = Wanted::try_from(answered).expect("names");
        let implied = names(implied).expect("names");
        let first = self.subscriptions.begin(&answered, implied, &self.known.begin());
        let first = first.expect("few");
        self.down.push_back(first);
        self.up.push_back(Said::Wants(open));
    }

    /// Until nobody has anything to say.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.listen();
            self.tell();
            self.hear(false);
            if self.up.is_empty() {
                return;
            }
        }
        panic!("they never come to an end");
    }

    /// What the sidecar knows, as the catalog would say it.
    fn check(&mut self) {
        self.settle();
        assert!(self.known.is_complete());
        let picture = self.known.picture();
        let (services, addresses) = &self.asked;
        let reading = self.catalog.read(services, addresses, NAMESPACE);
        let told: BTreeMap<&ServiceName, &Arc<Bound>> =
            picture.services.iter().map(|bound| (&bound.name, bound)).collect();
        for (name, served, _) in &reading.services {
            let bound = served.as_ref().map(|served| &served.bound);
            same(name, bound, told.get(name).copied());
            self.leads(served.as_deref(), &told);
        }
        for (address, fact) in &reading.addresses {
            let is_at = |endpoint: &BoundEndpoint| {
                endpoint.port == address.port() && endpoint.address == Address::Ip(address.ip())
            };
            let instance = picture.instances.iter().find(|instance| is_at(&instance.endpoint));
            match fact {
                AddressFact::Instance(of) => assert_eq!(instance, Some(&**of), "{address}"),
                AddressFact::Service(name) => {
                    let reading = self.catalog.read(std::slice::from_ref(name), &[], NAMESPACE);
                    self.leads(reading.services[0].1.as_deref(), &told);
                    assert!(told.contains_key(name), "{address}");
                }
                AddressFact::Unknown => assert_eq!(instance, None, "{address}"),
            }
        }
        self.check_bounds();
    }

    /// Whatever it leads to is known too, as far as there is such a thing.
    fn leads(&self, served: Option<&Served>, told: &BTreeMap<&ServiceName, &Arc<Bound>>) {
        let references = served.map(|served| &served.references[..]).unwrap_or_default();
        for (name, served, _) in self.catalog.read(references, &[], NAMESPACE).services {
            let endpoints = |bound: &Bound| sorted(&bound.endpoints);
            let now = served.map(|served| endpoints(&served.bound));
            assert_eq!(now, told.get(&name).map(|bound| endpoints(bound)), "{name}");
        }
    }

    /// Neither end remembers more than what is used and where that leads to.
    fn check_bounds(&mut self) {
        self.sweep(0xff);
        self.settle();
        assert!(self.known.is_complete());
        let Remembered { answered, open, implied } = self.known.remembered();
        let of = |all: &v1::Subscription| all.services.len() + all.addresses.len();
        assert_eq!(self.subscriptions.len(), of(&answered) + of(&open) + implied.len());
        self.sweep(0);
        self.settle();
        assert_eq!(self.known.remembered(), Remembered::default());
        assert_eq!(self.subscriptions.len(), 0);
    }
}

fn same(name: &ServiceName, bound: Option<&Bound>, told: Option<&Arc<Bound>>) {
    let facts = |bound: &Bound| {
        let Bound { cluster_ips, headless, session_affinity, endpoints, attachments, .. } = bound;
        (
            cluster_ips.clone(),
            *headless,
            *session_affinity,
            sorted(endpoints),
            manifests(attachments),
        )
    };
    assert_eq!(bound.map(facts), told.map(|told| facts(told)), "{name}");
    let told = told.into_iter().flat_map(|told| &told.attachments);
    let mut namespaces = told.map(|each| each.metadata().namespace.as_str());
    assert!(namespaces.all(|namespace| namespace != "other"), "{name} with others' routes");
}

fn manifests(attachments: &[Arc<crate::resources::Resource>]) -> Vec<String> {
    attachments.iter().map(|each| manifest::of(each).to_string()).collect()
}

fn sorted(endpoints: &[BoundEndpoint]) -> Vec<String> {
    let mut all: Vec<String> = endpoints.iter().map(|each| format!("{each:?}")).collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_sidecar_knows_what_the_catalog_says(steps in proptest::collection::vec(step(), 1..80)) {
        let mut mesh = Mesh::new();
        for step in &steps {
            mesh.take(step);
        }
        mesh.check();
    }
}
