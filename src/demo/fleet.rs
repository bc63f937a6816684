//! Everything that runs beside this process: the control plane, and a sidecar for each instance
//! with its app.
//!
//! Invariant: no process and no file outlives a [`Fleet`]. It is shared in a `RefCell` by whoever
//! looks after it (the start, the watch, the chaos), each for moments only.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::time::sleep;

use super::apps::{self, Running};
use super::client::Client;
use super::folder::{ANCHORS, Folder};
use super::operator::Operator;
use super::ports::Ports;
use super::process::Process;
use super::shop::{Inbound, Instance, Shop};
use super::tally::Tally;
use super::{Error, doing, explain};

/// Whoever takes this long won't make it. Arbitrary, for a machine that has much else to do.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// What is asked twice leaves at once; arbitrary.
const LEAVE_WITHIN: Duration = Duration::from_secs(4);
/// Between being asked and being asked again.
const INSIST_AFTER: Duration = Duration::from_millis(200);

/// All of it.
pub(super) struct Fleet {
    pub(super) control_plane: ControlPlane,
    pub(super) members: Vec<Member>,
    pub(super) ports: Ports,
    /// Who left without being asked, and the end of its log.
    pub(super) lost: Vec<(String, String)>,
    /// What could not be done to them.
    pub(super) faults: usize,
    /// After the processes: they may still write into it.
    pub(super) folder: Folder,
}

/// The control plane's process.
pub(super) struct ControlPlane {
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    lifetime: Duration,
    process: Option<Process>,
}

/// An instance: the plan, its sidecar's process, its app.
pub(super) struct Member {
    pub(super) instance: Instance,
    sidecar: Option<Process>,
    app: Option<Running>,
}

/// One of the fleet's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    ControlPlane,
    /// By its place among the members.
    Sidecar(usize),
}

impl Fleet {
    /// With nothing running yet. `lifetime`: of certificates.
    ///
    /// # Errors
    /// When there is no folder, or no port.
    pub(super) fn new(shop: Shop, lifetime: Duration) -> Result<Fleet, Error> {
        let Shop { instances, mut ports } = shop;
        let mut hold = || ports.hold().map_err(doing("find free ports"));
        let (listen, admin) = (hold()?, hold()?);
        let control_plane = ControlPlane { listen, admin, lifetime, process: None };
        let member = |instance| Member { instance, sidecar: None, app: None };
        let members = instances.into_iter().map(member).collect();
        Ok(Fleet {
            control_plane,
            members,
            ports,
            lost: Vec::new(),
            faults: 0,
            folder: Folder::new()?,
        })
    }

