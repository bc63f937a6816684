//! What `outrigger-proxy init` catches and what it leaves alone, in both families, by every backend.
//!
//! Each scenario is a network namespace with the real binary's rules and real connections.

use super::pod::{
    APP, APP_LEG, Caller, LOCALHOST, MARK, NOWHERE, OUTSIDE, POD, Pod, SIDECAR, Voice, at, has,
};
use crate::harness::host::Host;

/// Puts the legacy kind of iptables in the place of the other.
const LEGACY: &str = "mkdir -p legacy\nfor name in iptables ip6tables; do for verb in save restore; do\n\
     ln -sf /usr/sbin/$name-legacy-$verb legacy/$name-$verb\ndone; done\n\
     PATH=$PWD/legacy:$PATH outrigger-proxy init --backend iptables";

/// Calls, and compares who answered with who should have.
#[track_caller]
fn expect(host: &Host, caller: Caller<'_>, to: (&str, u16), answer: &str) {
    let (ip, port) = to;
    let from = caller.from.map(|from| format!(" from {from}")).unwrap_or_default();
    let who = format!("{}{from} calls {}", caller.uid, at(ip, port));
    let said = caller.call(host, at(ip, port));
    assert!(said.starts_with(answer), "{who}: answered by {said:?}, not {answer:?}");
}

fn user(uid: u32) -> Caller<'static> {
    Caller { uid, ..Caller::default() }
}

/// Everything that holds when no list says otherwise.
fn without_lists(pod: &Pod) {
    let _voices = pod.voices();
    let _other = Voice::new(&pod.outside, 8080, "other", false);
    let (app, sidecar) = (user(APP), user(SIDECAR));
    for family in [0, 1] {
        let (own, there) = (POD[family], OUTSIDE[family]);
        let (here, leg) = (LOCALHOST[family], APP_LEG[family]);
        let host = &pod.host;
        let own_app = at(own, 8080);
        // Outbound.
        for (ip, port) in [(there, 8080), (there, 22), (NOWHERE[family], 443), (there, 15006)] {
            let caught = format!("outbound {} from", at(ip, port));
            expect(host, app, (ip, port), &caught);
            expect(host, user(0), (ip, port), &caught);
        }
        expect(host, sidecar, (there, 8080), &format!("other direct from {own}"));
        // The pod itself.
        expect(host, app, (here, 8080), &format!("app direct from {here}"));
        expect(host, sidecar, (here, 8080), &format!("app direct from {here}"));
        expect(host, app, (own, 8080), &format!("outbound {own_app} from"));
        expect(host, sidecar, (own, 8080), &format!("inbound {own_app} from"));
        expect(host, sidecar, (own, 15020), &format!("probes direct from {own}"));
        // The last leg to the app, which only the sidecar can take.
        for to in [own, here] {
            let leg_from = Caller { from: Some(leg), ..sidecar };
            expect(host, leg_from, (to, 8080), &format!("app direct from {leg}"));
        }
        let marked = Caller { mark: Some(MARK), ..sidecar };
        expect(host, marked, (own, 8080), &format!("app direct from {own}"));
        let posing = Caller { from: Some(leg), mark: Some(MARK), ..app };
        expect(host, posing, (own, 8080), &format!("outbound {own_app} from"));
        // Inbound.
        for port in [8080, 22] {
            let caught = format!("inbound {} from {there}", at(own, port));
            expect(&pod.outside, app, (own, port), &caught);
        }
        for (port, name) in [(15001, "outbound"), (15006, "inbound"), (15020, "probes")] {
            expect(&pod.outside, app, (own, port), &format!("{name} direct from {there}"));
        }
        expect(&pod.outside, app, (own, 15000), "ConnectionRefused");
    }
}

#[test]
fn everything_is_caught_but_what_is_the_pods_own() {
    let Some(pod) = Pod::new() else { return };
    let said = pod.init("--backend nft");
    assert_eq!(said.matches("proved: a connection to").count(), 4, "{said}");
    without_lists(&pod);
}

#[test]
fn iptables_catches_the_same() {
    let Some(pod) = Pod::new().filter(|_| has("iptables-restore") && has("nft")) else { return };
    let said = pod.init("--backend iptables");
    assert_eq!(said.matches("proved: a connection to").count(), 4, "{said}");
    without_lists(&pod);
    // Another backend takes over, and nothing is caught twice.
    pod.init("--backend nft");
    assert!(!pod.state().contains("OUTRIGGER"), "{}", pod.state());
    without_lists(&pod);
    pod.init("--backend iptables");
    assert!(!pod.state().contains("inet outrigger"), "{}", pod.state());
    without_lists(&pod);
    pod.init("--undo");
    assert!(!pod.state().to_lowercase().contains("outrigger"), "{}", pod.state());
}

