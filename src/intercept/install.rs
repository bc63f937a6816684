//! From settings to rules that are in force and proved, and back.

use std::fmt::{self, Write};
use std::io;

use super::netlink::{Refusal, Request};
use super::network::{self, Address};
use super::plan::{APP_LEG_V6, MARK, Plan};
use super::settings::{Mode, Settings};
use super::{check, iptables, nft};

/// What puts the rules into force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// nf_tables, and where the kernel lacks it, iptables.
    #[default]
    Auto,
    Nft,
    Iptables,
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// [`Backend::Nft`] or [`Backend::Iptables`].
    pub backend: Backend,
    /// What connections proved, a sentence each.
    pub proved: Vec<String>,
    /// What could not be proved and why, and what follows.
    pub warnings: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the rules of a network namespace can't be changed without the capability NET_ADMIN: run as \
         root, or give it to the init container (securityContext.capabilities.add: [NET_ADMIN])"
    )]
    Forbidden,
    #[error(
        "the kernel does not take rules of nf_tables: {0}. It needs Linux 5.2 with nf_tables; with \
         an older one use --backend iptables"
    )]
    Nft(#[source] Refusal),
    #[error(
        "neither nf_tables nor iptables takes the rules. nf_tables: {nft}. iptables: {iptables}"
    )]
    Neither { nft: Refusal, iptables: iptables::Error },
    #[error("{0}")]
    Iptables(#[source] iptables::Error),
    #[error("routing can't be set up: {0}")]
    Routing(#[source] Refusal),
    #[error("the addresses of this network namespace can't be read: {0}")]
    Addresses(#[source] io::Error),
    #[error(
        "the rules are in place but don't work, and were removed: {0}. Something else in this \
         network namespace decides about connections first (`nft list ruleset` shows it), or the \
         kernel lacks a part: try the other --backend"
    )]
    Unproved(String),
    #[error("{error}; the rules of an earlier run are in force again")]
    Kept { error: Box<Error> },
    #[error("the new rules are in place but don't work: {0}")]
    Failing(String),
    #[error("{why}; and what there was before can't be brought back: {error}")]
    Left { why: Box<Error>, error: Box<Error> },
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Auto => "auto",
            Backend::Nft => "nf_tables",
            Backend::Iptables => "iptables",
        })
    }
}

/// Puts rules in place of what an earlier run made, and proves them when `is_checked`.
///
/// # Errors
/// What an earlier run made is in force again afterwards; where there was none, nothing of ours is.
pub fn install(settings: &Settings, backend: Backend, is_checked: bool) -> Result<Done, Error> {
    let addresses = network::addresses().map_err(Error::Addresses)?;
    let v6 = match network::has_v6(&addresses) {
        true => V6::Spoken,
        false if network::knows_v6() => V6::Known,
        false => V6::Unknown,
    };
    let earlier = Earlier::read()?;
    let done = attempt(settings, backend, is_checked, &addresses, v6);
    let done = done.map_err(|error| earlier.put_back(error))?;
    // Only now: the rules of before may have needed it.
    clear(settings.mode, v6)?;
    Ok(done)
}

fn attempt(
    settings: &Settings,
    backend: Backend,
    is_checked: bool,
    addresses: &[Address],
    v6: V6,
) -> Result<Done, Error> {
    let mut warnings = route(settings.mode, v6)?;
    let plan = Plan::of(settings, false);
    let first = if is_checked { &Plan::of(settings, true) } else { &plan };
    let (backend, more) = put(first, backend, v6)?;
    warnings.extend(more);
    let mut done = Done { backend, proved: Vec::new(), warnings };
    if is_checked {
        prove(settings, addresses, &mut done).map_err(Error::Failing)?;
        // Without the probe's way in.
        put(&plan, backend, v6)?;
        compare(&plan, backend, v6).map_err(Error::Failing)?;
        done.proved.push("the kernel has the rules as they were planned".into());
    }
    Ok(done)
}

/// How much IPv6 there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum V6 {
    /// Some interface besides `lo` has an address.
    Spoken,
    /// None has, and one may come: rules are made for it, and nothing that could be noticed.
    Known,
    Unknown,
}

/// What is in force before rules change.
struct Earlier {
    nft: Vec<Request>,
    iptables: iptables::Kept,
}

impl Earlier {
    fn read() -> Result<Self, Error> {
        let nft = nft::kept().map_err(|refusal| Error::Nft(refusal).forbidden())?;
        Ok(Self { nft, iptables: iptables::kept().map_err(Error::Iptables)? })
    }

    /// After a failure: an app that was intercepted must not be left open.
    fn put_back(&self, why: Error) -> Error {
        let was_there = !self.nft.is_empty() || !self.iptables.is_empty();
        let done = if was_there { self.restore() } else { undo() };
        match (done, why) {
            (Err(error), why) => Error::Left { why: Box::new(why), error: Box::new(error) },
            (Ok(()), why) if was_there => Error::Kept { error: Box::new(why) },
            (Ok(()), Error::Failing(why)) => Error::Unproved(why),
            (Ok(()), why) => why,
        }
    }

    fn restore(&self) -> Result<(), Error> {
        if self.nft.is_empty() {
            nft::remove().map_err(Error::Nft)?;
        } else {
            nft::put_back(&self.nft).map_err(Error::Nft)?;
        }
        if self.iptables.is_empty() {
            return iptables::remove().map_err(Error::Iptables);
        }
        iptables::put_back(&self.iptables).map_err(Error::Iptables)
    }
}

fn prove(settings: &Settings, addresses: &[Address], done: &mut Done) -> Result<(), String> {
    for finding in check::check(settings, addresses)? {
        match finding {
            check::Finding::Proved(what) => done.proved.push(what),
            check::Finding::Unproved(what) => done.warnings.push(what),
        }
    }
    Ok(())
}

