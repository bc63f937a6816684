//! What `outrigger-proxy init` says when it can't do its work, and what it leaves behind.

use super::pod::{OUTSIDE, Pod, Voice, has};
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
