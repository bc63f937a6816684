//! Requests to the kernel over netlink, and its answers: what netfilter and routing have in common.
//!
//! The kernel works a request off before the call that sends it returns, so that everything it has
//! to say can be read at once and nothing waits.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// More than the kernel puts into one answer (32 KiB).
const ANSWER: usize = 64 << 10;
/// Rules for some thousand ports, in one transaction.
const SEND_BUFFER: libc::c_int = 8 << 20;
/// The kernel's sentence about a refusal (`NLMSGERR_ATTR_MSG`).
const SENTENCE: u16 = 1;

/// Attributes: each has a length, a kind and a value, and begins at a multiple of four.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub kind: u16,
    pub flags: libc::c_int,
    /// What the kind begins with.
    pub head: Vec<u8>,
    pub attributes: Attributes,
    /// What it is about, for whoever reads the refusal.
    pub about: String,
}

/// One answer: what the kind begins with, and its attributes.
#[derive(Debug)]
pub(super) struct Answer {
    pub kind: u16,
    pub payload: Vec<u8>,
}

/// The kernel did not do it.
#[derive(Debug, thiserror::Error)]
#[error("{about}: {error}{}", sentence.as_ref().map(|said| format!(" ({said})")).unwrap_or_default())]
pub struct Refusal {
    pub about: String,
    #[source]
    pub error: io::Error,
    pub sentence: Option<String>,
}

#[derive(Debug)]
pub(super) struct Netlink(Socket);

