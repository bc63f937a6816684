//! Who leads: one of several, and another one soon after it left or was cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response};
use k8s_openapi::api::coordination::v1::Lease;
use kube::client::Body;
use kube::{Api, Client};
use outrigger::control::kube::lease::{LEASE, stand};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::BoxError;

use super::cluster::{Cluster, cluster, eventually};

fn leads(is_leader: &watch::Receiver<bool>) -> bool {
    *is_leader.borrow()
}

async fn holder(cluster: &Cluster) -> Option<String> {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let lease = api.get_opt(LEASE).await.expect("asked")?;
    lease.spec.and_then(|spec| spec.holder_identity)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_hands_over_at_once() {
    let Some(cluster) = cluster().await else { return };
    let stand = |name: &str| {
        let (leave, leaving) = watch::channel(false);
        let (leads, task) = stand(cluster.client.clone(), &cluster.namespace, name, leaving);
        (leave, leads, task)
    };
    let mut all: Vec<_> = ["a", "b", "c"].into_iter().map(stand).collect();
    for left in (1..=3).rev() {
        eventually("one leads", || async { all.iter().any(|(_, one, _)| leads(one)) }).await;
        let leaders = all.iter().filter(|(_, one, _)| leads(one)).count();
        assert_eq!((leaders, all.len()), (1, left));
        let at = all.iter().position(|(_, one, _)| leads(one)).expect("one leads");
        let (leave, is_leader, task) = all.swap_remove(at);
        let started = Instant::now();
        leave.send_replace(true);
        task.await.expect("it ends");
        assert!(!leads(&is_leader));
        if left > 1 {
            eventually("another leads", || async { all.iter().any(|(_, one, _)| leads(one)) })
                .await;
            assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
        }
    }
    assert_eq!(holder(&cluster).await.as_deref(), Some(""));
}

/// A client whose way to the API server can be cut.
fn cut(client: Client, is_cut: Arc<AtomicBool>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, is_cut) = (client.clone(), Arc::clone(&is_cut));
        async move {
            if is_cut.load(Ordering::Relaxed) {
                return Err("cut off".into());
            }
            Ok::<Response<Body>, BoxError>(client.send(request).await?)
        }
    });
    Client::new(service, namespace)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_stops_before_another_begins() {
    let Some(cluster) = cluster().await else { return };
    let is_cut = Arc::new(AtomicBool::new(false));
    let (_stay, staying) = watch::channel(false);
    let way = cut(cluster.client.clone(), Arc::clone(&is_cut));
    let (first, _task) = stand(way, &cluster.namespace, "first", staying.clone());
    eventually("the first leads", || async { leads(&first) }).await;
    let (mut second, _task) = stand(cluster.client.clone(), &cluster.namespace, "second", staying);
    // It has seen the other's renewal: from then on it waits.
    eventually("it is renewed once more", || async {
        holder(&cluster).await.as_deref() == Some("first")
    })
    .await;
    is_cut.store(true, Ordering::Relaxed);
    second.wait_for(|leads| *leads).await.expect("it leads in the end");
    assert!(!leads(&first), "it stopped before");
    is_cut.store(false, Ordering::Relaxed);
    assert_eq!(holder(&cluster).await.as_deref(), Some("second"));
    assert!(!leads(&first), "and does not take it back");
}
