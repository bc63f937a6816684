//! One target and what becomes of asking it: once at a time, whoever asks, and a word in the log
//! when the answer changes.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use http::HeaderValue;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
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

/// Who may wait for one target's answer. Arbitrary: kubelet asks once at a time.
const WAITING: usize = 64;

/// A target, and an answer that is on its way.
pub(super) struct Asked {
    pub target: Target,
    /// Of those who wait for the answer.
    places: Semaphore,
    /// `/probe/container/probe`
    pub path: String,
    under_way: RefCell<Option<watch::Receiver<Option<Verdict>>>>,
    was_well: Cell<Option<bool>>,
}

impl Asked {
    pub fn new(target: Target) -> Rc<Asked> {
        let path = format!("/probe/{}/{}", target.container, target.probe.as_str());
        Rc::new(Asked {
            target,
            path,
            places: Semaphore::new(WAITING),
            under_way: RefCell::default(),
            was_well: Cell::new(None),
        })
    }

    /// Asks the app, or waits for the answer that somebody else waits for already. Where too many
    /// wait, it is the last answer.
    pub async fn verdict(self: &Rc<Self>, asker: Asker) -> Verdict {
        let Ok(_place) = self.places.try_acquire() else { return self.last() };
        let mut told = self.begin(asker);
        let told = told.wait_for(Option::is_some).await;
        let verdict = told.ok().and_then(|verdict| verdict.clone());
        verdict.unwrap_or_else(|| Err("the sidecar failed; its log says more".into()))
    }

    /// Strangers who crowd a slow app must not make kubelet restart it. An app that fails meanwhile
    /// is found out within its timeout: whoever waits, waits for an ask that is under way.
    fn last(&self) -> Verdict {
        match self.was_well.get() {
            Some(true) => Ok("too many wait for this probe; the last answer was good".into()),
            Some(false) => Err("too many wait for this probe; the last answer was bad".into()),
            None => Err("too many wait for this probe, which has no answer yet".into()),
        }
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;
    use crate::probes::{Http, Probe};

    fn asker() -> Asker {
        let agent = HeaderValue::from_static("kube-probe/1.33");
        Asker { own: Ipv4Addr::LOCALHOST.into(), agent, own_ports: Rc::new([]) }
    }

    fn target(port: u16) -> Target {
        let (path, headers) = ("/".into(), Vec::new());
        let ask = Ask::Http(Http { port, path, is_tls: false, host: None, headers });
        let timeout = Duration::from_secs(60);
        Target { container: "web".into(), probe: Probe::Liveness, timeout, ask }
    }

    async fn answer(mut stream: TcpStream, status: &str) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.expect("a request");
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("it is heard");
    }

    #[tokio::test]
    async fn where_too_many_wait_the_last_answer_counts() {
        let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let asked = Asked::new(target(app.local_addr().expect("it listens").port()));
        let test = async {
            // What the app says in the end, and whether one more was told before that it is well.
            let rows = [(200, true, false), (500, false, true), (200, true, false)];
            for (status, is_well, was_well) in rows {
                let one = || {
                    let asked = Rc::clone(&asked);
                    spawn_local(async move { asked.verdict(asker()).await })
                };
                let crowd: Vec<_> = (0..WAITING).map(|_| one()).collect();
                let (stream, _) = app.accept().await.expect("a socket");
                while asked.places.available_permits() > 0 {
                    yield_now().await;
                }
                let told = asked.verdict(asker()).await;
                assert_eq!(told.is_ok(), was_well, "before {status}: {told:?}");
                answer(stream, &format!("{status} X")).await;
                for waiting in crowd {
                    let told = waiting.await.expect("no panic");
                    assert_eq!(told.is_ok(), is_well, "{status}: {told:?}");
                }
            }
        };
        LocalSet::new().run_until(test).await;
    }
}