impl Attributes {
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).expect("values are short");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Ends with a zero.
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// In the order of networks, as all of netfilter's numbers are.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// In this machine's order, as routing's numbers are.
    pub fn native(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub fn nest(self, kind: u16, inner: &Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// Marks a value that consists of attributes.
const NESTED: u16 = libc::NLA_F_NESTED as u16;

/// The attributes in `bytes`; what is cut off is left out.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Whether everything in `sent` stands in `kept`, in this order. What the kernel added, such as
/// counts and defaults, is no difference; one more of what is listed is.
pub(super) fn holds(kept: &[u8], sent: &[u8]) -> bool {
    let mut rest: Vec<(u16, &[u8])> = attributes(kept).collect();
    let is_list = rest.len() > 1 && rest.iter().all(|(kind, _)| kind & !NESTED == 1);
    if is_list && rest.len() != attributes(sent).count() {
        return false;
    }
    attributes(sent).all(|(kind, value)| {
        let same = |&(other, _): &(u16, &[u8])| other & !NESTED == kind & !NESTED;
        let Some(at) = rest.iter().position(same) else { return false };
        let (_, found) = rest.remove(at);
        if kind & NESTED == 0 { found == value } else { holds(found, value) }
    })
}

impl Netlink {
    /// # Errors
    /// The kernel knows no such protocol, or gives no socket.
    pub fn open(protocol: libc::c_int) -> io::Result<Self> {
        let domain = Domain::from(libc::AF_NETLINK);
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)))?;
        socket.set_nonblocking(true)?;
        // Without these, long transactions and explanations are refused; the rest works.
        let _ = set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER);
        let _ = set(&socket, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        let _ = set(&socket, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        Ok(Self(socket))
    }

    /// Sends the requests as one message and returns what comes back.
    ///
    /// # Errors
    /// The first refusal.
    pub fn call(&self, requests: &[Request]) -> Result<Vec<Answer>, Refusal> {
        let first = requests.first().map_or("nothing", |request| &request.about);
        let failed = |error| Refusal { about: first.to_owned(), error, sentence: None };
        let mut message = Vec::new();
        for (request, number) in requests.iter().zip(1..) {
            request.write(number, &mut message);
        }
        (&self.0).write_all(&message).map_err(failed)?;
        let (mut answers, mut buffer) = (Vec::new(), vec![0; ANSWER]);
        loop {
            match (&self.0).read(&mut buffer) {
                Ok(length) => read(&buffer[..length], requests, &mut answers)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answers),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl Request {
    fn write(&self, number: u32, message: &mut Vec<u8>) {
        let length = HEADER + self.head.len() + self.attributes.0.len();
        let flags = u16::try_from(self.flags | libc::NLM_F_REQUEST).expect("flags have 16 bits");
        message.extend_from_slice(&u32::try_from(length).expect("short").to_ne_bytes());
        message.extend_from_slice(&self.kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&number.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&self.head);
        message.extend_from_slice(&self.attributes.0);
    }
}

/// Takes the answers in one datagram.
fn read(datagram: &[u8], requests: &[Request], into: &mut Vec<Answer>) -> Result<(), Refusal> {
    let mut rest = datagram;
    while let Some(length) = rest.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes) as usize) {
        let Some(message) = rest.get(..length).filter(|message| message.len() >= HEADER) else {
            break;
        };
        let half = |at: usize| u16::from_ne_bytes([message[at], message[at + 1]]);
        let (kind, flags) = (half(4), half(6));
        let payload = &message[HEADER..];
        match i32::from(kind) {
            libc::NLMSG_ERROR => judge(message, flags, requests)?,
            libc::NLMSG_DONE => {}
            _ => into.push(Answer { kind, payload: payload.to_vec() }),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// An acknowledgement is an error of 0.
fn judge(message: &[u8], flags: u16, requests: &[Request]) -> Result<(), Refusal> {
    let word = |at: usize| message.get(at..)?.first_chunk().map(|four| i32::from_ne_bytes(*four));
    let code = word(HEADER).unwrap_or(-libc::EBADMSG);
    if code == 0 {
        return Ok(());
    }
    let number = word(8).and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
    let request = requests.get(number.wrapping_sub(1));
    let about = request.map_or("a request", |request| &request.about).to_owned();
    let explained = flags & (libc::NLM_F_ACK_TLVS as u16) != 0;
    // The header of what was refused, and all of it where the kernel did not cut it off.
    let capped = flags & (libc::NLM_F_CAPPED as u16) != 0;
    let quoted =
        if capped { HEADER } else { word(HEADER + 4).unwrap_or(0).unsigned_abs() as usize };
    let rest = message.get(HEADER + 4 + quoted..).filter(|_| explained).unwrap_or_default();
    let said = attributes(rest).find(|(kind, _)| *kind == SENTENCE);
    let sentence =
        said.map(|(_, said)| String::from_utf8_lossy(said).trim_end_matches('\0').into());
    Err(Refusal { about, error: io::Error::from_raw_os_error(-code), sentence })
}

fn set(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the pointer is to `size` bytes.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: u16, value: u32) -> Attributes {
        Attributes::default().number(kind, value)
    }

    #[test]
    fn attributes_are_read_as_written() {
        let inner = one(7, 9);
        let written = Attributes::default().text(1, "lo").bytes(2, &[1]).nest(3, &inner);
        let read: Vec<_> = attributes(&written.0).collect();
        assert_eq!(read, [(1, &b"lo\0"[..]), (2, &[1]), (3 | NESTED, inner.as_slice())]);
        assert_eq!(attributes(&written.0[..6]).count(), 0, "cut off");
        assert_eq!(attributes(&[0; 8]).count(), 0, "no attribute is shorter than its head");
    }

    #[test]
    fn the_kernel_may_add_but_not_change() {
        let sent = Attributes::default().nest(4, &one(2, 5));
        assert!(holds(Attributes::default().nest(4, &one(2, 5).number(3, 1)).as_slice(), &sent.0));
        assert!(!holds(Attributes::default().nest(4, &one(2, 6)).as_slice(), &sent.0));
        assert!(!holds(&[], &sent.0));
        let list = |of: &[u32]| of.iter().fold(Attributes::default(), |list, n| list.number(1, *n));
        assert!(holds(&list(&[1, 2]).0, &list(&[1, 2]).0));
        assert!(!holds(&list(&[1, 2, 3]).0, &list(&[1, 2]).0), "one more is a difference");
        assert!(!holds(&list(&[2, 1]).0, &list(&[1, 2]).0));
    }

    #[test]
    fn a_refusal_says_what_it_is_about() {
        let socket = Netlink::open(libc::NETLINK_ROUTE).expect("every kernel routes");
        // No link has this number.
        let head = [[0; 4], i32::MAX.to_ne_bytes(), [0; 4], [0; 4]].concat();
        let (kind, flags) = (libc::RTM_GETLINK, libc::NLM_F_ACK);
        let about = "the link".to_owned();
        let request = Request { kind, flags, head, attributes: Attributes::default(), about };
        let refusal = socket.call(&[request]).expect_err("there is none");
        assert_eq!(refusal.error.raw_os_error(), Some(libc::ENODEV));
        assert!(refusal.to_string().starts_with("the link: No such device"), "{refusal}");
    }
}
