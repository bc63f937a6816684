//! What an address or name means, and waiting until somebody has said so.
//!
//! Unanswered is not unknown: whoever comes first asks and is held until the answer is there, for as
//! long as connecting may take. What was answered, also "there is none", is in the snapshot.

use std::net::SocketAddr;

use tokio::time::timeout;

use super::connection::Destination;
use super::worker::Outbound;
use crate::agent::session::{Asked, Want};
use crate::http::respond::Failure;
use crate::model::{Reason, Timeouts};

/// What an address means.
pub enum Place {
    Known(Destination),
    Unanswered(Want),
    /// The mesh does not know it.
    Unknown,
}

/// What an original destination means under the newest snapshot.
pub fn place(worker: &Outbound, address: SocketAddr) -> Place {
    let snapshot = worker.snapshot();
    if let Some(service) = snapshot.mesh.by_cluster_ip(address) {
        return Place::Known(Destination::Service(service.name.clone()));
    }
    if snapshot.instances.contains_key(&address) {
        return Place::Known(Destination::Instance(address));
    }
    if snapshot.mesh.knows_address(address) {
        return Place::Unknown;
    }
    Place::Unanswered(Want::Address(address))
}

/// What has to be asked before a destination that was not found can be called unknown.
pub fn unanswered(worker: &Outbound, destination: &Destination) -> Option<Want> {
    let mesh = &worker.snapshot().mesh;
    match destination {
        Destination::Service(name) => {
            (!mesh.knows_service(name)).then(|| Want::Service(name.clone()))
        }
        Destination::Instance(address) => {
            (!mesh.knows_address(*address)).then_some(Want::Address(*address))
        }
        Destination::ByHost => None,
    }
}

/// Asks, and waits for the answer.
///
/// # Errors
/// [`Reason::NotReady`] when it does not come in the time that connecting may take.
pub async fn answered(worker: &Outbound, want: &Want) -> Result<(), Failure> {
    let patience = Timeouts::default().connect;
    let waiting = timeout(patience, until_answered(worker, want)).await;
    waiting.map_err(|_| {
        let what = match want {
            Want::Service(name) => name.to_string(),
            Want::Address(address) => address.to_string(),
        };
        let sentence = format!("the control plane has not said within {patience:?} what {what} is");
        Failure::new(Reason::NotReady, sentence)
    })
}

async fn until_answered(worker: &Outbound, want: &Want) {
    let Some(demand) = &worker.shared.demand else { return };
    let mut pictures = demand.pictures();
    let mut asked = Asked::NotNow;
    loop {
        let mesh = &worker.snapshot().mesh;
        let is_known = match want {
            Want::Service(name) => mesh.knows_service(name),
            Want::Address(address) => mesh.knows_address(*address),
        };
        if is_known {
            return;
        }
        if asked == Asked::NotNow {
            asked = demand.ask(want.clone());
        }
        if pictures.changed().await.is_err() {
            return;
        }
    }
}
