//! Which protocol the first bytes of a connection begin: HTTP/1, HTTP/2, TLS or something else.
//!
//! Both mistakes cost: HTTP taken for opaque loses its routes, another protocol taken for HTTP is
//! answered with a 400 and broken. So HTTP/1 is only certain at the end of the first line, by the
//! `HTTP/` there, since `GET x` opens a Redis session as well as a web page; and a line that says
//! `HTTP/` is HTTP even when malformed, for the guard to refuse. Invariant: an answer other than
//! `NeedMore` never changes when bytes are appended, and `Opaque` is said at the first byte that
//! rules the rest out, because a binary protocol should not wait for a timer.

/// How long a first line may grow before its beginning alone decides. The bound on a whole request
/// head, so that the guard answers a longer one with 431.
pub const MAX_REQUEST_LINE_BYTES: usize = 64 * 1024;

/// The client connection preface without its SETTINGS frame (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9110, section 9.3, and RFC 5789.
const METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

/// No registered method comes near; the longest, `UPDATEREDIRECTREF`, has 17.
const MAX_METHOD_BYTES: usize = 32;

/// Empty lines before a request are ignored (RFC 9112, section 2.2), within reason.
const MAX_LEADING_BYTES: usize = 8;

/// How many bytes of a known beginning count as recognised when time is up. Arbitrary: fewer is
/// chance (`P` may be a PING), and three letters tell every method from the commands we know of.
const RECOGNISED_BYTES: usize = 3;

/// What a connection's first bytes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sniff {
    /// Could still be more than one thing.
    NeedMore,
    /// A request line, not necessarily a correct one.
    Http1,
    /// The HTTP/2 preface, whole.
    Http2,
    /// The beginning of a TLS hello; whether it is one to the end says [`super::read`].
    Tls,
    /// None of these.
    Opaque,
}

/// Judges the bytes so far. Every answer but `NeedMore` is final.
pub fn sniff(buf: &[u8]) -> Sniff {
    let buf = &buf[..buf.len().min(MAX_REQUEST_LINE_BYTES)];
    if buf.starts_with(PREFACE) {
        return Sniff::Http2;
    }
    if PREFACE.starts_with(buf) {
        return Sniff::NeedMore;
    }
    if buf[0] == 0x16 {
        return tls(buf);
    }
    http1(buf)
}

/// What the bytes count as when the time for detection is over; never `NeedMore`.
///
/// A plausible HTTP beginning is `Http1` and waits under the header timeout. The beginning of a
/// preface is `Http2`. Three bytes of a TLS record header are `Tls`: the caller goes on reading the
/// hello under its own bound, and what turns out not to be one is passed through anyway. The rest
/// is `Opaque`.
pub fn sniff_final(buf: &[u8]) -> Sniff {
    match sniff(buf) {
        Sniff::NeedMore if buf.len() < RECOGNISED_BYTES => Sniff::Opaque,
        Sniff::NeedMore if PREFACE.starts_with(buf) => Sniff::Http2,
        Sniff::NeedMore if buf[0] == 0x16 => Sniff::Tls,
        Sniff::NeedMore if Line::read(buf).is_some_and(|line| line.is_plausible()) => Sniff::Http1,
        Sniff::NeedMore => Sniff::Opaque,
        certain => certain,
    }
}

/// A handshake record (RFC 8446, section 5.1) whose first message is a ClientHello. The fragment
/// may be a single byte, so nothing after the message type can be asked for.
fn tls(buf: &[u8]) -> Sniff {
    let bounds = [0x16..=0x16, 0x03..=0x03, 0x01..=0x03, 0x00..=0x40, 0x00..=0xff, 0x01..=0x01];
    let length = buf.get(3..5).map(|length| u16::from_be_bytes([length[0], length[1]]));
    if buf.iter().zip(&bounds).any(|(byte, bound)| !bound.contains(byte))
        || length.is_some_and(|length| !(1..=1 << 14).contains(&length))
    {
        return Sniff::Opaque;
    }
    if buf.len() < bounds.len() { Sniff::NeedMore } else { Sniff::Tls }
}

