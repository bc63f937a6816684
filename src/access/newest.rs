//! The policy in use: behind one pointer, for all workers, with a bell for those who hold a permit
//! for long.
//!
//! A request is judged by the newest when it comes; an opaque connection again whenever there is a
//! newer one.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::tokens::{Source, Tokens};
use super::{Held, Policy};
use crate::model::{Reason, TrustDomain};
use crate::resources::AccessPolicy;
use crate::telemetry::traffic::TrafficMetrics;

/// What holds for one workload's callers now.
pub struct Access {
    trust_domain: TrustDomain,
    metrics: TrafficMetrics,
    newest: ArcSwap<Policy>,
    tokens: Tokens,
    bell: watch::Sender<()>,
}

impl Access {
    /// Until policies are known, nobody comes in.
    pub fn new(trust_domain: TrustDomain, metrics: TrafficMetrics) -> Self {
        let newest = ArcSwap::from_pointee(Policy::untold(trust_domain.clone(), &metrics));
        let bell = watch::Sender::new(());
        Self { trust_domain, metrics, newest, tokens: Tokens::new(bell.clone()), bell }
    }

    /// These hold from now on, and no others; all are about the workload.
    pub fn publish(&self, policies: &[Arc<AccessPolicy>]) {
        let (domain, metrics) = (self.trust_domain.clone(), &self.metrics);
        let policy = Policy::with(policies, domain, metrics, &self.tokens);
        self.tokens.settle(&policy.issuers());
        self.newest.store(Arc::new(policy));
        self.bell.send_replace(());
    }

    /// Keys that are to be fetched, and issuers to be asked.
    pub fn sources(&self) -> watch::Receiver<Vec<Source>> {
        self.tokens.sources()
    }

    /// The newest policy; not to be kept across an await.
    pub fn newest(&self) -> Guard<Arc<Policy>> {
        self.newest.load()
    }

    /// Waits until somebody who came in may no longer, and says why.
    pub async fn withdrawn(&self, held: &Held) -> Reason {
        let mut bell = self.bell.subscribe();
        loop {
            // After the bell was taken, so that no change falls in between.
            let refusal = self.newest().refusal(held);
            if let Some(reason) = refusal {
                return reason;
            }
            // The other end is ours, so it is there.
            let _ = bell.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::HeldWhat;
    use crate::model::SpiffeId;
    use crate::resources::{Origin, Resource, parse_documents};
    use crate::telemetry::metrics::Registry;

    fn policy(mtls: &str) -> Arc<AccessPolicy> {
        let text = format!(
            "{{apiVersion: outrigger.dev/v1alpha1, kind: AccessPolicy, metadata: {{name: all}}, \
             spec: {{mtls: {mtls}}}}}"
        );
        let read = parse_documents(&text, &Origin::file("test"), "shop").expect("sound");
        match &read[..] {
            [Resource::AccessPolicy(policy)] => Arc::clone(policy),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_is_withdrawn_is_noticed_and_others_go_on() {
        let metrics = TrafficMetrics::register(&Registry::default());
        let access = Arc::new(Access::new(TrustDomain::default(), metrics));
        let anybody = Held {
            port: 80,
            source: [10, 0, 0, 1].into(),
            id: SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").ok(),
            what: HeldWhat::Stream { is_declared: true },
        };
        assert_eq!(access.newest().refusal(&anybody), Some(Reason::NotReady));
        access.publish(&[policy("permissive")]);
        let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an id");
        let short = Duration::from_secs(1);
        let held = |id| Held {
            port: 80,
            source: [10, 0, 0, 1].into(),
            id,
            what: HeldWhat::Stream { is_declared: true },
        };
        let (plain, proven) = (held(None), held(Some(id)));
        let mut plain = std::pin::pin!(access.withdrawn(&plain));
        let mut proven = std::pin::pin!(access.withdrawn(&proven));
        assert!(tokio::time::timeout(short, &mut plain).await.is_err());
        access.publish(&[policy("permissive"), policy("permissive")]);
        assert!(tokio::time::timeout(short, &mut plain).await.is_err());
        access.publish(&[policy("strict")]);
        assert_eq!(tokio::time::timeout(short, plain).await, Ok(Reason::MtlsRequired));
        assert!(tokio::time::timeout(short, &mut proven).await.is_err());
    }
}
