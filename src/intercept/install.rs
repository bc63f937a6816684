//! From settings to rules that are in force and proved, and back.

use std::fmt::{self, Write};
use std::io;

use super::netlink::Refusal;
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
    #[error("the rules don't work: {why}; and they can't be removed: {error}")]
    Left { why: String, error: Box<Error> },
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
/// Nothing of ours is there afterwards, or what an earlier run made.
pub fn install(settings: &Settings, backend: Backend, is_checked: bool) -> Result<Done, Error> {
    let addresses = network::addresses().map_err(Error::Addresses)?;
    let has_v6 = network::has_v6(&addresses);
    route(settings.mode, has_v6)?;
    let plan = Plan::of(settings, false);
    let first = if is_checked { &Plan::of(settings, true) } else { &plan };
    let (backend, warnings) = put(first, backend, has_v6)?;
    let mut done = Done { backend, proved: Vec::new(), warnings };
    if is_checked {
        let proved = prove(settings, &addresses, &mut done).and_then(|()| {
            // Without the probe's way in.
            put(&plan, backend, has_v6).map_err(|error| error.to_string())?;
            compare(&plan, backend, has_v6)
        });
        done.proved.push("the kernel has the rules as they were planned".into());
        if let Err(why) = proved {
            return Err(match undo() {
                Ok(()) => Error::Unproved(why),
                Err(error) => Error::Left { why, error: Box::new(error) },
            });
        }
    }
    Ok(done)
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

fn route(mode: Mode, has_v6: bool) -> Result<(), Error> {
    let leg = if has_v6 { network::add_app_leg() } else { network::remove_app_leg() };
    let ways = [(true, true), (false, has_v6)].map(|(is_v4, is_spoken)| {
        if mode == Mode::Tproxy && is_spoken {
            network::add_way_back(is_v4)
        } else {
            network::remove_way_back(is_v4)
        }
    });
    let done = ways.into_iter().fold(leg, Result::and);
    done.map_err(|refusal| Error::Routing(refusal).forbidden())
}

/// Installs by a backend, and takes away what another one made before. Returns which, and what to
/// warn of.
fn put(plan: &Plan, backend: Backend, has_v6: bool) -> Result<(Backend, Vec<String>), Error> {
    if backend == Backend::Iptables {
        by_iptables(plan, has_v6).map_err(Error::Iptables)?;
        return Ok((Backend::Iptables, Vec::new()));
    }
    match nft::install(plan) {
        Ok(()) => {
            let left = iptables::remove().err();
            let warn = |error| format!("rules of an earlier run may be left in iptables: {error}");
            Ok((Backend::Nft, left.map(warn).into_iter().collect()))
        }
        Err(refusal) if backend == Backend::Auto && nft::is_absent(&refusal) => {
            let failed = |iptables| Error::Neither { nft: refusal, iptables };
            by_iptables(plan, has_v6).map_err(failed)?;
            Ok((Backend::Iptables, Vec::new()))
        }
        Err(refusal) => Err(Error::Nft(refusal).forbidden()),
    }
}

fn by_iptables(plan: &Plan, has_v6: bool) -> Result<(), iptables::Error> {
    if let Err(error) = iptables::install(plan, has_v6) {
        // What is half there is worse than nothing; the first error is the one to tell.
        let _ = iptables::remove();
        return Err(error);
    }
    // A kernel that refuses this has none of it.
    let _ = nft::remove();
    Ok(())
}

/// Whether the kernel has what it was given.
fn compare(plan: &Plan, backend: Backend, has_v6: bool) -> Result<(), String> {
    match backend {
        Backend::Iptables => iptables::compare(plan, has_v6).map_err(|error| error.to_string()),
        Backend::Auto | Backend::Nft => nft::compare(plan),
    }
}
