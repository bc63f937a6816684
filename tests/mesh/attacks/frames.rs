//! HTTP/2 by hand: frames as an attacker makes them, and what comes back.
//!
//! Header blocks are literals without Huffman coding, so that a scenario knows their size on the
//! wire to the byte.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::doors::{Line, Stream};
use crate::harness::{Broken, SOON};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// The error code of whoever was asked for too much.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Written at a time, before a look at what came back.
const AT_ONCE: usize = 64 * 1024;
/// Somebody who takes nothing for so long has stopped reading.
pub const STALLED: Duration = Duration::from_millis(1500);

pub struct Raw {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    ahead: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How a flood ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// The connection ended after so many bytes, maybe with a GOAWAY.
    Ended(usize, Option<u32>),
    /// Nobody took another byte after so many.
    Stalled(usize),
    /// All of it was taken.
    Taken,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A setting's identifier and value.
pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let pair = |(id, value): &(u16, u32)| {
        [id.to_be_bytes().as_slice(), value.to_be_bytes().as_slice()].concat()
    };
    frame(SETTINGS, 0, 0, &pairs.iter().flat_map(pair).collect::<Vec<u8>>())
}

/// A field that the other side's table does not keep.
pub fn literal(name: &str, value: &[u8]) -> Vec<u8> {
    field(0, name, value)
}

/// A field that it keeps, as the newest: index 62.
pub fn kept(name: &str, value: &[u8]) -> Vec<u8> {
    field(0x40, name, value)
}

/// One byte that stands for the newest field of the table.
pub const NEWEST: u8 = 0x80 | 62;

fn field(first: u8, name: &str, value: &[u8]) -> Vec<u8> {
    let mut field = vec![first];
    string(&mut field, name.as_bytes());
    string(&mut field, value);
    field
}

/// RFC 7541, 5.1 and 5.2.
fn string(into: &mut Vec<u8>, text: &[u8]) {
    match text.len().checked_sub(127) {
        None => into.push(text.len() as u8),
        Some(mut rest) => {
            into.push(127);
            while rest >= 128 {
                into.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            into.push(rest as u8);
        }
    }
    into.extend_from_slice(text);
}

/// What a request begins with.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    let pseudo =
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", "app.default")];
    pseudo.iter().flat_map(|(name, value)| literal(name, value.as_bytes())).collect()
}

/// A block in a HEADERS frame, and in as many CONTINUATIONs as it needs.
pub fn headers(stream: u32, block: &[u8], flags: u8) -> Vec<u8> {
    let mut parts = block.chunks(16_384).enumerate().peekable();
    let mut frames = Vec::new();
    while let Some((number, part)) = parts.next() {
        let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
        let (kind, flags) = if number == 0 { (HEADERS, flags) } else { (CONTINUATION, 0) };
        frames.extend(frame(kind, flags | end, stream, part));
    }
    frames
}

/// What a GOAWAY, or an RST_STREAM, says is the matter.
pub fn code(frame: &Frame) -> u32 {
    let bytes = frame.payload.last_chunk().filter(|_| frame.kind == RST_STREAM);
    let bytes = bytes.or(frame.payload.get(4..).and_then(|rest| rest.first_chunk()));
    u32::from_be_bytes(*bytes.expect("four bytes of it"))
}

/// The status of an answer: RFC 7541, appendices A and B. Where it was asked for no table.
#[track_caller]
pub fn status(answer: &Frame) -> u16 {
    // Size updates stand before it.
    let block: Vec<u8> = answer.payload.iter().copied().skip_while(|b| b & 0xe0 == 0x20).collect();
    if let Some(at) = block[0].checked_sub(0x88) {
        return [200, 204, 206, 304, 400, 404, 500][usize::from(at)];
    }
    let text = &block[2..2 + usize::from(block[1] & 0x7f)];
    if block[1] & 0x80 == 0 {
        return std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).expect("digits");
    }
    // Digits: 0 to 2 have five bits, the others six.
    let bits: Vec<u8> = text.iter().flat_map(|b| (0..8).rev().map(move |n| b >> n & 1)).collect();
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let five = bits[at..at + 5].iter().fold(0, |sum, bit| sum * 2 + u16::from(*bit));
        let is_short = five < 3;
        let digit = if is_short { five } else { five * 2 + u16::from(bits[at + 5]) - 22 };
        at += if is_short { 5 } else { 6 };
        status = status * 10 + digit;
    }
    status
}

impl Raw {
    /// Says that it speaks HTTP/2, with these settings of its own.
    pub fn over((wire, socket): Line, own: &[(u16, u32)]) -> Self {
        let mut raw = Self { stream: wire.stream, socket, ahead: Vec::new() };
        raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.send(settings(own));
        raw
    }

