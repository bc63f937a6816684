//! The plan as `nft` reads it, and as the kernel does. That the two are the same is shown where
//! there is a kernel to ask, by the scenarios in network namespaces.

use super::{encode, is_absent, objects, script};
use crate::intercept::netlink::{Attributes, Netlink, Request, attributes};
use crate::intercept::plan::{Action, Match, Plan, Rule};
use crate::intercept::settings::{Mode, Settings, network};

const REDIRECT: &str = "table inet outrigger
delete table inet outrigger
table inet outrigger {
	chain output {
		type nat hook output priority -100; policy accept;
		meta l4proto != tcp return
		meta skuid 2102 goto sidecar
		ip daddr 127.0.0.0/8 return
		ip6 daddr ::1 return
		ip6 daddr ::6 return
		ip6 daddr fe80::/10 return
		tcp dport 53 return
		goto outbound
	}

	chain outbound {
		meta l4proto tcp counter redirect to :15001
	}

	chain sidecar {
		oif != \"lo\" return
		ip daddr 127.0.0.0/8 return
		ip6 daddr ::1 return
		ip6 daddr ::6 return
		ip saddr 127.0.0.6 return
		ip6 saddr ::6 return
		meta mark 0x00006f72 return
		goto inbound
	}

	chain inbound {
		tcp dport 15000 return
		tcp dport 15001 return
		tcp dport 15006 return
		tcp dport 15020 return
		meta l4proto tcp counter redirect to :15006
	}

	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		meta l4proto != tcp return
		iif \"lo\" return
		fib daddr type != local return
		goto inbound
	}
}
";

/// What lists and the other mode make different.
const TPROXY: &str = "
		oifname \"net1\" return
		tcp dport 22 return
		tcp dport 8000-8010 return
		ip daddr 10.9.0.0/16 return
		tcp dport 80 goto outbound
	}

	chain outbound {
		ip daddr 10.0.0.0/8 meta l4proto tcp counter redirect to :15001
		meta nfproto ipv6 meta l4proto tcp counter redirect to :15001
	}
";
const ARRIVING: &str = "
		tcp dport 15020 return
		tcp dport 9050 return
		tcp dport 8080 counter redirect to :15006
	}

	chain arriving {
		type filter hook prerouting priority -150; policy accept;
		iif \"lo\" meta mark 0x00006f72 ct mark set 0x00006f72
		meta l4proto != tcp return
		iif \"lo\" return
		iifname \"net1\" return
		fib daddr type != local return
		ct direction reply return
		goto transparent
	}

	chain transparent {
		tcp dport 15000 return
		tcp dport 15001 return
		tcp dport 15006 return
		tcp dport 15020 return
		tcp dport 9050 return
		tcp dport 8080 goto caught
	}

	chain caught {
		meta l4proto tcp counter tproxy to :15006 accept
		tcp flags & (syn | ack) == syn counter reject with tcp reset
	}

	chain replies {
		type route hook output priority -150; policy accept;
		meta l4proto != tcp return
		ct direction reply ct mark 0x00006f72 meta mark set 0x00006f72
	}
}
";

fn with_lists() -> Settings {
    let nets = |texts: &[&str]| texts.iter().map(|text| network(text).expect("legal")).collect();
    let ports = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("legal")).collect();
    Settings {
        mode: Mode::Tproxy,
        include_outbound: nets(&["10.0.0.0/8", "::/0"]),
        exclude_outbound: nets(&["10.9.0.0/16"]),
        include_outbound_ports: ports(&["80"]),
        exclude_outbound_ports: ports(&["22", "8000-8010"]),
        include_inbound_ports: ports(&["8080"]),
        exclude_inbound_ports: ports(&["9050"]),
        exclude_interfaces: vec!["net1".into()],
        ..Settings::default()
    }
}

#[test]
fn without_lists_everything_is_redirected() {
    assert_eq!(script(&Plan::of(&Settings::default(), false)), REDIRECT);
}

#[test]
fn lists_and_the_transparent_mode_stand_where_they_must() {
    let text = script(&Plan::of(&with_lists(), false));
    for part in [TPROXY, ARRIVING] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("chain prerouting"), "{text}");
}

#[test]
fn the_probe_has_a_way_in_only_while_it_is_asked_for() {
    let texts = [false, true].map(|is_probed| script(&Plan::of(&with_lists(), is_probed)));
    let rule = "\t\tmeta mark 0x00006f70 goto inbound\n";
    assert_eq!(texts[1].replacen(rule, "", 1), texts[0]);
    assert!(!texts[0].contains(rule));
}

/// The names of a rule's steps.
fn steps(rule: &Rule) -> Vec<String> {
    let plan = Plan::of(&Settings::default(), false);
    let encoded = encode::rule(&plan.chains[0], rule);
    let list = attributes(encoded.as_slice()).find(|(kind, _)| kind & 0x7fff == 4);
    let (_, list) = list.expect("a rule has a list of expressions");
    let name = |(_, step): (u16, &[u8])| {
        let (_, name) = attributes(step).find(|(kind, _)| *kind == 1).expect("it has a name");
        String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()
    };
    attributes(list).map(name).collect()
}

#[test]
fn a_rule_is_steps() {
    let ports = |text: &str| Match::ToPorts(text.parse().expect("legal"));
    let to = |text: &str| Match::To(network(text).expect("legal"));
    let rows: [(Vec<Match>, Action, &str); 6] = [
        (vec![Match::NotTcp], Action::Return, "meta cmp immediate"),
        (vec![to("::/0")], Action::Return, "meta cmp immediate"),
        (vec![to("fd00::/8")], Action::Return, "meta cmp payload bitwise cmp immediate"),
        (vec![to("10.1.1.1")], Action::Goto("x"), "meta cmp payload cmp immediate"),
        (vec![ports("1-2")], Action::Redirect(3), "meta cmp payload range counter immediate redir"),
        (vec![], Action::Tproxy(3), "meta cmp counter immediate tproxy immediate"),
    ];
    for (when, then, expected) in rows {
        let rule = Rule { when, then };
        assert_eq!(steps(&rule).join(" "), expected, "{rule:?}");
    }
}

#[test]
fn what_is_sent_is_named_for_whoever_reads_a_refusal() {
    let sent = objects(&Plan::of(&Settings::default(), false));
    let abouts: Vec<&str> = sent.iter().map(|object| object.about.as_str()).collect();
    assert!(abouts.contains(&"chain sidecar"), "{abouts:?}");
    assert!(abouts.contains(&"inbound: tcp dport 15020 return"), "{abouts:?}");
}

#[test]
fn a_kernel_without_this_part_of_netfilter_is_known_by_its_answer() {
    // Of a part that no kernel has, as of one that this kernel might lack.
    let kind = 0xff << 8 | u16::try_from(libc::NFT_MSG_GETCHAIN).expect("a small number");
    let head = super::head(0);
    let (flags, attributes) = (libc::NLM_F_DUMP, Attributes::default());
    let request = Request { kind, flags, head, attributes, about: "the chains".into() };
    let socket = Netlink::open(libc::NETLINK_NETFILTER).expect("this kernel has netfilter");
    let refusal = socket.call(&[request]).expect_err("there is no such part");
    match refusal.error.raw_os_error() {
        Some(libc::EPERM) => assert!(!is_absent(&refusal), "it needs NET_ADMIN to be asked"),
        code => assert_eq!((code, is_absent(&refusal)), (Some(libc::EINVAL), true)),
    }
}
