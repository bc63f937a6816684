//! The plan as nf_tables' own messages: a rule is a list of small steps that load something into
//! register 1, compare it, and act.
//!
//! Numbers of attributes and keys are those of Linux' `nf_tables.h`, which are part of its
//! interface and never change; the steps are in the order in which `nft` itself writes them, so
//! that it can show our rules as it shows its own.

use ipnet::IpNet;

use super::{TABLE, place};
use crate::intercept::netlink::Attributes;
use crate::intercept::plan::{Action, Chain, Hook, Match, Rule};

const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
/// Numbers that `libc` has as signed ones.
const META_MARK: u32 = libc::NFT_META_MARK as u32;
const META_L4PROTO: u32 = libc::NFT_META_L4PROTO as u32;
const CT_MARK: u32 = libc::NFT_CT_MARK as u32;
const NETWORK_HEADER: u32 = libc::NFT_PAYLOAD_NETWORK_HEADER as u32;
const TRANSPORT_HEADER: u32 = libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32;
/// The first interface of every network namespace.
const LO: u32 = 1;
const TCP: &[u8] = &[libc::IPPROTO_TCP as u8];
/// The bits of TCP's flags, and the byte of its header that has them.
const SYN: u8 = 2;
const ACK: u8 = 16;
const FLAGS_AT: u32 = 13;
/// Where TCP's destination port is.
const PORT_AT: u32 = 2;
const ROUTE_LOCAL: u32 = libc::RTN_LOCAL as u32;

/// Steps of one rule.
#[derive(Default)]
struct Steps(Attributes);

/// What a chain is made of: table, name, hook, policy, type.
pub(super) const OF_CHAINS: [u16; 5] = [1, 3, 4, 5, 7];
/// What a rule is made of: table, chain, steps.
pub(super) const OF_RULES: [u16; 3] = [1, 2, 4];

/// The attributes that name our table.
pub(super) fn table() -> Attributes {
    Attributes::default().text(1, TABLE)
}

pub(super) fn chain(chain: &Chain) -> Attributes {
    let named = table().text(3, chain.name);
    let Some(hook) = chain.hook else { return named };
    let (kind, priority) = place(chain.table, hook);
    let number = match hook {
        Hook::Prerouting => libc::NF_INET_PRE_ROUTING,
        Hook::Output => libc::NF_INET_LOCAL_OUT,
    };
    let hook = Attributes::default()
        .number(1, number.unsigned_abs())
        .bytes(2, &i32::from(priority).to_be_bytes());
    named.nest(4, &hook).number(5, libc::NF_ACCEPT.unsigned_abs()).text(7, kind)
}

pub(super) fn rule(chain: &Chain, rule: &Rule) -> Attributes {
    let mut steps = Steps::default();
    let mut knows_tcp = false;
    for when in &rule.when {
        if when.names_tcp() && !knows_tcp {
            steps = steps.meta(META_L4PROTO, TCP);
            knows_tcp = true;
        }
        steps = steps.matching(when);
    }
    if rule.lacks_tcp() {
        steps = steps.meta(META_L4PROTO, TCP);
    }
    steps = steps.action(rule.then);
    table().text(2, chain.name).nest(4, &steps.0)
}

impl Steps {
    fn step(self, name: &str, data: &Attributes) -> Self {
        Self(self.0.nest(1, &Attributes::default().text(1, name).nest(2, data)))
    }

    /// Compares the register; `op` is one of `NFT_CMP_*`.
    fn compare(self, op: libc::c_int, value: &[u8]) -> Self {
        let data = Attributes::default().number(1, REGISTER).number(2, op.unsigned_abs());
        self.step("cmp", &data.nest(3, &Attributes::default().bytes(1, value)))
    }

    fn equals(self, value: &[u8]) -> Self {
        self.compare(libc::NFT_CMP_EQ, value)
    }

    fn differs(self, value: &[u8]) -> Self {
        self.compare(libc::NFT_CMP_NEQ, value)
    }

    fn load_meta(self, key: u32) -> Self {
        self.step("meta", &Attributes::default().number(2, key).number(1, REGISTER))
    }

    fn load_ct(self, key: libc::c_int) -> Self {
        self.step("ct", &Attributes::default().number(2, key.unsigned_abs()).number(1, REGISTER))
    }

    fn load_payload(self, header: u32, offset: u32, length: u32) -> Self {
        let data = Attributes::default().number(1, REGISTER).number(2, header);
        self.step("payload", &data.number(3, offset).number(4, length))
    }

    fn mask(self, mask: &[u8]) -> Self {
        let value = |bytes: &[u8]| Attributes::default().bytes(1, bytes);
        let length = u32::try_from(mask.len()).expect("an address at most");
        let data = Attributes::default().number(1, REGISTER).number(2, REGISTER).number(3, length);
        self.step("bitwise", &data.nest(4, &value(mask)).nest(5, &value(&vec![0; mask.len()])))
    }

    fn meta(self, key: u32, value: &[u8]) -> Self {
        self.load_meta(key).equals(value)
    }

