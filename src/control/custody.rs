//! Where changes of the authority are ordered, and made one after the other: in its folder, or in the
//! Secret that all replicas share.
//!
//! Invariant: an order that was answered with success is kept, and in use in this process. Callers:
//! `api`, for people; `rotating`, which takes the steps of a replacement; `issuer_files`.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use super::ca::{self, Authority, Change};

/// Orders that wait. Arbitrary: people give them by hand.
const WAITING: usize = 16;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Authority(#[from] ca::Error),
    /// It can't be written, or nobody knows whether it was.
    #[error("{0}")]
    Unkept(String),
}

/// A change, and who waits for it.
pub struct Order {
    pub change: Change,
    pub reply: oneshot::Sender<Result<(), Refused>>,
}

/// Takes orders. Clones share it.
#[derive(Clone)]
pub struct Custody(mpsc::Sender<Order>);

/// Both ends.
pub fn channel() -> (Custody, mpsc::Receiver<Order>) {
    let (orders, taken) = mpsc::channel(WAITING);
    (Custody(orders), taken)
}

/// Changes an authority that is kept in a folder. To be called on a runtime.
pub fn in_folder(authority: Arc<Authority>) -> Custody {
    let (custody, mut orders) = channel();
    tokio::spawn(async move {
        while let Some(Order { change, reply }) = orders.recv().await {
            let authority = Arc::clone(&authority);
            let made = move || authority.change(change, SystemTime::now());
            let made = tokio::task::spawn_blocking(made).await;
            let broke = |_| Refused::Unkept("it broke: the log says how".to_owned());
            let made = made.map_err(broke).and_then(|made| made.map_err(Refused::from));
            // Who does not wait any more needs no answer.
            let _ = reply.send(made);
        }
    });
    custody
}

impl Custody {
    /// Makes a change.
    ///
    /// # Errors
    /// Why it was not made; what was in use stays so.
    pub async fn make(&self, change: Change) -> Result<(), Refused> {
        let gone = || Refused::Unkept("the control plane is about to end".to_owned());
        let (reply, answer) = oneshot::channel();
        self.0.send(Order { change, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