    /// Starts the control plane, on the data that it left if it ran before.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn start_control_plane(&mut self) -> Result<(), Error> {
        let ControlPlane { listen, admin, lifetime, .. } = self.control_plane;
        self.ports.release(listen);
        self.ports.release(admin);
        let words = [
            ("--data", self.data("").into_os_string()),
            ("--listen", listen.to_string().into()),
            ("--admin-listen", admin.to_string().into()),
            ("--cert-lifetime", format!("{}s", lifetime.as_secs()).into()),
            ("--log-level", "info".into()),
        ];
        let words = words.into_iter().flat_map(|(flag, value)| [flag.into(), value]);
        let words = [OsString::from("control-plane")].into_iter().chain(words);
        let log = self.folder.path().join("control-plane.log");
        let process = Process::start("the control plane".into(), log, words)?;
        self.control_plane.process = Some(process);
        Ok(())
    }

    /// A file of the control plane's.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join("control-plane").join(name)
    }

    /// Puts the roots of the mesh where sidecars look for them.
    ///
    /// # Errors
    /// When they can't be written.
    pub(super) fn hand_out_anchors(&self) -> Result<(), Error> {
        let anchors = self.folder.path().join(ANCHORS);
        let copied = fs::copy(self.data(ANCHORS), &anchors);
        copied.map(drop).map_err(|error| Error::Write(anchors, error))
    }

    /// The one who may configure this mesh.
    pub(super) fn operator(&self) -> Operator {
        let address = self.control_plane.listen.to_string();
        let (anchors, token) = (self.data(ANCHORS), self.data("operator.token"));
        Operator::new(address, &anchors, &token)
    }

    /// Starts a member's sidecar, with a token to join with.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn start_sidecar(&mut self, index: usize, token: &str) -> Result<(), Error> {
        let Member { instance, sidecar, .. } = &mut self.members[index];
        self.folder.furnish(instance, self.control_plane.listen, token)?;
        instance.release(&mut self.ports);
        let (what, folder) = (format!("the sidecar of {}", instance.name), self.folder.path());
        let config = folder.join(format!("{}.yaml", instance.name)).into_os_string();
        let log = folder.join(format!("{}.log", instance.name));
        let words = ["sidecar".into(), "--config".into(), config];
        *sidecar = Some(Process::start(what, log, words)?);
        Ok(())
    }

    /// Starts a member's app, if it has one.
    ///
    /// # Errors
    /// When its listener can't be used.
    pub(super) fn start_app(&mut self, index: usize, tally: &Arc<Tally>) -> Result<(), Error> {
        let member = &mut self.members[index];
        member.app = apps::start(&mut member.instance, tally).map_err(doing("start the apps"))?;
        Ok(())
    }

    /// Gives a member's sidecar, which runs, another token to join with.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn hand_over(&self, index: usize, token: &str) -> Result<(), Error> {
        self.folder.write(&format!("{}.token", self.members[index].instance.name), token)
    }

    /// Gives a member whose processes are gone a place: the one that it had, or another.
    ///
    /// # Errors
    /// The system's, when there is none.
    pub(super) fn resettle(&mut self, index: usize, again: bool) -> io::Result<()> {
        match &mut self.members[index].instance.inbound {
            Some(inbound) if again => inbound.again(),
            Some(inbound) => {
                *inbound = Inbound::lay_out(&mut self.ports)?;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether all went as it should.
    pub(super) fn is_sound(&self) -> bool {
        self.lost.is_empty() && self.faults == 0
    }

    pub(super) fn process(&mut self, who: Who) -> Option<&mut Process> {
        match who {
            Who::ControlPlane => self.control_plane.process.as_mut(),
            Who::Sidecar(index) => self.members[index].sidecar.as_mut(),
        }
    }

    pub(super) fn admin(&self, who: Who) -> SocketAddr {
        match who {
            Who::ControlPlane => self.control_plane.admin,
            Who::Sidecar(index) => self.members[index].instance.admin,
        }
    }

    /// Where the load goes in: the listener for `web` of the shopper's sidecar.
    pub(super) fn entrance(&self) -> SocketAddr {
        let web = self.of("shopper").find_map(|shopper| shopper.upstream("web"));
        web.expect("the plan says that the shopper calls web")
    }

    /// The instances of a service.
    pub(super) fn of(&self, service: &str) -> impl Iterator<Item = &Instance> {
        let instances = self.members.iter().map(|member| &member.instance);
        instances.filter(move |instance| instance.service.name == service)
    }

    /// Each instance's name, and where its sidecar answers questions.
    pub(super) fn admins(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        let instances = self.members.iter().map(|member| &member.instance);
        instances.map(|instance| (instance.name.as_str(), instance.admin))
    }

    /// Those that left without being asked, since this was last called.
    pub(super) fn newly_lost(&mut self) -> Vec<String> {
        let sidecars = self.members.iter_mut().filter_map(|member| member.sidecar.as_mut());
        let all = sidecars.chain(self.control_plane.process.as_mut());
        let found: Vec<_> = all.filter_map(Process::newly_lost).collect();
        let says = |(what, status, _): &(String, _, _)| format!("{what} left ({status})");
        let said = found.iter().map(says).collect();
        self.lost.extend(found.into_iter().map(|(what, _, log)| (what, log)));
        said
    }

    /// Ends every process: asks, insists, forces; the control plane last. Blocks for as long as that
    /// takes.
    pub(super) fn stop(&mut self) {
        let sidecars = self.members.iter_mut().filter_map(|member| member.sidecar.take());
        end(&mut sidecars.collect::<Vec<_>>());
        end(self.control_plane.process.take().as_mut_slice());
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Member {
    /// Its app and everything that this does, gone when this returns.
    pub(super) fn take_app(&mut self) -> Option<Running> {
        self.app.take()
    }
}

fn end(processes: &mut [Process]) {
    let begun = Instant::now();
    for after in [INSIST_AFTER, LEAVE_WITHIN] {
        for process in &mut *processes {
            process.ask_to_leave();
        }
        while begun.elapsed() < after && processes.iter_mut().any(|p| p.poll().is_none()) {
            thread::sleep(Duration::from_millis(10));
        }
    }
    processes.iter_mut().for_each(Process::kill);
}

/// Waits until a process says that it is ready.
///
/// # Errors
/// When it leaves, or takes too long: with the end of its log.
pub(super) async fn ready(fleet: &RefCell<Fleet>, who: Who) -> Result<(), Error> {
    let begun = Instant::now();
    let admin = fleet.borrow().admin(who);
    let client = Client::new(admin, &admin.to_string());
    loop {
        let missing = match client.get("/ready").await {
            Ok((StatusCode::OK, _)) => return Ok(()),
            Ok((_, body)) => String::from_utf8_lossy(&body).trim().to_owned(),
            Err(error) => explain(&error),
        };
        if let Some(process) = fleet.borrow_mut().process(who) {
            if let Some(status) = process.poll() {
                return Err(process.left(status));
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(process.late(READY_WITHIN, missing));
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}
