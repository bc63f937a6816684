//! What the data plane needs to know and has not been told: asked for once, on first use.
//!
//! A worker asks and goes on waiting for the picture to change; the agent answers everybody by
//! publishing. The queue is bounded: what doesn't fit is asked for again by the next one who needs
//! it.

use std::net::SocketAddr;

use tokio::sync::{mpsc, watch};

use crate::model::ServiceName;

/// Questions on their way to the agent.
const QUEUE: usize = 1024;

/// Something that the mesh may know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    Service(ServiceName),
    /// An original destination.
    Address(SocketAddr),
}

/// Was the question taken?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An answer comes with a picture.
    Yes,
    /// Too many ask; the caller may try again.
    NotNow,
}

/// The workers' end.
#[derive(Clone, Debug)]
pub struct Demand {
    wants: mpsc::Sender<Want>,
    versions: watch::Receiver<u64>,
}

/// The agent's end.
#[derive(Debug)]
pub struct Queue {
    pub wants: tokio::sync::Mutex<mpsc::Receiver<Want>>,
}

/// Both ends; whoever publishes pictures tells `versions`.
pub fn channel(versions: watch::Receiver<u64>) -> (Demand, Queue) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let queue = Queue { wants: tokio::sync::Mutex::new(receiver) };
    (Demand { wants: sender, versions }, queue)
}

impl Demand {
    /// Asks; the answer comes with a picture (see [`Demand::pictures`]).
    pub fn ask(&self, want: Want) -> Asked {
        if self.wants.try_send(want).is_ok() { Asked::Yes } else { Asked::NotNow }
    }

    /// Told of every picture from now on.
    pub fn pictures(&self) -> watch::Receiver<u64> {
        let mut versions = self.versions.clone();
        versions.borrow_and_update();
        versions
    }
}
