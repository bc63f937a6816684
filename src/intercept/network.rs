//! What interception needs of routing besides rules: an address, and a way back for connections
//! that bear the sidecar's mark. And what it asks of it: which addresses there are, and which way
//! leads to one.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::netlink::{Attributes, Netlink, Refusal, Request, attributes};
use super::plan::{APP_LEG_V6, MARK};

/// The routing table of ours, and where its rule stands among the others; before `main` (32766).
const TABLE: u32 = MARK;
const LO: u32 = 1;
/// Linux' `fib_rules.h`.
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FR_ACT_TO_TBL: u8 = 1;
const CREATE: libc::c_int = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;

/// An address of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub ip: IpAddr,
    pub interface: String,
}

/// Every address of every interface that is up.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn addresses() -> io::Result<Vec<Address>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: it writes a list of its own making to the pointer.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (mut found, mut next) = (Vec::new(), list);
    // SAFETY: the list's pointers are valid until it is given back, and each address is as long as
    // its family says.
    unsafe {
        while let Some(entry) = next.as_ref() {
            next = entry.ifa_next;
            let interface = CStr::from_ptr(entry.ifa_name).to_string_lossy().into_owned();
            let is_up = entry.ifa_flags & libc::IFF_UP.unsigned_abs() != 0;
            let ip = entry.ifa_addr.as_ref().and_then(|address| match address.sa_family.into() {
                libc::AF_INET => {
                    let address = entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned();
                    Some(IpAddr::from(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))))
                }
                libc::AF_INET6 => {
                    let address = entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned();
                    Some(IpAddr::from(Ipv6Addr::from(address.sin6_addr.s6_addr)))
                }
                _ => None,
            });
            found.extend(ip.filter(|_| is_up).map(|ip| Address { ip, interface }));
        }
        libc::freeifaddrs(list);
    }
    Ok(found)
}

/// Whether IPv6 is spoken here: some interface besides `lo` has an address of it.
///
/// Only then is [`APP_LEG_V6`] added: to programs that look whether a host has IPv6, an address is
/// one, and they would ask for names twice.
pub(super) fn has_v6(addresses: &[Address]) -> bool {
    addresses.iter().any(|address| address.ip.is_ipv6() && address.interface != "lo")
}

/// Whether the kernel has IPv6 at all, so that an address of it may come at any time.
pub(super) fn knows_v6() -> bool {
    Path::new("/proc/self/net/if_inet6").exists()
}

/// Makes `::6` an address of `lo`, for the sidecar's last leg to the app. As a deprecated one it is
/// never chosen as a source by the kernel itself.
///
/// # Errors
/// The kernel refuses.
pub(super) fn add_app_leg() -> Result<(), Refusal> {
    // Preferred for no time, valid for ever.
    let times = [0, u32::MAX, 0, 0].map(u32::to_ne_bytes).concat();
    let mut request = app_leg(libc::RTM_NEWADDR, CREATE);
    request.attributes = request.attributes.bytes(libc::IFA_CACHEINFO, &times);
    ask(request).map(drop)
}

/// # Errors
/// The kernel refuses for another reason than that it is not there.
pub(super) fn remove_app_leg() -> Result<(), Refusal> {
    unless_gone(ask(app_leg(libc::RTM_DELADDR, 0)).map(drop))
}

/// Packets with [`MARK`] go to this host, whatever their destination.
///
/// # Errors
/// The kernel refuses.
pub(super) fn add_way_back(is_v4: bool) -> Result<(), Refusal> {
    ask(route(libc::RTM_NEWROUTE, CREATE, is_v4))?;
    let made = ask(rule(libc::RTM_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, is_v4));
    match made {
        Err(refusal) if refusal.error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        made => made.map(drop),
    }
}

/// # Errors
/// The kernel refuses for another reason than that it is not there.
pub(super) fn remove_way_back(is_v4: bool) -> Result<(), Refusal> {
    unless_gone(ask(rule(libc::RTM_DELRULE, 0, is_v4)).map(drop))?;
    unless_gone(ask(route(libc::RTM_DELROUTE, 0, is_v4)).map(drop))
}