fn http1(buf: &[u8]) -> Sniff {
    let Some(line) = Line::read(buf) else {
        return Sniff::Opaque;
    };
    let http = match line.end {
        End::Here => line.names_http(),
        End::OutOfReach => line.is_plausible(),
        End::Open => return Sniff::NeedMore,
    };
    if http { Sniff::Http1 } else { Sniff::Opaque }
}

/// The first line as far as it has come, if it can still be a request line.
struct Line<'a> {
    method: &'a [u8],
    /// What follows the method and one blank, without line ending; `None` while in the method.
    rest: Option<&'a [u8]>,
    end: End,
}

enum End {
    Open,
    Here,
    /// The line is longer than we read.
    OutOfReach,
}

impl<'a> Line<'a> {
    fn read(buf: &'a [u8]) -> Option<Self> {
        let leading = buf.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if leading > MAX_LEADING_BYTES {
            return None;
        }
        let text = &buf[leading..];
        let token = text.iter().take_while(|byte| is_token(**byte)).count();
        let (method, after) = text.split_at(token);
        // A method of digits or punctuation is legal and unheard of; a log line is neither.
        let legal =
            method.first().is_none_or(u8::is_ascii_alphabetic) && method.len() <= MAX_METHOD_BYTES;
        let rest = match after {
            _ if !legal => return None,
            [] => {
                return Some(Self { method, rest: None, end: End::Open });
            }
            [b' ' | b'\t', rest @ ..] if !method.is_empty() => rest,
            _ => return None,
        };
        let (rest, end) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(length) => (&rest[..length], End::Here),
            None if buf.len() >= MAX_REQUEST_LINE_BYTES => (rest, End::OutOfReach),
            None => (rest, End::Open),
        };
        let line = Self { method, rest: Some(rest), end };
        line.may_be_http(rest).then_some(line)
    }

    /// Whether nothing after the method rules HTTP out: NATS says `CONNECT {…}`, and a binary
    /// protocol soon has a control byte. In a target that looks right it is the guard's to refuse.
    fn may_be_http(&self, rest: &[u8]) -> bool {
        let is_control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r');
        rest.first() != Some(&b'{') && (self.has_target(rest) || !rest.iter().any(is_control))
    }

    /// Whether a whole line is a request line, if only by intent: a known method or a proper
    /// target, and `HTTP/` at the end or where it belongs.
    fn names_http(&self) -> bool {
        let rest = self.rest.unwrap_or_default();
        let mut words =
            rest.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|word| !word.is_empty());
        let is_version =
            |word: &[u8]| word.get(..5).is_some_and(|w| w.eq_ignore_ascii_case(b"HTTP/"));
        let intended = METHODS.iter().any(|method| method.eq_ignore_ascii_case(self.method))
            || self.has_target(rest);
        intended
            && (words.clone().nth(1).is_some_and(is_version)
                || words.next_back().is_some_and(is_version))
    }

    /// Whether an unfinished line is more likely HTTP than not.
    fn is_plausible(&self) -> bool {
        match self.rest {
            None => {
                self.method.len() >= RECOGNISED_BYTES
                    && METHODS.iter().any(|method| method.starts_with(self.method))
            }
            Some([]) => METHODS.contains(&self.method),
            Some(rest) => {
                let mut words = rest.splitn(2, |byte| *byte == b' ').skip(1);
                self.has_target(rest) && words.next().is_none_or(begins_version)
            }
        }
    }

    /// Whether `rest` begins with a request target (RFC 9112, section 3.2) as far as it has come.
    fn has_target(&self, rest: &[u8]) -> bool {
        let target =
            rest.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).next().unwrap_or_default();
        let is_authority = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
        match target {
            [] => false,
            [b'/', ..] | b"*" => true,
            _ if self.method == b"CONNECT" => target.iter().all(is_authority),
            _ => [&b"http://"[..], b"https://"].iter().any(|scheme| {
                let length = scheme.len().min(target.len());
                scheme[..length].eq_ignore_ascii_case(&target[..length])
            }),
        }
    }
}

/// Whether `word` is `HTTP/…` as far as it has come.
fn begins_version(word: &[u8]) -> bool {
    let length = word.len().min(5);
    word[..length].eq_ignore_ascii_case(&b"HTTP/"[..length])
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
