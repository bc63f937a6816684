//! The certificate of the webhook's port, and how the API server comes to trust it.
//!
//! Each replica makes its own certificate from the shared authority and replaces it at half of its
//! life, and when what signs is another. The root is written into both registrations, the injector's
//! and the validator's, by the leader: into the webhooks that are ours, and there into `caBundle`
//! alone, again whenever somebody applies the manifest anew.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use super::asking::{MANAGER, asked};
use crate::control::ca::{self, Authority};
use crate::http::respond::chain;
use crate::model::CONTROL_PLANE_ACCOUNT;
use crate::runtime::supervise::vital;

/// The registration of the injector.
pub const INJECTOR: &str = "outrigger-injector";

/// That of the validator.
pub const VALIDATOR: &str = "outrigger-validator";

/// Our webhooks are known by their Service, or by the end of their name.
const SUFFIX: &str = ".outrigger.dev";

/// Between two looks: whether the certificate is due, whether the authority has other roots.
const LOOK: Duration = Duration::from_secs(30);

/// Whoever else keeps changing it gets this much time: no two programs may fight at full speed.
const PAUSE: Duration = Duration::from_secs(1);

/// The names under which the API server reaches us.
pub fn names(namespace: &str) -> Vec<String> {
    let short = format!("{CONTROL_PLANE_ACCOUNT}.{namespace}.svc");
    vec![short.clone(), format!("{short}.cluster.local")]
}

/// A TLS configuration under these names, replaced by a task at half of its certificate's life.
///
/// # Errors
/// When the first certificate can't be made.
pub fn serving(
    authority: Arc<Authority>,
    names: Vec<String>,
) -> Result<Arc<ArcSwap<rustls::ServerConfig>>, ca::Error> {
    let mut news = authority.news();
    let first = authority.serving(&names, SystemTime::now())?;
    let shared = Arc::new(ArcSwap::from(first.config()));
    let swap = Arc::downgrade(&shared);
    tokio::spawn(vital("the webhook's certificate", async move {
        let mut due = half(first.not_before, first.not_after);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_news = tokio::select! {
                _ = looks.tick() => false,
                Ok(()) = news.changed() => true,
            };
            // Nobody serves any more.
            let Some(swap) = swap.upgrade() else { return };
            if SystemTime::now() < due && !is_news {
                continue;
            }
            match authority.serving(&names, SystemTime::now()) {
                Ok(next) => {
                    swap.store(next.config());
                    due = half(next.not_before, next.not_after);
                }
                Err(error) => error!("no new certificate for the webhook: {}", chain(&error)),
            }
        }
    }));
    Ok(shared)
}

/// By the wall clock: a machine that slept must not miss it.
fn half(not_before: SystemTime, not_after: SystemTime) -> SystemTime {
    not_before + not_after.duration_since(not_before).unwrap_or_default() / 2
}

/// A registration of webhooks, of either sort.
pub trait Registration:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
    /// What ours is called.
    const NAME: &'static str;

    /// By name, and how each is reached.
    fn webhooks(&self) -> impl Iterator<Item = (&str, &WebhookClientConfig)>;
}

impl Registration for MutatingWebhookConfiguration {
    const NAME: &'static str = INJECTOR;

    fn webhooks(&self) -> impl Iterator<Item = (&str, &WebhookClientConfig)> {
        let all = self.webhooks.iter().flatten();
        all.map(|webhook| (webhook.name.as_str(), &webhook.client_config))
    }
}

impl Registration for ValidatingWebhookConfiguration {
    const NAME: &'static str = VALIDATOR;

    fn webhooks(&self) -> impl Iterator<Item = (&str, &WebhookClientConfig)> {
        let all = self.webhooks.iter().flatten();
        all.map(|webhook| (webhook.name.as_str(), &webhook.client_config))
    }
}

