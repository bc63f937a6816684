//! The plan as input for `iptables-restore --noflush`: chains of our own, entered by one rule in
//! each of the built-in ones.
//!
//! What an earlier run made is read from `iptables-save` and taken away in the same input, since a
//! rule that enters our chains would else be there twice. Each table is one transaction.

use std::fmt::Write;

use crate::intercept::plan::{Action, Chain, Hook, Match, Plan, Rule, Table};

const PREFIX: &str = "OUTRIGGER_";
const TABLES: [Table; 2] = [Table::Nat, Table::Mangle];

/// What `iptables` is told (`is_v4`), or `ip6tables`; `saved` is what the latter's `-save` prints.
/// Without a plan everything of ours goes. Empty where there is nothing to do.
pub fn restore(plan: Option<&Plan>, is_v4: bool, saved: &str) -> String {
    let mut text = String::new();
    for table in TABLES {
        let earlier = Earlier::of(table, saved);
        let chains: Vec<&Chain> =
            plan.into_iter().flat_map(|plan| &plan.chains).filter(|c| c.table == table).collect();
        if earlier.is_empty() && chains.is_empty() {
            continue;
        }
        let _ = writeln!(text, "*{}", name(table));
        let gone =
            earlier.chains.iter().filter(|old| !chains.iter().any(|c| chain(c.name) == **old));
        let gone: Vec<&str> = gone.copied().collect();
        // Declaring a chain makes it, or empties it.
        for name in chains.iter().map(|c| chain(c.name)).chain(gone.iter().map(|&s| s.to_owned())) {
            let _ = writeln!(text, ":{name} - [0:0]");
        }
        for line in &earlier.entries {
            let _ = writeln!(text, "-D {line}");
        }
        for (own, rule) in rules(&chains, is_v4) {
            let _ = writeln!(text, "-A {own} {rule}");
        }
        for own in chains.iter().filter(|chain| chain.hook.is_some()) {
            let _ = writeln!(text, "-A {}", entry(own));
        }
        for name in gone {
            let _ = writeln!(text, "-X {name}");
        }
        text.push_str("COMMIT\n");
    }
    text
}

/// What of ours `saved` has, as input that puts it in place of what `now` has. Empty where there is
/// nothing of ours.
pub(super) fn put_back(saved: &str, now: &str) -> String {
    let mut text = restore(None, true, now);
    for table in TABLES {
        let earlier = Earlier::of(table, saved);
        if earlier.is_empty() {
            continue;
        }
        let _ = writeln!(text, "*{}", name(table));
        for name in &earlier.chains {
            let _ = writeln!(text, ":{name} - [0:0]");
        }
        let is_own = |line: &&str| line.starts_with(&format!("-A {PREFIX}"));
        for line in section(table, saved).filter(is_own) {
            let _ = writeln!(text, "{line}");
        }
        for line in &earlier.entries {
            let _ = writeln!(text, "-A {line}");
        }
        text.push_str("COMMIT\n");
    }
    text
}

/// Whether anything there is of ours.
pub(super) fn has_ours(saved: &str) -> bool {
    TABLES.iter().any(|table| !Earlier::of(*table, saved).is_empty())
}

/// How many rules of each of our chains `saved` has and the plan has, where they differ.
///
/// # Errors
/// The first chain whose number of rules is another, in words.
pub(super) fn compare(plan: &Plan, is_v4: bool, saved: &str) -> Result<(), String> {
    for own in &plan.chains {
        let listed = rules(&[own], is_v4).count();
        let begin = format!("-A {} ", chain(own.name));
        let kept = section(own.table, saved).filter(|line| line.starts_with(&begin)).count();
        let entered = own.hook.is_none()
            || section(own.table, saved).any(|line| line == format!("-A {}", entry(own)));
        if kept != listed || !entered {
            let name = chain(own.name);
            return Err(format!("chain {name} was given {listed} rules and has {kept}"));
        }
    }
    Ok(())
}

/// Whether there is any rule at all in the tables that we write to.
pub(super) fn has_rules(saved: &str) -> bool {
    TABLES.iter().any(|table| section(*table, saved).any(|line| line.starts_with("-A ")))
}

/// What is of ours in a table.
struct Earlier<'a> {
    chains: Vec<&'a str>,
    /// Rules of other chains that lead to ours.
    entries: Vec<&'a str>,
}

