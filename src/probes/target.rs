//! One target and what becomes of asking it: once at a time, whoever asks, and a word in the log
//! when the answer changes.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use http::HeaderValue;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use super::dial::dial;
use super::{Ask, Target, grpc, http as over_http};

/// A sentence, and whether it is a good one.
pub(super) type Verdict = Result<String, String>;

/// On whose behalf the app is asked.
pub(super) struct Asker {
    /// The address at which the probe came in.
    pub own: IpAddr,
    /// Its user agent.
    pub agent: HeaderValue,
    /// Where an app can't be: the sidecar listens there.
    pub own_ports: Rc<[u16]>,
}

/// A target, and an answer that is on its way.
pub(super) struct Asked {
    pub target: Target,
    /// `/probe/container/probe`
    pub path: String,
    under_way: RefCell<Option<watch::Receiver<Option<Verdict>>>>,
    was_well: Cell<Option<bool>>,
}

impl Asked {
    pub fn new(target: Target) -> Rc<Asked> {
        let path = format!("/probe/{}/{}", target.container, target.probe.as_str());
        Rc::new(Asked { target, path, under_way: RefCell::default(), was_well: Cell::new(None) })
    }

    /// Asks the app, or waits for the answer that somebody else waits for already.
    pub async fn verdict(self: &Rc<Self>, asker: Asker) -> Verdict {
        let mut told = self.begin(asker);
        let told = told.wait_for(Option::is_some).await;
        let verdict = told.ok().and_then(|verdict| verdict.clone());
        verdict.unwrap_or_else(|| Err("the sidecar failed; its log says more".into()))
    }

    fn begin(self: &Rc<Self>, asker: Asker) -> watch::Receiver<Option<Verdict>> {
        // One whose task panicked has lost its sender.
        let under_way = self.under_way.borrow().clone();
        if let Some(told) = under_way.filter(|told| told.has_changed().is_ok()) {
            return told;
        }
        let (tell, told) = watch::channel(None);
        *self.under_way.borrow_mut() = Some(told.clone());
        let this = Rc::clone(self);
        // A task of its own: whoever began may leave before those who joined.
        tokio::task::spawn_local(async move {
            let verdict = this.ask(&asker).await;
            this.under_way.take();
            this.note(&verdict);
            tell.send_replace(Some(verdict));
        });
        told
    }

    async fn ask(&self, asker: &Asker) -> Verdict {
        let Target { timeout: limit, ask, .. } = &self.target;
        let asked = async {
            match ask {
                Ask::Http(http) => over_http::ask(http, asker).await,
                Ask::Grpc(grpc) => grpc::ask(grpc, asker).await,
                Ask::Tcp { port } => {
                    let taken = dial_app(*port, asker).await;
                    taken.map(|_| format!("the app takes connections at port {port}"))
                }
            }
        };
        let late = |_| Err(format!("the app gave no answer within {limit:?}"));
        timeout(*limit, asked).await.unwrap_or_else(late)
    }

    /// kubelet tells people no more than a status.
    fn note(&self, verdict: &Verdict) {
        let (Ok(said) | Err(said)) = verdict;
        let (container, probe) = (&self.target.container, self.target.probe.as_str());
        if self.was_well.replace(Some(verdict.is_ok())) == Some(verdict.is_ok()) {
            return;
        }
        match verdict {
            Ok(_) => info!(container, probe, "the probe finds the app well: {said}"),
            Err(_) => warn!(container, probe, "the probe fails: {said}"),
        }
    }
}

/// A connection to the app.
pub(super) async fn dial_app(port: u16, asker: &Asker) -> Result<TcpStream, String> {
    let refused = |error| format!("the app can't be reached at port {port}: {error}");
    dial(port, asker.own).await.map_err(refused)
}

/// An address as a URL has it.
pub(super) fn authority(ip: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(ip.to_canonical(), port).to_string()
}
