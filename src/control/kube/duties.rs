//! What a replica does for the cluster as long as it runs; most of it only while it leads.

use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::authority::Keys;
use super::{Cluster, Settings, lease, status, trust, webhook};
use crate::control::ca::Authority;
use crate::control::catalog::Catalog;

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
    tokio::spawn(keys.keep(is_leader.clone()));
    tokio::spawn(trust::spread(client.clone(), Arc::clone(authority), is_leader.clone()));
    let registering = webhook::register(
        client.clone(),
        namespace.clone(),
        Arc::clone(authority),
        is_leader.clone(),
    );
    tokio::spawn(registering);
    let (draws, pictures) = watch::channel(Arc::default());
    let subjects = cluster.subjects.clone();
    tokio::spawn(subjects.draw(Arc::clone(catalog), draws, is_leader.clone()));
    tokio::spawn(status::write(client.clone(), pictures, is_leader.clone()));
    (stands, is_leader)
}
