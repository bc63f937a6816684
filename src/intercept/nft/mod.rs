//! The plan in nf_tables, over netlink: no program is needed, and one transaction does it all.
//!
//! Everything of ours is in one table. A transaction deletes the table and makes it anew, so that
//! running twice is running once, and nothing is ever half there.

use std::io;

use super::netlink::{Answer, Attributes, Netlink, Refusal, Request, attributes, holds};
use super::plan::{Hook, Plan, Table};

mod encode;
mod script;
#[cfg(test)]
mod tests;

pub use script::script;

/// The table, of family `inet`.
const TABLE: &str = "outrigger";
/// Where translation of destinations is customary, and what comes before.
const PRIORITY_NAT: i16 = -100;
const PRIORITY_MANGLE: i16 = -150;

/// What may stand beside an attribute's kind.
const FLAGS: u16 = (libc::NLA_F_NESTED | libc::NLA_F_NET_BYTEORDER) as u16;

/// Bytes of `struct nfgenmsg`, which every answer begins with.
const HEAD: usize = 4;

/// What a chain with a hook is to nf_tables, and when it is asked.
fn place(table: Table, hook: Hook) -> (&'static str, i16) {
    match (table, hook) {
        (Table::Nat, _) => ("nat", PRIORITY_NAT),
        (Table::Mangle, Hook::Prerouting) => ("filter", PRIORITY_MANGLE),
        // So that a changed mark leads to a new choice of route.
        (Table::Mangle, Hook::Output) => ("route", PRIORITY_MANGLE),
    }
}

/// Puts the plan in place of what an earlier run made.
///
/// # Errors
/// The kernel refuses a part of it, and nothing is changed.
pub(super) fn install(plan: &Plan) -> Result<(), Refusal> {
    let mut requests = vec![new_table(), delete_table(), new_table()];
    requests.extend(objects(plan).into_iter().map(|object| object.request()));
    transact(requests)
}

/// Takes away what any earlier run made.
///
/// # Errors
/// The kernel refuses; where it has no nf_tables there is nothing to take away.
pub(super) fn remove() -> Result<(), Refusal> {
    match transact(vec![new_table(), delete_table()]) {
        Err(refusal) if has_none(&refusal) => Ok(()),
        done => done,
    }
}

/// What the kernel has of ours, as it could be sent again; empty where there is nothing.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn kept() -> Result<Vec<Request>, Refusal> {
    let kept = match read_back() {
        Err(refusal) if is_absent(&refusal) => return Ok(Vec::new()),
        kept => kept?,
    };
    Ok(kept.iter().map(again).collect())
}

/// Whether the kernel has nf_tables; what is in doubt counts as there.
pub(super) fn is_there() -> bool {
    let is_unknown_table = |refusal: &Refusal| refusal.error.raw_os_error() == Some(libc::ENOENT);
    read_back().map_or_else(|refusal| is_unknown_table(&refusal) || !is_absent(&refusal), |_| true)
}

/// Puts what [`kept`] found in place of what came after it.
///
/// # Errors
/// The kernel refuses a part of it, and nothing is changed.
pub(super) fn put_back(kept: &[Request]) -> Result<(), Refusal> {
    let mut requests = vec![new_table(), delete_table(), new_table()];
    requests.extend_from_slice(kept);
    transact(requests)
}

/// The request that makes what an answer tells of, without what the kernel gave it: numbers and
/// counts.
fn again(answer: &Answer) -> Request {
    let is_chain = answer.kind == message(libc::NFT_MSG_NEWCHAIN);
    let ours = if is_chain { &encode::OF_CHAINS[..] } else { &encode::OF_RULES };
    let told = attributes(&answer.payload[HEAD..]);
    let told = told.filter(|(kind, _)| ours.contains(&(kind & !FLAGS)));
    let sent = told.fold(Attributes::default(), |sent, (kind, value)| sent.bytes(kind, value));
    let about = "what an earlier run made".to_owned();
    Object { kind: answer.kind, attributes: sent, about }.request()
}

/// The kernel knows no such table, or no tables at all.
fn has_none(refusal: &Refusal) -> bool {
    let code = refusal.error.raw_os_error();
    matches!(
        code,
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT)
    )
}

/// The kernel has no nf_tables, or none with what the request needs. Where netfilter's other parts
/// are there and this one is not, it says no more than EINVAL; what is listed says nothing of it.
pub(super) fn is_absent(refusal: &Refusal) -> bool {
    let code = refusal.error.raw_os_error();
    !matches!(
        code,
        Some(
            libc::EPERM
                | libc::EACCES
                | libc::ENOMEM
                | libc::ENOBUFS
                | libc::EAGAIN
                | libc::EINTR
                | libc::EMFILE
                | libc::ENFILE
        )
    )
}

