//! The rules of interception, as data: what is printed for `nft` and `iptables` and what is sent to
//! the kernel is this, so that they can't disagree.
//!
//! Chains of address translation see only the first packet of a connection, so that the length of
//! a list costs a connection something, and a packet nothing.
//!
//! The order within a chain matters, first match wins:
//!
//! - *output*, what this namespace sends: the sidecar's own goes to *sidecar*; loopback stays what
//!   it is; what is excluded leaves; the rest goes to the sidecar's outbound port. An app that calls
//!   its own pod's address takes this way too, like any call.
//! - *sidecar*: what it sends to other hosts and over loopback is left alone. What it sends to the
//!   pod's own address is a call that the app made to itself, and must come in by the inbound port,
//!   so that identity and policy hold. The last leg to the app goes to the same address and would
//!   come back for ever, so that it is told apart by its source ([`APP_LEG_V4`], [`APP_LEG_V6`]) or
//!   its [`MARK`]. Only the sidecar's user is trusted with either.
//! - *prerouting* or *arriving*: what comes from other hosts to an address of this one.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::settings::{Mode, Ports, Settings};
pub use crate::runtime::exempt::{APP_LEG_V4, APP_LEG_V6, MARK};

/// The mark of a connection that asks for the inbound way, while init proves that there is one.
pub(super) const PROBE_MARK: u32 = 0x6f70;

/// Names are asked for past the sidecar, also over TCP.
pub(super) const DNS: Ports = Ports { first: 53, last: 53 };

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub chains: Vec<Chain>,
}

/// Rules in order. A packet that comes to the end goes on as if there was no chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub name: &'static str,
    pub table: Table,
    /// `None` for a chain that others go to.
    pub hook: Option<Hook>,
    pub rules: Vec<Rule>,
}

/// What a chain may do; iptables keeps the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Nat,
    Mangle,
}

/// Where packets enter a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Prerouting,
    Output,
}

/// `then`, when everything in `when` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub when: Vec<Match>,
    pub then: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    NotTcp,
    /// Who made the socket.
    Uid(u32),
    Mark(u32),
    ConnectionMark(u32),
    InLo,
    OutLo,
    NotOutLo,
    In(String),
    Out(String),
    From(IpNet),
    To(IpNet),
    ToPorts(Ports),
    /// The destination is no address of this namespace.
    ToElsewhere,
    /// The packet answers whoever began the connection.
    Reply,
    /// The packet begins a connection.
    Opening,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Return,
    Goto(&'static str),
    /// Translates the destination to this port of this namespace.
    Redirect(u16),
    /// Hands the packet to the transparent listener on this port as it is.
    Tproxy(u16),
    Reset,
    SetConnectionMark(u32),
    SetMark(u32),
}

impl Plan {
    /// With `is_probed` there is also a way in for connections that bear [`PROBE_MARK`].
    pub fn of(settings: &Settings, is_probed: bool) -> Self {
        let mut chains = vec![
            output(settings, is_probed),
            outbound(settings),
            sidecar(),
            inbound(settings, "inbound", Table::Nat, &Action::Redirect(settings.inbound_port)),
        ];
        match settings.mode {
            Mode::Redirect => chains.push(prerouting(settings)),
            Mode::Tproxy => chains.extend(transparent(settings)),
        }
        Self { chains }
    }
}

impl Match {
    /// The family that it confines a rule to, and whether that is IPv4.
    pub fn is_v4(&self) -> Option<bool> {
        match self {
            Match::From(net) | Match::To(net) => Some(matches!(net, IpNet::V4(_))),
            _ => None,
        }
    }

    /// It looks into a header of TCP.
    pub(super) fn names_tcp(&self) -> bool {
        matches!(self, Match::ToPorts(_) | Match::Opening)
    }
}

impl Rule {
    /// The action is for TCP only, and no condition says that yet.
    pub(super) fn lacks_tcp(&self) -> bool {
        let is_for_tcp =
            matches!(self.then, Action::Redirect(_) | Action::Tproxy(_) | Action::Reset);
        is_for_tcp && !self.when.iter().any(Match::names_tcp)
    }
}

fn rule(when: impl Into<Vec<Match>>, then: Action) -> Rule {
    Rule { when: when.into(), then }
}

fn leave(when: Match) -> Rule {
    rule([when], Action::Return)
}

/// The chains begin with it: whatever is not TCP, such as most of DNS, is left alone.
fn tcp_only() -> Rule {
    leave(Match::NotTcp)
}

fn host(address: impl Into<std::net::IpAddr>) -> IpNet {
    IpNet::from(address.into())
}

/// Where "this host" is meant. [`APP_LEG_V6`] is on `lo` and stands for it too.
fn loopback() -> [IpNet; 3] {
    let v4 = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    [IpNet::V4(v4), host(Ipv6Addr::LOCALHOST), host(APP_LEG_V6)]
}

/// netfilter's record of a redirection does not tell the interface, without which these addresses
/// lead nowhere.
fn link_local() -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10))
}