#[test]
fn the_legacy_iptables_catches_the_same_and_is_not_mixed() {
    let Some(pod) = Pod::new().filter(|_| has("iptables-legacy-restore")) else { return };
    pod.host.shell(LEGACY);
    without_lists(&pod);
    let rules = "iptables-legacy-save; ip6tables-legacy-save";
    let listed = pod.host.shell(rules).matches("-A OUTRIGGER_OUTPUT ").count();
    // The kind whose rules are there is used, whichever is called iptables.
    pod.init("--backend iptables");
    assert_eq!(pod.host.shell(rules).matches("-A OUTRIGGER_OUTPUT ").count(), listed);
    assert_eq!(pod.host.shell("iptables-nft-save").matches("OUTRIGGER").count(), 0);
    without_lists(&pod);
    pod.init("--undo");
    assert_eq!(pod.host.shell(rules).matches("OUTRIGGER").count(), 0);
    // It may be the only kind that is installed, and have no surname.
    let alone = "PATH=$PWD/legacy:${PATH%%:*}";
    let init = "outrigger-proxy init --backend iptables";
    for arguments in ["", "", "--undo"] {
        pod.host.shell(&format!("{alone} {init} {arguments}"));
        let count = if arguments.is_empty() { listed } else { 0 };
        assert_eq!(pod.host.shell(rules).matches("-A OUTRIGGER_OUTPUT ").count(), count);
    }
    // Where rules of both kinds are there already, ours would have to be mixed.
    pod.host
        .shell("iptables-legacy -t nat -A INPUT -j ACCEPT\niptables-nft -t nat -A INPUT -j ACCEPT");
    let said = pod.host.shell("outrigger-proxy init --backend iptables || echo left with $?");
    assert!(said.contains("both kinds") && said.contains("left with 1"), "{said}");
}

#[test]
fn without_a_sidecar_nothing_slips_through() {
    let Some(pod) = Pod::new() else { return };
    let _app = Voice::new(&pod.host, 8080, "app", false);
    let _other = Voice::new(&pod.outside, 8080, "other", false);
    pod.init("");
    for family in [0, 1] {
        expect(&pod.outside, user(APP), (POD[family], 8080), "ConnectionRefused");
        expect(&pod.host, user(APP), (OUTSIDE[family], 8080), "ConnectionRefused");
        expect(&pod.host, user(APP), (POD[family], 8080), "ConnectionRefused");
        expect(&pod.host, user(SIDECAR), (POD[family], 8080), "ConnectionRefused");
    }
}

#[test]
fn lists_may_be_long() {
    let Some(pod) = Pod::new() else { return };
    let ports: Vec<String> = (1..5000).map(|n| (n * 2).to_string()).collect();
    pod.init(&format!("--backend nft --exclude-outbound-ports {}", ports.join(",")));
    let _voices = pod.voices();
    let _others = [80, 9998].map(|port| Voice::new(&pod.outside, port, "other", false));
    expect(&pod.host, user(APP), (OUTSIDE[0], 80), "other");
    expect(&pod.host, user(APP), (OUTSIDE[1], 9998), "other");
    expect(&pod.host, user(APP), (OUTSIDE[0], 81), "outbound");
}

/// Rows of what is caught, with the lists of `arguments`, by each backend.
#[track_caller]
fn with_lists(arguments: &str, rows: impl Fn(&Pod)) {
    let Some(pod) = Pod::new() else { return };
    let _voices = pod.voices();
    let _others = [22, 80, 8005, 8080].map(|port| Voice::new(&pod.outside, port, "other", false));
    for backend in ["nft", "iptables"] {
        if backend == "nft" || has("iptables-restore") {
            // The ports are taken, so that there is nothing to prove.
            pod.init(&format!("--no-check --backend {backend} {arguments}"));
            rows(&pod);
        }
    }
}

#[test]
fn excluded_ports_are_left_alone() {
    let lists = "--exclude-outbound-ports 22,8000-8010 --exclude-inbound-ports 8080,9000-9001";
    with_lists(lists, |pod| {
        for family in [0, 1] {
            let (own, there) = (POD[family], OUTSIDE[family]);
            for (port, answer) in [(22, "other"), (8005, "other"), (80, "outbound")] {
                expect(&pod.host, user(APP), (there, port), answer);
            }
            for (port, answer) in [(8080, "app direct"), (9001, "Conn"), (9002, "inbound")] {
                expect(&pod.outside, user(APP), (own, port), answer);
                // What the sidecar sends to the pod takes the same way.
                expect(&pod.host, user(SIDECAR), (own, port), answer);
            }
        }
    });
}

