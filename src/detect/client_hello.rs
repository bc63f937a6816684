//! Reads a TLS ClientHello out of the first bytes of a connection: server name and ALPN.
//!
//! A hello may be any legal size and lie in any number of records: a post-quantum key share alone
//! outgrows a TCP segment, and some clients split the first record on purpose. Invariant: strict
//! about every length and lenient about what it doesn't know, so whatever is `Complete` here has one
//! reading. A hello in one record is read in place; one that spans records is joined once, when
//! whole. Called on connections that `sniff` found to be TLS.

use std::borrow::Cow;
use std::ops::Range;

/// How many bytes of a connection may be buffered to see its hello whole, record headers included.
///
/// Arbitrary: over thirty times a post-quantum hello, four times a full record, and a bound on what
/// one stranger can make us hold.
pub const MAX_HELLO_BYTES: usize = 64 * 1024;

/// The largest plaintext fragment of a record (RFC 8446, section 5.1).
const MAX_FRAGMENT_BYTES: usize = 1 << 14;
const RECORD_HEADER_BYTES: usize = 5;
const MESSAGE_HEADER_BYTES: usize = 4;
const RANDOM_BYTES: usize = 32;

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;

/// What the bytes so far are, as a ClientHello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello<'a> {
    /// A proper beginning: ask again with more bytes.
    Incomplete,
    /// Not a ClientHello, or one that breaks a length: pass it through as opaque bytes.
    Not,
    /// A hello that does not fit [`MAX_HELLO_BYTES`]: pass it through as TLS of unknown content.
    TooLarge,
    /// A whole hello; what follows it in the buffer was not looked at.
    Complete(ClientHello<'a>),
}

/// The parts of a ClientHello that choose what happens to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The handshake message without its header.
    message: Cow<'a, [u8]>,
    server_name: Option<Range<usize>>,
    /// The protocol name list, checked: length-prefixed names that end where the range does.
    alpn: Range<usize>,
}

impl ClientHello<'_> {
    /// The name the client asks for, as sent: compare it without regard to case. `None` when absent
    /// or not a host name (an IP address is none, RFC 6066, section 3).
    pub fn server_name(&self) -> Option<&str> {
        let bytes = self.message.get(self.server_name.clone()?)?;
        std::str::from_utf8(bytes).ok()
    }

    /// The application protocols offered, in the client's order of preference.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut names = Reader::over(&self.message, self.alpn.clone());
        std::iter::from_fn(move || {
            let name = names.vector8()?;
            self.message.get(name)
        })
    }

    /// Whether `protocol` is among the application protocols offered.
    pub fn offers(&self, protocol: &[u8]) -> bool {
        self.alpn().any(|name| name == protocol)
    }
}

/// Reads the ClientHello at the start of `buf`, the first bytes of a connection.
///
/// Only `Incomplete` can change when bytes are appended.
pub fn read(buf: &[u8]) -> Hello<'_> {
    let seen = &buf[..buf.len().min(MAX_HELLO_BYTES)];
    match message(seen) {
        Message::Incomplete if seen.len() == MAX_HELLO_BYTES => Hello::TooLarge,
        Message::Incomplete => Hello::Incomplete,
        Message::Not => Hello::Not,
        Message::TooLarge => Hello::TooLarge,
        Message::Whole(message) => match parse(&message) {
            Some((server_name, alpn)) => {
                Hello::Complete(ClientHello { message, server_name, alpn })
            }
            None => Hello::Not,
        },
    }
}

/// The handshake message that the records carry.
enum Message<'a> {
    Incomplete,
    Not,
    TooLarge,
    Whole(Cow<'a, [u8]>),
}

/// Walks the records until the message is whole. Nothing is copied before that, so a hello that
/// trickles in costs a walk over its record headers per call.
fn message(buf: &[u8]) -> Message<'_> {
    let mut header = [0; MESSAGE_HEADER_BYTES];
    let mut carried = 0;
    let mut at = 0;
    loop {
        let fragment = match record(&buf[at..]) {
            Record::Incomplete => return Message::Incomplete,
            Record::Not => return Message::Not,
            Record::Header { length } => length,
        };
        at += RECORD_HEADER_BYTES;
        let here = &buf[at..buf.len().min(at + fragment)];
        for (slot, byte) in header.iter_mut().skip(carried).zip(here) {
            *slot = *byte;
        }
        if carried == 0 && here.first().is_some_and(|kind| *kind != 1) {
            return Message::Not;
        }
        if carried + here.len() >= MESSAGE_HEADER_BYTES {
            let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
            let left = MESSAGE_HEADER_BYTES + length - carried;
            // Nothing may follow a hello within its record: the next flight has another key.
            if fragment > left {
                return Message::Not;
            }
            if at + left > MAX_HELLO_BYTES {
                return Message::TooLarge;
            }
            if here.len() == left {
                return Message::Whole(join(&buf[..at + left], length));
            }
        }
        if here.len() < fragment {
            return Message::Incomplete;
        }
        carried += fragment;
        at += fragment;
    }
}

enum Record {
    Incomplete,
    Not,
    Header { length: usize },
}