/// Takes away everything that [`install`] can have made, whichever way; nothing may be there.
///
/// # Errors
/// The first that could not be taken away, after all the rest was.
pub fn undo() -> Result<(), Error> {
    let nft = nft::remove().map_err(Error::Nft);
    let iptables = iptables::remove().map_err(Error::Iptables);
    let leg = network::remove_app_leg().map_err(Error::Routing);
    let v4 = network::remove_way_back(true).map_err(Error::Routing);
    let v6 = network::remove_way_back(false).map_err(Error::Routing);
    nft.and(leg).and(v4).and(v6).and(iptables).map_err(Error::forbidden)
}

/// Everything that [`install`] would do, as text.
pub fn script(settings: &Settings, backend: Backend) -> String {
    let plan = Plan::of(settings, false);
    let mut text = match backend {
        Backend::Auto | Backend::Nft => nft::script(&plan),
        Backend::Iptables => [("iptables", true), ("ip6tables", false)]
            .map(|(name, is_v4)| {
                let rules = iptables::restore(Some(&plan), is_v4, "");
                format!("# {name}-restore --noflush\n{rules}")
            })
            .concat(),
    };
    let _ = writeln!(text, "# Where there is IPv6:");
    let _ = writeln!(text, "# ip address replace {APP_LEG_V6}/128 dev lo nodad preferred_lft 0");
    if settings.mode == Mode::Tproxy {
        for ip in ["ip -4", "ip -6"] {
            let route = "route replace local default dev lo proto static";
            let _ = writeln!(text, "# {ip} {route} table {MARK}");
            let _ = writeln!(text, "# {ip} rule add priority {MARK} fwmark {MARK:#x} table {MARK}");
        }
    }
    text
}

impl Error {
    /// Says plainly what the kernel calls "not permitted".
    fn forbidden(self) -> Self {
        let is_eperm = |refusal: &Refusal| refusal.error.raw_os_error() == Some(libc::EPERM);
        match &self {
            Error::Nft(refusal) | Error::Routing(refusal) if is_eperm(refusal) => Error::Forbidden,
            _ => self,
        }
    }
}

/// Makes the routes that the rules need. Returns what to warn of.
fn route(mode: Mode, v6: V6) -> Result<Vec<String>, Error> {
    let failed = |refusal| Error::Routing(refusal).forbidden();
    if v6 == V6::Spoken {
        network::add_app_leg().map_err(failed)?;
    }
    if mode != Mode::Tproxy {
        return Ok(Vec::new());
    }
    network::add_way_back(true).map_err(failed)?;
    match (v6, network::add_way_back(false)) {
        (V6::Unknown, _) | (_, Ok(())) => Ok(Vec::new()),
        (V6::Spoken, Err(refusal)) => Err(failed(refusal)),
        (V6::Known, Err(refusal)) => Ok(vec![format!("{LATER_V6}: {refusal}")]),
    }
}

/// Takes away the routes that nothing needs any more.
fn clear(mode: Mode, v6: V6) -> Result<(), Error> {
    let leg = if v6 == V6::Spoken { Ok(()) } else { network::remove_app_leg() };
    let ways = [(true, true), (false, v6 != V6::Unknown)].map(|(is_v4, is_known)| {
        match mode == Mode::Tproxy && is_known {
            true => Ok(()),
            false => network::remove_way_back(is_v4),
        }
    });
    let done = ways.into_iter().fold(leg, Result::and);
    done.map_err(|refusal| Error::Routing(refusal).forbidden())
}

/// What follows where IPv6 is there without an address, and can't be prepared for one.
const LATER_V6: &str = "connections over IPv6 would not be caught, should an address of it come";

/// Installs by a backend, and takes away what another one made before. Returns which, and what to
/// warn of.
fn put(plan: &Plan, backend: Backend, v6: V6) -> Result<(Backend, Vec<String>), Error> {
    if backend == Backend::Iptables {
        let warnings = by_iptables(plan, v6).map_err(Error::Iptables)?;
        return Ok((Backend::Iptables, warnings));
    }
    match nft::install(plan) {
        Ok(()) => {
            let left = iptables::remove().err();
            let warn = |error| format!("rules of an earlier run may be left in iptables: {error}");
            Ok((Backend::Nft, left.map(warn).into_iter().collect()))
        }
        Err(refusal) if backend == Backend::Auto && nft::is_absent(&refusal) => {
            let failed = |iptables| Error::Neither { nft: refusal, iptables };
            let warnings = by_iptables(plan, v6).map_err(failed)?;
            Ok((Backend::Iptables, warnings))
        }
        Err(refusal) => Err(Error::Nft(refusal).forbidden()),
    }
}

/// Rules of both families. What is half there when one fails, the caller takes away.
fn by_iptables(plan: &Plan, v6: V6) -> Result<Vec<String>, iptables::Error> {
    iptables::install(plan, v6 == V6::Spoken)?;
    let mut warnings = Vec::new();
    if v6 == V6::Known
        && let Err(error) = iptables::install_v6(plan)
    {
        warnings.push(format!("{LATER_V6}: {error}"));
    }
    // A kernel that refuses this has none of it.
    let _ = nft::remove();
    Ok(warnings)
}

/// Whether the kernel has what it was given.
fn compare(plan: &Plan, backend: Backend, v6: V6) -> Result<(), String> {
    match backend {
        Backend::Iptables => {
            iptables::compare(plan, v6 == V6::Spoken).map_err(|error| error.to_string())
        }
        Backend::Auto | Backend::Nft => nft::compare(plan),
    }
}
