//! What `outrigger-proxy init` says when it can't do its work, and what it leaves behind.

use std::io;
use std::os::unix::process::CommandExt;

use super::pod::{APP, Caller, NOWHERE, OUTSIDE, POD, Pod, Voice, at, has};
use crate::harness::host::Host;

/// Runs it, and returns what it says with the code that it leaves with.
fn init(host: &Host, before: &str, arguments: &str) -> String {
    let line = format!("{before} outrigger-proxy init {arguments} || echo left with $?");
    host.shell(&line)
}

#[track_caller]
fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

#[test]
fn rules_that_do_not_work_are_removed_and_the_cause_is_told() {
    let Some(pod) = Pod::new().filter(|_| has("nft")) else { return };
    let rows = [
        ("output priority -300; tcp dport 80", "192.0.2.1:80 did not come to port 15001"),
        ("input priority 0; tcp dport 15006", "10.81.1.1:80 did not come to port 15006"),
    ];
    for (hook, cause) in rows {
        let chain = format!("chain first {{ type filter hook {hook} reject with tcp reset; }}");
        pod.host.folder.write("other", &format!("flush ruleset\ntable inet other {{\n{chain}\n}}"));
        pod.host.shell("nft -f other");
        let before = pod.state();
        for backend in ["nft", "iptables"] {
            let said = init(&pod.host, "", &format!("--backend {backend}"));
            let cause = format!("a connection to {cause}: Connection refused");
            assert_says(&said, &["left with 1", "were removed", &cause]);
            let after = pod.state();
            assert!(!after.to_lowercase().contains("outrigger"), "{after}");
            assert!(backend == "iptables" || after == before, "{after}");
        }
    }
}

/// What is in force, chain by chain in any order, but for those that iptables makes by being asked
/// and leaves empty.
fn rules(pod: &Pod) -> Vec<String> {
    let state = pod.state();
    let is_needless = |table: &&str| {
        let of_iptables = table.starts_with("table ip ") || table.starts_with("table ip6 ");
        of_iptables && !table.contains("OUTRIGGER")
    };
    let tables = state.split("\n}\n").filter(|table| !is_needless(table));
    let chains = tables.flat_map(|table| table.split("\tchain "));
    let mut chains: Vec<_> = chains.map(|chain| chain.trim_matches(['\n', '\t', '}'])).collect();
    chains.sort_unstable();
    chains.into_iter().map(str::to_owned).collect()
}

#[test]
fn rules_of_an_earlier_run_outlive_one_that_fails() {
    let Some(pod) = Pod::new().filter(|_| has("nft")) else { return };
    let other = "table inet other {\nchain first { type filter hook output priority -300; \
                 tcp dport 80 reject with tcp reset; }\n}";
    pod.host.folder.write("other", other);
    let rows = [
        ("nft", "redirect", "nft"),
        ("nft", "tproxy", "nft"),
        ("nft", "redirect", "iptables"),
        ("iptables", "tproxy", "nft"),
        ("iptables", "redirect", "iptables"),
    ];
    for (first, mode, second) in rows {
        let said = init(&pod.host, "", &format!("--mode {mode} --backend {first}"));
        assert!(!said.contains("left with"), "{said}");
        let before = rules(&pod);
        pod.host.shell("nft -f other");
        let said =
            init(&pod.host, "", &format!("--backend {second} --exclude-outbound-ports 9999"));
        assert_says(&said, &["left with 1", "don't work", "in force again"]);
        pod.host.shell("nft delete table inet other");
        assert_eq!(rules(&pod), before, "{first} {mode} {second}");
        init(&pod.host, "", "--undo");
    }
}

#[test]
fn an_address_of_ipv6_may_come_later() {
    for backend in ["nft", "iptables"] {
        let Some(pod) = Pod::new() else { return };
        pod.host.shell("ip -6 address flush dev mesh0");
        let said = init(&pod.host, "", &format!("--backend {backend}"));
        assert_eq!(said.matches("proved: a connection to").count(), 2, "{said}");
        assert!(!said.contains("left with") && !said.contains("would not be caught"), "{said}");
        pod.host.shell(&format!(
            "ip -6 address add {}/64 dev mesh0 nodad\n\
             ip -6 route replace default via {} dev mesh0 onlink",
            POD[1], OUTSIDE[1]
        ));
        let sidecar = Voice::new(&pod.host, 15001, "sidecar", false);
        let app = Caller { uid: APP, ..Caller::default() };
        let heard = app.call(&pod.host, at(NOWHERE[1], 80));
        assert!(heard.starts_with("sidecar"), "{backend}: {heard}");
        drop(sidecar);
    }
}

#[test]
fn the_capability_is_enough_and_its_lack_is_told() {
    let Some(pod) = Pod::new().filter(|_| has("setpriv")) else { return };
    let only = "setpriv --bounding-set=-all,+net_admin --inh-caps=-all";
    let said = init(&pod.host, only, "");
    assert_eq!(said.matches("proved: a connection to").count(), 4, "{said}");
    assert_says(&init(&pod.host, only, "--mode tproxy"), &["proved"]);
    let without = "setpriv --bounding-set=-net_admin --inh-caps=-all";
    for arguments in ["", "--undo"] {
        assert_says(&init(&pod.host, without, arguments), &["left with 1", "NET_ADMIN"]);
    }
    assert!(pod.state().contains("table inet outrigger"), "it changed nothing");
    assert_says(&init(&pod.host, only, "--undo"), &["nothing is intercepted any more"]);
    // Any user may look at what would be done.
    assert_says(&init(&pod.host, without, "--dry-run"), &["table inet outrigger"]);
}