#[test]
fn excluded_networks_are_left_alone() {
    with_lists("--exclude-outbound-cidrs 10.81.1.0/24,fd81:1::2", |pod| {
        for family in [0, 1] {
            expect(&pod.host, user(APP), (OUTSIDE[family], 80), "other direct");
            expect(&pod.host, user(APP), (NOWHERE[family], 80), "outbound");
            expect(&pod.outside, user(APP), (POD[family], 80), "inbound");
        }
        // The pod's own address is in the first network and not in the second.
        expect(&pod.host, user(APP), (POD[0], 8080), "app direct");
        expect(&pod.host, user(APP), (POD[1], 8080), "outbound");
    });
}

#[test]
fn excluded_interfaces_are_left_alone() {
    with_lists("--exclude-interfaces eth7,mesh0", |pod| {
        for family in [0, 1] {
            expect(&pod.host, user(APP), (OUTSIDE[family], 80), "other direct");
            expect(&pod.outside, user(APP), (POD[family], 8080), "app direct");
            expect(&pod.host, user(APP), (POD[family], 8080), "outbound");
            expect(&pod.host, user(SIDECAR), (POD[family], 8080), "inbound");
        }
    });
}

#[test]
fn only_what_is_included_is_caught() {
    let networks = "--include-outbound-cidrs 10.81.99.0/24,fd81:99::/32,10.81.1.2,fd81:1::2";
    let ports = "--include-outbound-ports 22,8000-8010 --include-inbound-ports 8080,9000-9001";
    with_lists(&format!("{networks} {ports} --exclude-outbound-ports 8005"), |pod| {
        for family in [0, 1] {
            let (own, there) = (POD[family], OUTSIDE[family]);
            for (port, answer) in [(22, "outbound"), (8005, "other"), (80, "other")] {
                expect(&pod.host, user(APP), (there, port), answer);
            }
            expect(&pod.host, user(APP), (NOWHERE[family], 8000), "outbound");
            expect(&pod.host, user(APP), (own, 8080), "app direct");
            for (port, answer) in [(8080, "inbound"), (9001, "inbound"), (22, "Conn")] {
                expect(&pod.outside, user(APP), (own, port), answer);
            }
        }
    });
}

#[test]
fn other_users_and_ports_may_be_the_sidecars() {
    let Some(pod) = Pod::new() else { return };
    pod.init("--uid 1001 --uid 1002 --outbound-port 4001 --inbound-port 4006");
    let _voices = [(4001, "outbound"), (4006, "inbound"), (15006, "app")]
        .map(|(port, name)| Voice::new(&pod.host, port, name, false));
    let _other = Voice::new(&pod.outside, 80, "other", false);
    for family in [0, 1] {
        let (own, there) = (POD[family], OUTSIDE[family]);
        for (uid, answer) in [(1001, "other"), (1002, "other"), (2102, "outbound")] {
            expect(&pod.host, user(uid), (there, 80), answer);
        }
        expect(&pod.host, user(1002), (own, 80), "inbound");
        expect(&pod.outside, user(APP), (own, 15006), "inbound");
        expect(&pod.outside, user(APP), (own, 4001), "outbound direct");
    }
}

#[test]
fn names_are_asked_for_past_the_sidecar() {
    let Some(pod) = Pod::new() else { return };
    pod.init("");
    let _name_server = Voice::new(&pod.outside, 53, "names", false);
    for family in [0, 1] {
        expect(&pod.host, user(APP), (OUTSIDE[family], 53), "names");
        let name_server = pod.outside.on(|| std::net::UdpSocket::bind(at(OUTSIDE[family], 53)));
        let name_server = name_server.expect("the port is free");
        let asking = pod.host.on(|| {
            let socket = std::net::UdpSocket::bind(at(POD[family], 0))?;
            socket.send_to(b"who?", at(OUTSIDE[family], 53))
        });
        assert_eq!(asking.expect("it is sent"), 4);
        let soon = Some(std::time::Duration::from_secs(3));
        name_server.set_read_timeout(soon).expect("a socket can");
        let (_, from) = name_server.recv_from(&mut [0; 16]).expect("the question arrives");
        assert_eq!(from.ip().to_string(), POD[family]);
    }
}