impl<'a> Earlier<'a> {
    fn of(table: Table, saved: &'a str) -> Self {
        let (mut chains, mut entries) = (Vec::new(), Vec::new());
        for line in section(table, saved) {
            if let Some(rest) = line.strip_prefix(':') {
                let name = rest.split(' ').next().unwrap_or_default();
                chains.extend(name.starts_with(PREFIX).then_some(name));
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let mut words = rule.split(' ');
                let is_ours = words.next().is_some_and(|name| name.starts_with(PREFIX));
                let leads = words.any(|word| word.starts_with(PREFIX));
                entries.extend((leads && !is_ours).then_some(rule));
            }
        }
        Self { chains, entries }
    }

    fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.entries.is_empty()
    }
}

/// The lines of a table.
fn section(table: Table, saved: &str) -> impl Iterator<Item = &str> {
    let head = format!("*{}", name(table));
    saved
        .lines()
        .skip_while(move |line| *line != head)
        .skip(1)
        .take_while(|line| !line.starts_with('*') && *line != "COMMIT")
}

fn name(table: Table) -> &'static str {
    match table {
        Table::Nat => "nat",
        Table::Mangle => "mangle",
    }
}

fn chain(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase())
}

/// The rule by which packets come to one of our chains; written as `iptables-save` writes it.
fn entry(own: &Chain) -> String {
    let built_in = match own.hook {
        Some(Hook::Prerouting) => "PREROUTING",
        Some(Hook::Output) | None => "OUTPUT",
    };
    format!("{built_in} -p tcp -j {}", chain(own.name))
}

/// The rules that concern a family, each with its chain.
fn rules(chains: &[&Chain], is_v4: bool) -> impl Iterator<Item = (String, String)> {
    let of = move |own: &&Chain| {
        let name = chain(own.name);
        let lines = own.rules.iter().filter_map(move |rule| line(rule, is_v4));
        lines.map(move |line| (name.clone(), line)).collect::<Vec<_>>()
    };
    chains.iter().flat_map(of).collect::<Vec<_>>().into_iter()
}

fn line(rule: &Rule, is_v4: bool) -> Option<String> {
    let is_other_family = |when: &Match| when.is_v4().is_some_and(|v4| v4 != is_v4);
    // The way in to our chains lets only TCP in. TPROXY drops by itself what no listener takes, and
    // iptables can't reset before routing.
    let is_needless = rule.when.contains(&Match::NotTcp) || rule.then == Action::Reset;
    if is_needless || rule.when.iter().any(is_other_family) {
        return None;
    }
    let mut words: Vec<String> = rule.when.iter().map(matching).collect();
    if rule.lacks_tcp() {
        words.push("-p tcp".into());
    }
    words.push(action(rule.then, is_v4));
    Some(words.join(" "))
}

fn matching(when: &Match) -> String {
    match when {
        Match::NotTcp => "! -p tcp".into(),
        Match::Uid(uid) => format!("-m owner --uid-owner {uid}"),
        Match::Mark(mark) => format!("-m mark --mark {mark:#x}"),
        Match::ConnectionMark(mark) => format!("-m connmark --mark {mark:#x}"),
        Match::InLo => "-i lo".into(),
        Match::OutLo => "-o lo".into(),
        Match::NotOutLo => "! -o lo".into(),
        Match::In(name) => format!("-i {name}"),
        Match::Out(name) => format!("-o {name}"),
        Match::From(net) => format!("-s {}", net),
        Match::To(net) => format!("-d {}", net),
        Match::ToPorts(ports) => {
            let ports = ports.to_string().replace('-', ":");
            format!("-p tcp -m tcp --dport {ports}")
        }
        Match::ToElsewhere => "-m addrtype ! --dst-type LOCAL".into(),
        Match::Reply => "-m conntrack --ctdir REPLY".into(),
        Match::Opening => "-p tcp -m tcp --tcp-flags SYN,ACK SYN".into(),
    }
}

fn action(then: Action, is_v4: bool) -> String {
    match then {
        Action::Return => "-j RETURN".into(),
        Action::Goto(name) => format!("-g {}", chain(name)),
        Action::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
        Action::Tproxy(port) => {
            let any = if is_v4 { "0.0.0.0" } else { "::" };
            // The mask keeps the mark as it is.
            format!("-j TPROXY --on-port {port} --on-ip {any} --tproxy-mark 0x0/0x0")
        }
        Action::Reset => "-j REJECT --reject-with tcp-reset".into(),
        Action::SetConnectionMark(mark) => format!("-j CONNMARK --set-xmark {mark:#x}/0xffffffff"),
        Action::SetMark(mark) => format!("-j MARK --set-xmark {mark:#x}/0xffffffff"),
    }
}
