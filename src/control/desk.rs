//! What every call works with: the store, the picture, the CA and the rules of joining.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::Operators;
use super::admission::{Admission, Part, Shares, Ticket};
use super::api::{Lookout, Taps};
use super::ca::Authority;
use super::catalog::Catalog;
use super::custody::Custody;
use super::membership::Review;
use super::memory::Observer;
use super::metrics::Metrics;
use super::plaintext::Plaintext;
use super::registrar::Registrar;
use super::sessions::Sessions;
use super::store::Store;
use super::tokens::Signer;
use crate::model::TrustDomain;
use crate::runtime::clock;

/// One control plane's.
pub struct Desk {
    pub trust_domain: TrustDomain,
    pub store: Arc<dyn Store>,
    pub catalog: Arc<Catalog>,
    pub authority: Arc<Authority>,
    /// Takes changes of it.
    pub custody: Custody,
    pub signer: Arc<Signer>,
    pub operators: Operators,
    pub registrar: Registrar,
    /// Present where pods are who belongs to the mesh, and the cluster says everything about it.
    pub cluster: Option<Arc<dyn Review>>,
    pub admission: Mutex<Admission>,
    pub shares: Arc<Shares>,
    pub sessions: Arc<Sessions>,
    pub metrics: Metrics,
    pub plaintext: Arc<Plaintext>,
    pub observer: Arc<Observer>,
    /// Who watches requests as they end.
    pub taps: Arc<Taps>,
    /// The issuer comes from files, and is not to be replaced by anybody else.
    pub issuer_files: bool,
    /// When this process began to look at the mesh.
    pub began: Instant,
    /// Of this process: versions of another one mean nothing here.
    pub epoch: Arc<str>,
    pub heartbeat: Duration,
    /// Turns true when this process is about to end.
    pub leaving: watch::Receiver<bool>,
}

impl Desk {
    /// From where requests are watched.
    pub fn lookout(&self) -> Lookout {
        let (observer, taps) = (Arc::clone(&self.observer), Arc::clone(&self.taps));
        Lookout { observer, taps, leaving: self.leaving.clone() }
    }

    /// A place of `enrollment`'s own, or how long it should stay away. Who is refused here brought it
    /// on itself: leases end meanwhile as ever.
    ///
    /// # Errors
    /// When it begins too many.
    pub fn approach(&self, enrollment: u64) -> Result<Part, Duration> {
        self.shares.try_take(enrollment, clock::now_us())
    }

    /// A place for another session, or how long its sidecar should stay away; meanwhile nobody's
    /// lease ends, since it may be the one that waits.
    ///
    /// # Errors
    /// When too many begin at once.
    pub fn admit(&self) -> Result<Ticket, Duration> {
        let now_us = clock::now_us();
        let mut admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = admission.try_admit(now_us);
        drop(admission);
        admitted.inspect_err(|later| self.registrar.spare(later.mul_f64(1.25), now_us))
    }
}

/// Milliseconds since 1970.
pub fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
