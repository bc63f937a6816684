//! The certificate that the control plane itself shows, to sidecars, people and pages.
//!
//! It is never kept: each process makes its own, with a new key. What was accepted goes on under the
//! one before.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::time::sleep;
use tracing::error;

use super::ca::{self, Authority};
use crate::runtime::supervise::kept;
use crate::tls::{ControlServer, Offer};

/// Between two looks at it, at the latest.
const HOURLY: Duration = Duration::from_secs(3600);
/// Between two certificates of the control plane's own, and two tries at one.
const SOONEST: Duration = Duration::from_secs(30);

/// The control plane's own certificate, on both ports, replaced when half of its life is over, and when
/// the roots or what signs are others.
///
/// # Errors
/// When the first can't be made.
pub fn certified(
    authority: &Arc<Authority>,
) -> Result<[Arc<ArcSwap<ControlServer>>; 2], ca::Error> {
    let make = |authority: &Authority| {
        let svid = authority.own(SystemTime::now())?;
        let roots = authority.roots();
        let pages = ControlServer::new(&svid, &roots, Offer::Http1);
        let half = svid.not_after().duration_since(SystemTime::now()).unwrap_or_default() / 2;
        Ok::<_, ca::Error>((ControlServer::new(&svid, &roots, Offer::H2), pages, half))
    };
    let mut news = authority.news();
    let (grpc, pages, half) = make(authority)?;
    let both = [grpc, pages].map(|server| Arc::new(ArcSwap::from_pointee(server)));
    let (authority, [tls, pages_tls]) = (Arc::clone(authority), both.clone());
    let mut wait = half;
    tokio::spawn(kept("the control plane's own certificate", async move || {
        loop {
            tokio::select! {
                () = sleep(wait.clamp(SOONEST, HOURLY)) => {}
                _ = news.changed() => {}
            }
            match make(&authority) {
                Ok((grpc, pages, half)) => {
                    tls.store(Arc::new(grpc));
                    pages_tls.store(Arc::new(pages));
                    wait = half;
                }
                Err(error) => {
                    error!("no new certificate for the control plane itself: {error}");
                    wait = SOONEST;
                }
            }
        }
    }));
    Ok(both)
}
