//! Whether clocks agree: certificates begin and end by them.
//!
//! A certificate is dated five minutes back, so that is what the clocks of a mesh may differ by.
//! A node tells its clock with each renewal of its Lease, and the API server notes beside it when
//! that came in.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::cluster::{Clocks, Cluster};
use super::finding::Finding;
use super::place::{items, name, some_of, text};

const ABOUT: &str = "clocks";

/// Certificates are good from so long before they are made.
const MOST: SignedDuration = SignedDuration::from_mins(5);
/// Worth knowing of; arbitrary.
const NOTABLE: SignedDuration = SignedDuration::from_secs(30);

pub(super) async fn check(cluster: &Cluster) -> Vec<Finding> {
    let mut all: Vec<Finding> = cluster.clocks().await.map(ours).into_iter().collect();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    // Who may not look at nodes' Leases has nothing to mend about it.
    if let Ok(leases) = cluster.list(leases).await {
        all.extend(nodes(&leases));
    }
    all
}

pub(super) fn ours(Clocks { server, ours }: Clocks) -> Finding {
    let apart = ours.duration_since(server);
    let says = format!("this machine and the API server are {} s apart", apart.as_secs().abs());
    match apart.abs() {
        far if far > MOST => Finding::failed(ABOUT, says, "set the clock of the one that is wrong"),
        far if far > NOTABLE => {
            Finding::remark(ABOUT, says, "set the clock of the one that is wrong")
        }
        _ => Finding::fine(ABOUT, says),
    }
}

/// How far each node's clock is from the API server's.
pub(super) fn nodes(leases: &[Value]) -> Option<Finding> {
    let apart = |lease: &Value| -> Option<(SignedDuration, String)> {
        let renewed: Timestamp = text(&lease["spec"]["renewTime"]).parse().ok()?;
        let written = items(&lease["metadata"]["managedFields"]).iter();
        let noted: Timestamp = written.filter_map(|of| text(&of["time"]).parse().ok()).max()?;
        Some((renewed.duration_since(noted).abs(), name(lease).to_owned()))
    };
    let mut apart: Vec<_> = leases.iter().filter_map(apart).collect();
    apart.sort();
    let (most, _) = apart.last()?.clone();
    let wrong: Vec<&str> =
        apart.iter().filter(|(far, _)| *far > NOTABLE).map(|(_, name)| name.as_str()).collect();
    let cure = "keep the nodes' clocks in step (chrony, systemd-timesyncd)";
    let far = format!("{}: up to {} s from the API server's", some_of(&wrong), most.as_secs());
    Some(match most {
        _ if most > MOST => Finding::failed(ABOUT, far, cure),
        _ if most > NOTABLE => Finding::remark(ABOUT, far, cure),
        _ => Finding::fine(ABOUT, format!("{} nodes are in step", apart.len())),
    })
}