    #[track_caller]
    pub fn send(&mut self, frames: impl AsRef<[u8]>) {
        self.try_send(frames).unwrap_or_else(|error| panic!("sending: {error:?}"));
    }

    fn try_send(&mut self, frames: impl AsRef<[u8]>) -> Result<(), Broken> {
        self.stream.write_all(frames.as_ref())?;
        Ok(self.stream.flush()?)
    }

    /// The next frame. A setting is acknowledged, as an honest client does.
    ///
    /// # Errors
    /// Why there is none.
    pub fn next(&mut self) -> Result<Frame, Broken> {
        let frame = loop {
            if let Some(frame) = self.whole() {
                break frame;
            }
            let mut bytes = [0; 64 * 1024];
            match self.stream.read(&mut bytes)? {
                0 => return Err(Broken::Closed),
                n => self.ahead.extend_from_slice(&bytes[..n]),
            }
        };
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            let _ = self.try_send(self::frame(SETTINGS, ACK, 0, &[]));
        }
        Ok(frame)
    }

    /// A frame that has come whole.
    fn whole(&mut self) -> Option<Frame> {
        let head = self.ahead.first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let (kind, flags) = (head[3], head[4]);
        let payload = self.ahead.get(9..9 + length)?.to_vec();
        self.ahead.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    /// Reads up to the first frame of this kind on this stream.
    #[track_caller]
    pub fn until(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|end| panic!("{end:?} instead of {kind}"));
            if (frame.kind, frame.stream) == (kind, stream) {
                return frame;
            }
            assert_ne!(frame.kind, GOAWAY, "{frame:?}");
        }
    }

    /// Whether the connection still serves: asks on a stream, and waits for the answer's head.
    #[track_caller]
    pub fn is_served(&mut self, stream: u32) {
        self.send(headers(stream, &request("GET", "/after"), END_STREAM));
        assert_eq!(status(&self.until(HEADERS, stream)), 200);
    }

    /// Sends, reading nothing, until all is taken, nothing more is for so long, or the connection
    /// ends.
    pub fn flood(&mut self, bytes: &[u8], patience: Duration) -> Flood {
        self.patience(patience);
        let mut sent = 0;
        for part in bytes.chunks(AT_ONCE) {
            match self.try_send(part) {
                Ok(()) => sent += part.len(),
                Err(Broken::TimedOut) => return Flood::Stalled(sent),
                Err(_) => return Flood::Ended(sent, self.goaway()),
            }
        }
        Flood::Taken
    }

    /// The same, but what comes back is read meanwhile, and thrown away.
    pub fn flood_and_read(&mut self, one: &[u8], times: usize) -> Flood {
        let mut sent = 0;
        // Whole frames: what is read may have to be acknowledged in between.
        let at_once = AT_ONCE / one.len();
        for _ in 0..times.div_ceil(at_once) {
            let part = one.repeat(at_once);
            if self.try_send(&part).is_err() {
                return Flood::Ended(sent, self.goaway());
            }
            sent += part.len();
            self.glance();
            loop {
                match self.next() {
                    Ok(frame) if frame.kind == GOAWAY => {
                        self.patience(SOON);
                        return Flood::Ended(sent, Some(code(&frame)));
                    }
                    Ok(_) => {}
                    Err(Broken::TimedOut) => break,
                    Err(_) => return Flood::Ended(sent, None),
                }
            }
            self.patience(SOON);
        }
        Flood::Taken
    }

    /// Reads to the end of the connection; the code of the GOAWAY on the way there.
    pub fn goaway(&mut self) -> Option<u32> {
        self.patience(SOON);
        let mut found = None;
        let until = Instant::now() + SOON;
        while let Ok(frame) = self.next() {
            if frame.kind == GOAWAY {
                found = Some(code(&frame));
            }
            assert!(Instant::now() < until, "the connection goes on");
        }
        found
    }

    /// Reads on until nothing came for so long; what came.
    pub fn rest(&mut self, quiet: Duration) -> Vec<Frame> {
        self.patience(quiet);
        let mut frames = Vec::new();
        while let Ok(frame) = self.next() {
            frames.push(frame);
        }
        self.patience(SOON);
        frames
    }

    /// Leaves the other side little room for answers that are not read.
    pub fn read_little(&self) {
        let socket = SockRef::from(&self.socket);
        socket.set_recv_buffer_size(4096).expect("the socket takes the option");
    }

    /// As long as one waits who only looks whether something is there.
    fn glance(&self) {
        self.socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a time above zero");
    }

    pub fn patience(&self, limit: Duration) {
        self.socket.set_read_timeout(Some(limit)).expect("a time above zero");
        self.socket.set_write_timeout(Some(limit)).expect("a time above zero");
    }
}