#[test]
fn running_twice_is_running_once_and_undo_restores() {
    let Some(pod) = Pod::new().filter(|_| has("nft")) else { return };
    // What others made stays.
    pod.host.shell("nft add table inet mine\nnft add chain inet mine kept");
    let before = pod.state();
    pod.init("--undo");
    assert_eq!(pod.state(), before, "there is nothing to undo");
    for arguments in ["", "--mode tproxy", "--exclude-outbound-ports 1-9 --no-check"] {
        pod.init(arguments);
        let once = pod.state();
        assert_ne!(once, before);
        pod.init(arguments);
        assert_eq!(pod.state(), once, "{arguments}");
    }
    let redirected = pod.state();
    pod.init("--mode tproxy");
    pod.init("--exclude-outbound-ports 1-9");
    assert_eq!(pod.state(), redirected, "of one mode nothing is left in the other");
    pod.init("--undo");
    assert_eq!(pod.state(), before);
    pod.init("--undo");
    assert_eq!(pod.state(), before);
}

#[test]
fn what_is_printed_is_what_is_done() {
    let Some(pod) = Pod::new().filter(|_| has("nft")) else { return };
    let before = pod.state();
    let lists = "--include-outbound-cidrs 10.0.0.0/7,fd80::/9,0.0.0.0/0,::/0,10.1.1.1,fd81::1 \
         --exclude-outbound-cidrs 10.9.0.0/16,fd81:9::/57 --include-outbound-ports 80,1000-2000 \
         --exclude-outbound-ports 1500 --include-inbound-ports 80,81-90 \
         --exclude-inbound-ports 88 --exclude-interfaces eth7,net1.12 --uid 1 --uid 4294967294";
    for arguments in [lists, "--mode tproxy", ""] {
        let script = pod.init(&format!("--dry-run {arguments}"));
        assert_eq!(pod.state(), before, "a dry run does nothing");
        pod.init(&format!("--no-check {arguments}"));
        let done = pod.state();
        pod.init("--undo");
        pod.host.folder.write("script", &script);
        // What is not rules of nft is a command for `ip`.
        pod.host.shell("nft -f script\nsed -n 's/^# ip/ip/p' script > commands\nsh -eu commands");
        assert_eq!(pod.state(), done);
        pod.init("--undo");
        assert_eq!(pod.state(), before);
    }
}

#[test]
fn a_transparent_sidecar_sees_clients_and_can_show_them_to_the_app() {
    let Some(pod) = Pod::new() else { return };
    for backend in ["nft", "iptables"] {
        if backend == "iptables" && !has("iptables-restore") {
            continue;
        }
        pod.init(&format!("--mode tproxy --backend {backend} --exclude-inbound-ports 9090"));
        let _app = [(8080, "app"), (9090, "excluded"), (15001, "outbound")]
            .map(|(port, name)| Voice::new(&pod.host, port, name, false));
        let _other = Voice::new(&pod.outside, 8080, "other", false);
        // A setting that would make marked packets look spoofed.
        for valid_mark in [0, 1] {
            let all = "/proc/sys/net/ipv4/conf/all";
            pod.host.shell(&format!(
                "echo {valid_mark} > {all}/src_valid_mark\necho {valid_mark} > {all}/rp_filter"
            ));
            transparently(&pod);
        }
        for family in [0, 1] {
            // Nobody takes them: they must not slip through to the app.
            let said = user(APP).call(&pod.outside, at(POD[family], 8080));
            let expected = if backend == "nft" { "ConnectionRefused" } else { "TimedOut" };
            assert_eq!(said, expected, "by {backend}");
        }
    }
}

fn transparently(pod: &Pod) {
    let _inbound = Voice::new(&pod.host, 15006, "inbound", true);
    for family in [0, 1] {
        let (own, there) = (POD[family], OUTSIDE[family]);
        let own_app = at(own, 8080);
        let caught = format!("inbound {own_app} from {there}");
        expect(&pod.outside, user(APP), (own, 8080), &caught);
        expect(&pod.outside, user(APP), (own, 9090), "excluded direct");
        expect(&pod.outside, user(APP), (own, 15001), "outbound direct");
        expect(&pod.host, user(APP), (there, 8080), "outbound");
        expect(&pod.host, user(SIDECAR), (there, 8080), &format!("other direct from {own}"));
        expect(&pod.host, user(SIDECAR), (own, 8080), &format!("inbound {own_app} from {own}"));
        let posing = Caller { from: Some(there), mark: Some(MARK), uid: SIDECAR };
        expect(&pod.host, posing, (own, 8080), &format!("app direct from {there}"));
    }
}