fn output(settings: &Settings, is_probed: bool) -> Chain {
    let mut rules = vec![tcp_only()];
    if is_probed {
        rules.push(rule([Match::Mark(PROBE_MARK)], Action::Goto("inbound")));
    }
    rules.extend(settings.uids.iter().map(|uid| rule([Match::Uid(*uid)], Action::Goto("sidecar"))));
    rules.extend(loopback().map(|net| leave(Match::To(net))));
    rules.push(leave(Match::To(link_local())));
    // What does not fit into a datagram is asked for again over TCP: names have to be found even
    // before the sidecar knows anything.
    rules.push(leave(Match::ToPorts(DNS)));
    rules.extend(settings.exclude_interfaces.iter().cloned().map(Match::Out).map(leave));
    rules.extend(settings.exclude_outbound_ports.iter().copied().map(Match::ToPorts).map(leave));
    rules.extend(settings.exclude_outbound.iter().copied().map(Match::To).map(leave));
    rules.extend(either(
        &settings.include_outbound_ports,
        Match::ToPorts,
        Action::Goto("outbound"),
    ));
    Chain { name: "output", table: Table::Nat, hook: Some(Hook::Output), rules }
}

fn outbound(settings: &Settings) -> Chain {
    let caught = Action::Redirect(settings.outbound_port);
    let rules = either(&settings.include_outbound, Match::To, caught);
    Chain { name: "outbound", table: Table::Nat, hook: None, rules }
}

/// `then` for each that is listed; for everything where nothing is.
fn either<T: Copy>(listed: &[T], matching: fn(T) -> Match, then: Action) -> Vec<Rule> {
    if listed.is_empty() {
        return vec![rule([], then)];
    }
    listed.iter().map(|one| rule([matching(*one)], then)).collect()
}

fn sidecar() -> Chain {
    let mut rules = vec![leave(Match::NotOutLo)];
    rules.extend(loopback().map(|net| leave(Match::To(net))));
    rules.push(leave(Match::From(host(APP_LEG_V4))));
    rules.push(leave(Match::From(host(APP_LEG_V6))));
    rules.push(leave(Match::Mark(MARK)));
    rules.push(rule([], Action::Goto("inbound")));
    Chain { name: "sidecar", table: Table::Nat, hook: None, rules }
}

/// Decides by the port.
fn inbound(settings: &Settings, name: &'static str, table: Table, caught: &Action) -> Chain {
    let excluded = settings.own_ports().into_iter().chain(settings.exclude_inbound_ports.clone());
    let mut rules: Vec<Rule> = excluded.map(Match::ToPorts).map(leave).collect();
    rules.extend(either(&settings.include_inbound_ports, Match::ToPorts, *caught));
    Chain { name, table, hook: None, rules }
}

/// What comes from another host to this one. What the namespace sends itself was judged on its way
/// out.
fn from_outside(settings: &Settings) -> Vec<Rule> {
    let interfaces = settings.exclude_interfaces.iter().cloned().map(Match::In);
    let all = [Match::NotTcp, Match::InLo].into_iter().chain(interfaces);
    all.chain([Match::ToElsewhere]).map(leave).collect()
}

fn prerouting(settings: &Settings) -> Chain {
    let mut rules = from_outside(settings);
    rules.push(rule([], Action::Goto("inbound")));
    Chain { name: "prerouting", table: Table::Nat, hook: Some(Hook::Prerouting), rules }
}

/// Inbound connections as they are, and the way back of those to which the sidecar lent its
/// client's address: their answers are not for the client but for the sidecar.
///
/// TPROXY itself gives a packet to the connection that it belongs to before it looks for a listener,
/// so that connections need no rule of their own.
///
/// Inbound packets get no mark. They are for an address of this host anyway, so that routing needs
/// none, and a mark would make IPv4's check of sources (`src_valid_mark`) find them spoofed.
fn transparent(settings: &Settings) -> [Chain; 4] {
    let marked = [Match::InLo, Match::Mark(MARK)];
    let mut arriving = vec![rule(marked, Action::SetConnectionMark(MARK))];
    arriving.extend(from_outside(settings));
    // Answers to what this host asked others.
    arriving.push(leave(Match::Reply));
    arriving.push(rule([], Action::Goto("transparent")));
    // Where no sidecar listens, a connection must not slip through to the app.
    let caught = vec![
        rule([], Action::Tproxy(settings.inbound_port)),
        rule([Match::Opening], Action::Reset),
    ];
    let answered = [Match::Reply, Match::ConnectionMark(MARK)];
    let replies = vec![tcp_only(), rule(answered, Action::SetMark(MARK))];
    let table = Table::Mangle;
    [
        Chain { name: "arriving", table, hook: Some(Hook::Prerouting), rules: arriving },
        inbound(settings, "transparent", table, &Action::Goto("caught")),
        Chain { name: "caught", table, hook: None, rules: caught },
        Chain { name: "replies", table, hook: Some(Hook::Output), rules: replies },
    ]
}