/// The record header at the start of `buf`, refused at the first byte that can't be one.
fn record(buf: &[u8]) -> Record {
    // RFC 8446, section 5.1: the version is for middleboxes; 0x0301 in a first hello, later 0x0303.
    let bounds = [0x16..=0x16, 0x03..=0x03, 0x01..=0x03, 0..=(MAX_FRAGMENT_BYTES >> 8) as u8];
    if buf.iter().zip(bounds).any(|(byte, bound)| !bound.contains(byte)) {
        return Record::Not;
    }
    let Some(&[_, _, _, high, low]) = buf.first_chunk() else {
        return Record::Incomplete;
    };
    match usize::from(u16::from_be_bytes([high, low])) {
        length @ 1..=MAX_FRAGMENT_BYTES => Record::Header { length },
        _ => Record::Not,
    }
}

/// The message body of `length` bytes, from whole records that `message` has checked.
fn join(records: &[u8], length: usize) -> Cow<'_, [u8]> {
    let single = RECORD_HEADER_BYTES + MESSAGE_HEADER_BYTES;
    if records.len() == single + length {
        return Cow::Borrowed(&records[single..]);
    }
    let mut whole = Vec::with_capacity(MESSAGE_HEADER_BYTES + length);
    let mut rest = records;
    while let Record::Header { length } = record(rest) {
        let (fragment, next) = rest[RECORD_HEADER_BYTES..].split_at(length);
        whole.extend_from_slice(fragment);
        rest = next;
    }
    whole.drain(..MESSAGE_HEADER_BYTES);
    Cow::Owned(whole)
}

/// Server name and ALPN list of a hello (RFC 8446, section 4.1.2), or `None` if a length is broken.
fn parse(message: &[u8]) -> Option<(Option<Range<usize>>, Range<usize>)> {
    let mut hello = Reader::over(message, 0..message.len());
    let version = hello.u16()?;
    hello.take(RANDOM_BYTES)?;
    let session = hello.vector8()?;
    let suites = hello.vector16()?;
    let compressions = hello.vector8()?;
    let legal = version >> 8 == 3
        && session.len() <= 32
        && suites.len() >= 2
        && suites.len().is_multiple_of(2)
        && !compressions.is_empty();
    if !legal {
        return None;
    }
    if hello.is_empty() {
        return Some((None, 0..0)); // before TLS 1.3 the extensions may be missing
    }
    let list = hello.vector16()?;
    if !hello.is_empty() {
        return None;
    }
    extensions(Reader::over(message, list))
}

fn extensions(mut list: Reader) -> Option<(Option<Range<usize>>, Range<usize>)> {
    let (mut server_name, mut alpn) = (None, None);
    while !list.is_empty() {
        let kind = list.u16()?;
        let body = list.vector16()?;
        let body = Reader::over(list.bytes, body);
        // A second one of a kind would let two parsers read two names.
        let repeated = match kind {
            EXTENSION_SERVER_NAME => server_name.replace(host_name(body)?).is_some(),
            EXTENSION_ALPN => alpn.replace(protocol_names(body)?).is_some(),
            _ => false,
        };
        if repeated {
            return None;
        }
    }
    Some((server_name.flatten(), alpn.unwrap_or(0..0)))
}

/// RFC 6066, section 3. The outer `None` is a broken list, the inner one a list without host name.
fn host_name(mut body: Reader) -> Option<Option<Range<usize>>> {
    let list = body.vector16()?;
    let mut names = Reader::over(body.bytes, list);
    if !body.is_empty() || names.is_empty() {
        return None;
    }
    let mut host = None;
    while !names.is_empty() {
        let kind = names.u8()?;
        let name = names.vector16()?;
        if kind == 0 && (name.is_empty() || host.replace(name).is_some()) {
            return None;
        }
    }
    Some(host.filter(|name| names.bytes.get(name.clone()).is_some_and(is_host_name)))
}

/// RFC 7301, section 3.1: the range of the checked list.
fn protocol_names(mut body: Reader) -> Option<Range<usize>> {
    let list = body.vector16()?;
    let mut names = Reader::over(body.bytes, list.clone());
    if !body.is_empty() || names.is_empty() {
        return None;
    }
    while !names.is_empty() {
        if names.vector8()?.is_empty() {
            return None;
        }
    }
    Some(list)
}

/// Letters, digits, hyphens and, as practice has it, underscores; not an IPv4 address.
fn is_host_name(name: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &[u8]| {
        matches!(label.len(), 1..=63)
            && label.iter().all(inner)
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-')
    };
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    name.len() <= 253
        && name.split(|byte| *byte == b'.').all(is_label)
        && !last.iter().all(u8::is_ascii_digit)
}

/// A cursor that yields ranges of `bytes`, so that what it finds can outlive the borrow.
struct Reader<'a> {
    bytes: &'a [u8],
    left: Range<usize>,
}

impl<'a> Reader<'a> {
    fn over(bytes: &'a [u8], left: Range<usize>) -> Self {
        Self { bytes, left }
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<Range<usize>> {
        if self.left.len() < count {
            return None;
        }
        let taken = self.left.start..self.left.start + count;
        self.left.start = taken.end;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let range = self.take(1)?;
        self.bytes.get(range.start).copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn vector8(&mut self) -> Option<Range<usize>> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn vector16(&mut self) -> Option<Range<usize>> {
        let length = self.u16()?;
        self.take(length.into())
    }
}