    fn matching(self, when: &Match) -> Self {
        let meta = |key: libc::c_int| key.unsigned_abs();
        let lo = LO.to_ne_bytes();
        match when {
            Match::NotTcp => self.load_meta(META_L4PROTO).differs(TCP),
            Match::Uid(uid) => self.meta(meta(libc::NFT_META_SKUID), &uid.to_ne_bytes()),
            Match::Mark(mark) => self.meta(META_MARK, &mark.to_ne_bytes()),
            Match::ConnectionMark(mark) => {
                self.load_ct(libc::NFT_CT_MARK).equals(&mark.to_ne_bytes())
            }
            Match::InLo => self.meta(meta(libc::NFT_META_IIF), &lo),
            Match::OutLo => self.meta(meta(libc::NFT_META_OIF), &lo),
            Match::NotOutLo => self.load_meta(meta(libc::NFT_META_OIF)).differs(&lo),
            Match::In(name) => self.meta(meta(libc::NFT_META_IIFNAME), &padded(name)),
            Match::Out(name) => self.meta(meta(libc::NFT_META_OIFNAME), &padded(name)),
            Match::From(net) => self.address(net, [12, 8]),
            Match::To(net) => self.address(net, [16, 24]),
            Match::ToPorts(ports) => {
                let loaded = self.load_payload(TRANSPORT_HEADER, PORT_AT, 2);
                let [first, last] = [ports.first, ports.last].map(u16::to_be_bytes);
                if first == last { loaded.equals(&first) } else { loaded.range(&first, &last) }
            }
            Match::ToElsewhere => {
                // The type of the destination's route.
                let data = Attributes::default().number(3, 2).number(2, 3).number(1, REGISTER);
                self.step("fib", &data).differs(&ROUTE_LOCAL.to_ne_bytes())
            }
            Match::Reply => self.load_ct(libc::NFT_CT_DIRECTION).equals(&[1]),
            Match::Opening => {
                let loaded = self.load_payload(TRANSPORT_HEADER, FLAGS_AT, 1);
                loaded.mask(&[SYN | ACK]).equals(&[SYN])
            }
        }
    }

    fn range(self, first: &[u8], last: &[u8]) -> Self {
        let value = |bytes: &[u8]| Attributes::default().bytes(1, bytes);
        let data = Attributes::default().number(1, REGISTER).number(2, 0);
        self.step("range", &data.nest(3, &value(first)).nest(4, &value(last)))
    }

    /// `at`: where the address is in a header of IPv4 and of IPv6.
    fn address(self, net: &IpNet, at: [u32; 2]) -> Self {
        let (family, at, length, value, mask) = match net {
            IpNet::V4(net) => {
                let value = net.network().octets().to_vec();
                (libc::NFPROTO_IPV4, at[0], 4, value, net.netmask().octets().to_vec())
            }
            IpNet::V6(net) => {
                let value = net.network().octets().to_vec();
                (libc::NFPROTO_IPV6, at[1], 16, value, net.netmask().octets().to_vec())
            }
        };
        let family = [u8::try_from(family).expect("a small number")];
        let known = self.meta(libc::NFT_META_NFPROTO.unsigned_abs(), &family);
        if net.prefix_len() == 0 {
            return known;
        }
        let loaded = known.load_payload(NETWORK_HEADER, at, length);
        let is_host = net.prefix_len() == net.max_prefix_len();
        if is_host { loaded.equals(&value) } else { loaded.mask(&mask).equals(&value) }
    }

    fn action(self, then: Action) -> Self {
        let port = |port: u16| port.to_be_bytes();
        match then {
            Action::Return => self.verdict(libc::NFT_RETURN, None),
            Action::Goto(chain) => self.verdict(libc::NFT_GOTO, Some(chain)),
            Action::Redirect(to) => {
                let loaded = self.counter().load(&port(to));
                loaded.step("redir", &Attributes::default().number(1, REGISTER))
            }
            Action::Tproxy(to) => {
                let loaded = self.counter().load(&port(to));
                // Of either family.
                let data = Attributes::default().number(1, 0).number(3, REGISTER);
                loaded.step("tproxy", &data).verdict(libc::NF_ACCEPT, None)
            }
            // With a TCP reset.
            Action::Reset => self.counter().step("reject", &Attributes::default().number(1, 1)),
            Action::SetConnectionMark(mark) => {
                let data = Attributes::default().number(2, CT_MARK).number(4, REGISTER);
                self.load(&mark.to_ne_bytes()).step("ct", &data)
            }
            Action::SetMark(mark) => {
                let data = Attributes::default().number(2, META_MARK).number(3, REGISTER);
                self.load(&mark.to_ne_bytes()).step("meta", &data)
            }
        }
    }

    fn counter(self) -> Self {
        self.step("counter", &Attributes::default())
    }

    fn load(self, value: &[u8]) -> Self {
        let data = Attributes::default().number(1, REGISTER);
        self.step("immediate", &data.nest(2, &Attributes::default().bytes(1, value)))
    }

    fn verdict(self, code: libc::c_int, chain: Option<&str>) -> Self {
        let mut verdict = Attributes::default().bytes(1, &code.to_be_bytes());
        if let Some(chain) = chain {
            verdict = verdict.text(2, chain);
        }
        let data = Attributes::default().number(1, VERDICT);
        self.step("immediate", &data.nest(2, &Attributes::default().nest(2, &verdict)))
    }
}

/// As the kernel compares names of interfaces.
fn padded(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}
