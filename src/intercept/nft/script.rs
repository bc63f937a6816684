//! The plan as a script that `nft -f` loads: for people, and for `--dry-run`.

use std::fmt::Write;

use ipnet::IpNet;

use super::{TABLE, place};
use crate::intercept::plan::{Action, Chain, Hook, Match, Plan, Rule};

/// A whole script: what an earlier run made is gone and this is there, or nothing is changed.
pub fn script(plan: &Plan) -> String {
    // The first line is for the second, which would fail where there is no such table.
    let mut text =
        format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    for (chain, at) in plan.chains.iter().zip(0..) {
        text.push_str(if at == 0 { "" } else { "\n" });
        write_chain(&mut text, chain);
    }
    text.push_str("}\n");
    text
}

fn write_chain(text: &mut String, chain: &Chain) {
    let _ = writeln!(text, "\tchain {} {{", chain.name);
    if let Some(hook) = chain.hook {
        let (kind, priority) = place(chain.table, hook);
        let hook = match hook {
            Hook::Prerouting => "prerouting",
            Hook::Output => "output",
        };
        // A number: nft up to 1.0.6 takes the name `dstnat` only in prerouting.
        let _ = writeln!(text, "\t\ttype {kind} hook {hook} priority {priority}; policy accept;");
    }
    for rule in &chain.rules {
        let _ = writeln!(text, "\t\t{}", line(rule));
    }
    text.push_str("\t}\n");
}

/// A rule, as it is also named in errors.
pub(super) fn line(rule: &Rule) -> String {
    let mut words: Vec<String> = rule.when.iter().map(matching).collect();
    if rule.lacks_tcp() {
        words.push("meta l4proto tcp".into());
    }
    words.push(action(rule.then));
    words.join(" ")
}

fn matching(when: &Match) -> String {
    match when {
        Match::NotTcp => "meta l4proto != tcp".into(),
        Match::Uid(uid) => format!("meta skuid {uid}"),
        Match::Mark(mark) => format!("meta mark {mark:#010x}"),
        Match::ConnectionMark(mark) => format!("ct mark {mark:#010x}"),
        Match::InLo => "iif \"lo\"".into(),
        Match::OutLo => "oif \"lo\"".into(),
        Match::NotOutLo => "oif != \"lo\"".into(),
        Match::In(name) => format!("iifname \"{name}\""),
        Match::Out(name) => format!("oifname \"{name}\""),
        Match::From(net) => address(net, "saddr"),
        Match::To(net) => address(net, "daddr"),
        Match::ToPorts(ports) => format!("tcp dport {ports}"),
        Match::ToElsewhere => "fib daddr type != local".into(),
        Match::Reply => "ct direction reply".into(),
        Match::Opening => "tcp flags & (syn | ack) == syn".into(),
    }
}

fn address(net: &IpNet, end: &str) -> String {
    let (family, meta) = match net {
        IpNet::V4(_) => ("ip", "ipv4"),
        IpNet::V6(_) => ("ip6", "ipv6"),
    };
    match net.prefix_len() {
        0 => format!("meta nfproto {meta}"),
        length if length == net.max_prefix_len() => format!("{family} {end} {}", net.addr()),
        _ => format!("{family} {end} {net}"),
    }
}

fn action(then: Action) -> String {
    match then {
        Action::Return => "return".into(),
        Action::Goto(chain) => format!("goto {chain}"),
        Action::Redirect(port) => format!("counter redirect to :{port}"),
        Action::Tproxy(port) => format!("counter tproxy to :{port} accept"),
        Action::Reset => "counter reject with tcp reset".into(),
        Action::SetConnectionMark(mark) => format!("ct mark set {mark:#010x}"),
        Action::SetMark(mark) => format!("meta mark set {mark:#010x}"),
    }
}
