//! What a replica does for the cluster as long as it runs; most of it only while it leads.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::authority::Keys;
use super::webhook::{Registration, register};
use super::{Cluster, Settings, lease, status, trust};
use crate::control::ca::Authority;
use crate::control::catalog::Catalog;
use crate::runtime::supervise::vital;

/// Begins with all of it. The handle ends when the Lease was given back, after `leaving` said so; the
/// other tells whether this replica leads.
pub fn begin(
    client: &Client,
    settings: &Settings,
    cluster: &Cluster,
    catalog: &Arc<Catalog>,
    authority: &Arc<Authority>,
    keys: Keys,
    leaving: watch::Receiver<bool>,
) -> (JoinHandle<()>, watch::Receiver<bool>) {
    let Settings { namespace, replica, .. } = settings;
    let (is_leader, stands) = lease::stand(client.clone(), namespace, replica, leaving);
    let spreading = trust::spread(client.clone(), Arc::clone(authority), is_leader.clone());
    // Each follows a stream, or writes on what it has seen: another process begins from what there is.
    tokio::spawn(vital("the keeper of the keys", keys.keep(is_leader.clone())));
    tokio::spawn(vital("whoever spreads the roots", spreading));
    keep::<MutatingWebhookConfiguration>(client, namespace, authority, &is_leader);
    keep::<ValidatingWebhookConfiguration>(client, namespace, authority, &is_leader);
    let (draws, pictures) = watch::channel(Arc::default());
    let subjects = cluster.subjects.clone();
    let drawing = subjects.draw(Arc::clone(catalog), draws, is_leader.clone());
    let writing = status::write(client.clone(), pictures, is_leader.clone());
    tokio::spawn(vital("whoever judges resources", drawing));
    tokio::spawn(vital("whoever writes status", writing));
    (stands, is_leader)
}

/// Has a registration trust our root.
fn keep<R: Registration>(
    client: &Client,
    namespace: &str,
    authority: &Arc<Authority>,
    is_leader: &watch::Receiver<bool>,
) {
    let (client, namespace) = (client.clone(), namespace.to_owned());
    let registering = register::<R>(client, namespace, Arc::clone(authority), is_leader.clone());
    tokio::spawn(vital("a webhook's registration", registering));
}