/// Reads back what the kernel has, and compares it with the plan.
///
/// # Errors
/// The first thing that differs, in words.
pub(super) fn compare(plan: &Plan) -> Result<(), String> {
    let kept = read_back().map_err(|refusal| refusal.to_string())?;
    let sent = objects(plan);
    let mut rest = kept.len();
    let mut kept = kept.into_iter();
    for object in &sent {
        let differs = || format!("the kernel does not have {:?} as it was sent", object.about);
        let found = kept.next().ok_or_else(differs)?;
        rest -= 1;
        if found.kind != object.kind || !holds(&found.payload[HEAD..], object.attributes.as_slice())
        {
            return Err(differs());
        }
    }
    if rest > 0 { Err(format!("the kernel has {rest} rules more than were sent")) } else { Ok(()) }
}

/// Our chains, then our rules, each in their order.
fn read_back() -> Result<Vec<Answer>, Refusal> {
    let about = "reading the rules back";
    let failed = |error: io::Error| Refusal { about: about.into(), error, sentence: None };
    let socket = Netlink::open(libc::NETLINK_NETFILTER).map_err(failed)?;
    let mut kept = Vec::new();
    for (kind, answered) in [
        (libc::NFT_MSG_GETCHAIN, libc::NFT_MSG_NEWCHAIN),
        (libc::NFT_MSG_GETRULE, libc::NFT_MSG_NEWRULE),
    ] {
        let (kind, flags) = (message(kind), libc::NLM_F_DUMP);
        let attributes = encode::table();
        let request = Request { kind, flags, head: head(0), attributes, about: about.into() };
        let ours = |answer: &Answer| answer.kind == message(answered) && in_our_table(answer);
        kept.extend(socket.call(&[request])?.into_iter().filter(ours));
    }
    Ok(kept)
}

fn in_our_table(answer: &Answer) -> bool {
    answer.payload.len() >= HEAD && holds(&answer.payload[HEAD..], encode::table().as_slice())
}

/// A chain or a rule.
struct Object {
    kind: u16,
    attributes: Attributes,
    about: String,
}

impl Object {
    fn request(self) -> Request {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_APPEND;
        let Object { kind, attributes, about } = self;
        Request { kind, flags, head: head(0), attributes, about }
    }
}

/// Everything in the table: chains first, since rules go to them.
fn objects(plan: &Plan) -> Vec<Object> {
    let chains = plan.chains.iter().map(|chain| Object {
        kind: message(libc::NFT_MSG_NEWCHAIN),
        attributes: encode::chain(chain),
        about: format!("chain {}", chain.name),
    });
    let rules = plan.chains.iter().flat_map(|chain| {
        chain.rules.iter().map(|rule| Object {
            kind: message(libc::NFT_MSG_NEWRULE),
            attributes: encode::rule(chain, rule),
            about: format!("{}: {}", chain.name, script::line(rule)),
        })
    });
    chains.chain(rules).collect()
}

fn new_table() -> Request {
    let (kind, flags) = (message(libc::NFT_MSG_NEWTABLE), libc::NLM_F_CREATE);
    let about = "table outrigger".to_owned();
    Request { kind, flags, head: head(0), attributes: encode::table(), about }
}

fn delete_table() -> Request {
    Request { kind: message(libc::NFT_MSG_DELTABLE), flags: 0, ..new_table() }
}

/// All or nothing.
fn transact(inner: Vec<Request>) -> Result<(), Refusal> {
    let about = "nf_tables".to_owned();
    let failed = |error: io::Error| Refusal { about: "nf_tables".into(), error, sentence: None };
    let socket = Netlink::open(libc::NETLINK_NETFILTER).map_err(failed)?;
    let edge = |kind: libc::c_int| Request {
        kind: u16::try_from(kind).expect("a small number"),
        flags: 0,
        head: head(u16::try_from(libc::NFNL_SUBSYS_NFTABLES).expect("a small number")),
        attributes: Attributes::default(),
        about: about.clone(),
    };
    let mut requests = vec![edge(libc::NFNL_MSG_BATCH_BEGIN)];
    requests.extend(inner);
    // One word when all is done; whatever is refused is told without being asked.
    if let Some(last) = requests.last_mut() {
        last.flags |= libc::NLM_F_ACK;
    }
    requests.push(edge(libc::NFNL_MSG_BATCH_END));
    socket.call(&requests).map(drop)
}

fn message(kind: libc::c_int) -> u16 {
    u16::try_from(libc::NFNL_SUBSYS_NFTABLES << 8 | kind).expect("16 bits")
}

/// `struct nfgenmsg`: family, version, and what is addressed.
fn head(resource: u16) -> Vec<u8> {
    let family = u8::try_from(libc::NFPROTO_INET).expect("a small number");
    [[family, 0], resource.to_be_bytes()].concat()
}