#[test]
fn a_pod_without_a_way_out_is_told_what_follows() {
    let Some(pod) = Pod::new() else { return };
    pod.host.shell("ip route del default\nip -6 route del default");
    let said = init(&pod.host, "", "");
    assert_says(&said, &["warning: outbound is not proved", "192.0.2.1", "ClusterIPs"]);
    assert_eq!(said.matches("proved: a connection to").count(), 2, "inbound is: {said}");
    assert!(!said.contains("left with"), "{said}");
}

#[test]
fn what_can_not_be_proved_is_said() {
    let Some(pod) = Pod::new() else { return };
    let rows = [
        ("--uid 0 --uid 2102", "init runs as user 0"),
        ("--exclude-interfaces mesh0", "which is excluded"),
        ("--include-inbound-ports 15020", "the lists leave no port"),
        ("--exclude-outbound-cidrs 0.0.0.0/0,::/0", "no destination of IPv6"),
    ];
    for (arguments, words) in rows {
        let said = init(&pod.host, "", arguments);
        assert_says(&said, &["warning: ", words, "proved: "]);
        assert!(!said.contains("left with"), "{said}");
    }
    let _running = [15001, 15006].map(|port| Voice::new(&pod.host, port, "sidecar", false));
    let said = init(&pod.host, "", "");
    assert_says(&said, &["warning: port 15001 is not tried", "warning: port 15006 is not tried"]);
}

#[test]
fn a_host_without_ipv6_gets_no_address_of_it() {
    let Some(pod) = Pod::new() else { return };
    let off = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    pod.host.shell(off);
    for mode in ["redirect", "tproxy"] {
        let said = init(&pod.host, "", &format!("--mode {mode}"));
        assert_eq!(said.matches("proved: a connection to").count(), 2, "{said}");
        assert!(!pod.host.shell("ip address").contains("inet6"));
    }
    let said = init(&pod.host, "", "--undo");
    assert!(!said.contains("left with"), "{said}");
}

#[test]
fn a_missing_program_is_named() {
    let Some(pod) = Pod::new() else { return };
    let nothing = "PATH=$(dirname $(command -v outrigger-proxy))";
    let said = init(&pod.host, nothing, "--backend iptables");
    assert_says(&said, &["left with 1", "tables-save is not installed here", "package iptables"]);
    let said = init(&pod.host, nothing, "--backend auto");
    assert_says(&said, &["intercepted by nf_tables", "proved"]);
    assert!(!said.contains("warning"), "no program is needed: {said}");
    assert_says(&init(&pod.host, nothing, "--undo"), &["nothing is intercepted"]);
}

/// From the next program on, this process finds a kernel without nf_tables: there is no socket for
/// it, neither ours nor that of iptables.
fn without_nf_tables() -> io::Result<()> {
    let [nr, domain, protocol] = [0, 16, 32];
    // Whatever is not the number looked for jumps to the end, where everything is allowed.
    let is = |number: libc::c_int, rest: u8| {
        let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        libc::sock_filter { code, jt: 0, jf: rest, k: number as u32 }
    };
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load = |at: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at);
    let end = |verdict: u32| statement(libc::BPF_RET | libc::BPF_K, verdict);
    let mut filter = [
        load(nr),
        is(libc::SYS_socket as libc::c_int, 5),
        load(domain),
        is(libc::AF_NETLINK, 3),
        load(protocol),
        is(libc::NETLINK_NETFILTER, 1),
        end(libc::SECCOMP_RET_ERRNO | libc::EPROTONOSUPPORT as u32),
        end(libc::SECCOMP_RET_ALLOW),
    ];
    let len = filter.len() as libc::c_ushort;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: the program outlives the call, which copies it.
    match unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn a_kernel_without_nf_tables_gets_the_rules_of_the_legacy_iptables() {
    let Some(pod) = Pod::new().filter(|_| has("iptables-legacy-restore")) else { return };
    let init = |arguments: &str| {
        let mut command = pod.host.command(env!("CARGO_BIN_EXE_outrigger-proxy"));
        command.arg("init").args(arguments.split_whitespace());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        // SAFETY: it is one system call, and touches nothing of ours.
        unsafe { command.pre_exec(without_nf_tables) };
        let output = command.output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let listed = || {
        pod.host.shell("iptables-legacy-save; ip6tables-legacy-save").matches("OUTRIGGER").count()
    };
    // `iptables` is the other kind on most systems.
    for arguments in ["", "--backend iptables", "--backend auto --mode tproxy"] {
        let (code, said) = init(arguments);
        assert_eq!(code, Some(0), "{arguments}: {said}");
        assert_says(&said, &["intercepted by iptables", "proved: a connection to"]);
        assert!(listed() > 0, "{arguments}: {said}");
    }
    let (code, said) = init("--backend nft");
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &["does not take rules of nf_tables", "in force again"]);
    assert!(listed() > 0, "what there was stays: {said}");
    let (code, said) = init("--undo");
    assert_eq!((code, listed()), (Some(0), 0), "{said}");
}

#[test]
fn wrong_usage_changes_nothing() {
    let Some(pod) = Pod::new().filter(|_| has("nft")) else { return };
    let before = pod.state();
    let said = init(
        &pod.host,
        "",
        &format!("--mode x --uid app --exclude-outbound-cidrs {}/99", OUTSIDE[0]),
    );
    assert_says(&said, &["--mode", "--uid", "--exclude-outbound-cidrs", "left with 2"]);
    assert_eq!(pod.state(), before);
}
