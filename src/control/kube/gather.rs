//! What comes within a moment becomes one change of the catalog.
//!
//! A rollout of a thousand pods is thousands of events on the same services: bound once a moment,
//! they cost what a few do, and sidecars are told each moment's outcome and not every step to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::health::{Health, Watch};
use super::watch::Told;
use crate::control::catalog::Catalog;

/// Changes on their way; a watch waits when there are more.
pub const QUEUE: usize = 4096;
/// How long the first change of a moment waits for others: far below what a person, or a probe,
/// would notice. Arbitrary.
const MOMENT: Duration = Duration::from_millis(25);
/// So many are enough for one change: the catalog is locked while it takes them.
const ENOUGH: usize = 10_000;

/// Until no watch is left. `complete` turns true when every kind was seen whole.
pub async fn gather(
    mut heard: mpsc::Receiver<Told>,
    catalog: Arc<Catalog>,
    health: Health,
    complete: watch::Sender<bool>,
) {
    let mut told = Vec::new();
    while heard.recv_many(&mut told, ENOUGH).await > 0 {
        let until = Instant::now() + MOMENT;
        while told.len() < ENOUGH {
            let room = ENOUGH - told.len();
            match timeout_at(until, heard.recv_many(&mut told, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        let mut changes = Vec::with_capacity(told.len());
        let mut seen: Vec<Arc<Watch>> = Vec::new();
        for each in told.drain(..) {
            match each {
                Told::Change(change) => changes.push(change),
                Told::Complete(watch) => seen.push(watch),
            }
        }
        if !changes.is_empty() {
            catalog.take(changes);
        }
        seen.iter().for_each(|watch| watch.completed());
        if !*complete.borrow() && health.missing().is_empty() {
            info!("everything in the cluster was seen once");
            complete.send_replace(true);
        }
    }
}