/// Keeps our root in a registration, while this replica leads; never ends. Without a registration it
/// waits for one.
pub async fn register<R: Registration>(
    client: Client,
    namespace: String,
    authority: Arc<Authority>,
    mut is_leader: watch::Receiver<bool>,
) {
    let (api, name) = (Api::<R>::all(client), R::NAME);
    let mut events = pin!(watcher::watch_object(api.clone(), name).default_backoff());
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut news = authority.news();
    let mut seen: Option<R> = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(now)) => seen = now,
                Some(Err(_)) => continue,
                None => return,
            },
            changed = is_leader.changed() => if changed.is_err() { return },
            _ = looks.tick() => {}
            Ok(()) = news.changed() => {}
        }
        if !*is_leader.borrow_and_update() {
            continue;
        }
        let bundle = authority.roots().to_pem();
        let Some(patch) = seen.as_ref().and_then(|seen| correction(seen, &namespace, &bundle))
        else {
            continue;
        };
        let by = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match asked(api.patch(name, &by, &Patch::Strategic(patch))).await {
            Ok(now) => {
                info!("{name} trusts our root");
                seen = Some(now);
            }
            // The watch tells what it is now.
            Err(error) if error.is_conflict() => {}
            Err(error) => warn!("{name} can't be changed: {}", chain(&error)),
        }
        sleep(PAUSE).await;
    }
}

/// What to change; `None` when all is right.
fn correction(seen: &impl Registration, namespace: &str, bundle: &str) -> Option<Value> {
    let is_wrong = |(name, config): &(&str, &WebhookClientConfig)| {
        let holds = config.ca_bundle.as_ref();
        is_ours(name, config, namespace) && holds.is_none_or(|of| of.0 != bundle.as_bytes())
    };
    // A strategic merge goes by name and leaves every other field and webhook as it is.
    let change = |(name, _): (&str, &WebhookClientConfig)| {
        let bundle = ByteString(bundle.as_bytes().to_vec());
        json!({"name": name, "clientConfig": {"caBundle": bundle}})
    };
    let changes: Vec<Value> = seen.webhooks().filter(is_wrong).map(change).collect();
    let about = seen.meta();
    let metadata = json!({"resourceVersion": about.resource_version, "uid": about.uid});
    (!changes.is_empty()).then(|| json!({"metadata": metadata, "webhooks": changes}))
}

fn is_ours(name: &str, config: &WebhookClientConfig, namespace: &str) -> bool {
    let by_service = config.service.as_ref().is_some_and(|service| {
        service.name == CONTROL_PLANE_ACCOUNT && service.namespace == namespace
    });
    by_service || name.ends_with(SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bundle_of_our_webhooks_is_changed() {
        let service = |name: &str| json!({"service": {"name": name, "namespace": "mesh"}});
        let webhook = |name: &str, config: Value| {
            json!({
                "name": name, "clientConfig": config, "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            })
        };
        let bundle = ByteString(b"root".to_vec());
        let mut right = service("outrigger-control-plane");
        right["caBundle"] = json!(bundle);
        let seen = json!({
            "metadata": {"name": INJECTOR, "resourceVersion": "7", "uid": "u"},
            "webhooks": [
                webhook("a.example.com", service("outrigger-control-plane")),
                webhook("b.example.com", service("other")),
                webhook("c.example.com", right),
                webhook("pods.outrigger.dev", json!({"url": "https://localhost"})),
            ],
        });
        let seen: MutatingWebhookConfiguration =
            serde_json::from_value(seen).expect("a registration");
        let patch = correction(&seen, "mesh", "root").expect("something to change");
        let change = |name: &str| json!({"name": name, "clientConfig": {"caBundle": bundle}});
        assert_eq!(
            patch["webhooks"],
            json!([change("a.example.com"), change("pods.outrigger.dev")])
        );
        assert_eq!(patch["metadata"], json!({"resourceVersion": "7", "uid": "u"}));
        let of_validator = ValidatingWebhookConfiguration {
            metadata: seen.metadata.clone(),
            webhooks: serde_json::from_value(json!(seen.webhooks)).expect("of the same form"),
        };
        assert_eq!(correction(&of_validator, "mesh", "root"), Some(patch));
        let mut seen = seen;
        seen.webhooks.iter_mut().flatten().for_each(|webhook| {
            webhook.client_config.ca_bundle = Some(bundle.clone());
        });
        assert_eq!(correction(&seen, "mesh", "root"), None);
    }
}