/// The interface that leads to an address; `None` where no way does.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn way_to(ip: IpAddr) -> Result<Option<String>, Refusal> {
    let (family, octets) = match ip {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    let bits = u8::try_from(octets.len() * 8).expect("128 at most");
    let request = Request {
        kind: libc::RTM_GETROUTE,
        flags: 0,
        head: [&[byte(family), bits], &[0; 10][..]].concat(),
        attributes: Attributes::default().bytes(libc::RTA_DST, &octets),
        about: format!("the way to {ip}"),
    };
    let answers = match ask(request) {
        Err(refusal) if refusal.error.raw_os_error() == Some(libc::ENETUNREACH) => return Ok(None),
        answers => answers?,
    };
    // After `struct rtmsg`, which is as long as the head.
    let found = answers.iter().filter_map(|answer| answer.payload.get(12..));
    let mut found = found.flat_map(attributes);
    let index = found.find_map(|(kind, value)| {
        (kind == libc::RTA_OIF).then_some(u32::from_ne_bytes(*value.first_chunk()?))
    });
    Ok(index.and_then(interface_name))
}

fn interface_name(index: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer is as long as a name may be.
    let named = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    // SAFETY: it ends with a zero where it was written.
    (!named.is_null()).then(|| unsafe { CStr::from_ptr(named) }.to_string_lossy().into_owned())
}

fn app_leg(kind: u16, flags: libc::c_int) -> Request {
    // Family, bits of the prefix, flags, scope.
    let head = [byte(libc::AF_INET6), 128, byte(libc::IFA_F_NODAD as libc::c_int), 0];
    let octets = APP_LEG_V6.octets();
    Request {
        kind,
        flags: flags | libc::NLM_F_ACK,
        head: [head, LO.to_ne_bytes()].concat(),
        attributes: Attributes::default()
            .bytes(libc::IFA_LOCAL, &octets)
            .bytes(libc::IFA_ADDRESS, &octets),
        about: format!("address {APP_LEG_V6} on lo"),
    }
}

/// `struct rtmsg` and `struct fib_rule_hdr` begin alike; `tail` is what their third word has.
fn head(is_v4: bool, tail: [u8; 4]) -> Vec<u8> {
    let family = if is_v4 { libc::AF_INET } else { libc::AF_INET6 };
    [[byte(family), 0, 0, 0], tail, [0; 4]].concat()
}

fn rule(kind: u16, flags: libc::c_int, is_v4: bool) -> Request {
    Request {
        kind,
        flags: flags | libc::NLM_F_ACK,
        head: head(is_v4, [0, 0, 0, FR_ACT_TO_TBL]),
        attributes: Attributes::default()
            .native(FRA_PRIORITY, TABLE)
            .native(FRA_FWMARK, MARK)
            .native(FRA_TABLE, TABLE),
        about: "the rule for marked packets".into(),
    }
}

fn route(kind: u16, flags: libc::c_int, is_v4: bool) -> Request {
    let (local, host) = (libc::RTN_LOCAL, libc::RT_SCOPE_HOST);
    Request {
        kind,
        flags: flags | libc::NLM_F_ACK,
        head: head(is_v4, [0, libc::RTPROT_STATIC, host, local]),
        attributes: Attributes::default().native(libc::RTA_TABLE, TABLE).native(libc::RTA_OIF, LO),
        about: "the route of marked packets".into(),
    }
}

fn ask(request: Request) -> Result<Vec<super::netlink::Answer>, Refusal> {
    let about = request.about.clone();
    let socket = Netlink::open(libc::NETLINK_ROUTE);
    let socket = socket.map_err(|error| Refusal { about, error, sentence: None })?;
    socket.call(&[request])
}

/// It was not there, or the kernel has no such family.
fn unless_gone(done: Result<(), Refusal>) -> Result<(), Refusal> {
    let gone =
        [libc::ENOENT, libc::ESRCH, libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT, libc::EOPNOTSUPP];
    match done {
        Err(refusal) if refusal.error.raw_os_error().is_some_and(|code| gone.contains(&code)) => {
            Ok(())
        }
        done => done,
    }
}

fn byte(value: libc::c_int) -> u8 {
    u8::try_from(value).expect("a small number")
}
