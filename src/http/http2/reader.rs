//! Takes the peer's frames apart and does what they say.
//!
//! Whatever is wrong with a frame is either its stream's business, which is then reset, or ends the
//! connection: that is the error of everything here. What costs a peer little and us much is counted.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Buf, BytesMut};

use super::calm::Offences;
use super::core::Core;
use super::error::Broken;
use super::fields::Block;
use super::frame::{Code, HEAD, Head, MAX_FRAME, PREFACE, flag, kind};
use super::hpack::Decoder;
use super::stream::Stream;
use crate::runtime::clock;

/// Frames without any use, at once and in a second, more than those that have one.
const USELESS: u32 = 1_000;
/// So many may come with every message: updates of windows that cross its end, and the like.
const A_MESSAGE: u32 = 8;

/// What has come of the peer's frames.
pub struct Reader {
    pub buf: BytesMut,
    pub(super) decoder: Decoder,
    /// Of a client's first words.
    preface: &'static [u8],
    pub(super) is_settled: bool,
    data: Option<Data>,
    pub(super) block: Option<Block>,
    /// Frames without any use, but for those that had one.
    useless: Offences,
    /// Headers of the message before: the next will have as many.
    pub(super) headers: usize,
    /// Of the peer's requests, the newest that has come.
    pub(super) newest: u32,
    /// Answers to our pings.
    pub pongs: VecDeque<[u8; 8]>,
}

/// A DATA frame under way: its stream, if anybody wants it.
struct Data {
    stream: Option<Rc<Stream>>,
    left: usize,
    padding: usize,
    end: bool,
}

impl Reader {
    pub fn new(is_server: bool) -> Self {
        Self {
            buf: BytesMut::new(),
            decoder: Decoder::default(),
            preface: if is_server { PREFACE } else { &[] },
            is_settled: false,
            data: None,
            block: None,
            useless: Offences::of(USELESS),
            headers: 8,
            newest: 0,
            pongs: VecDeque::new(),
        }
    }

    /// Takes all that is whole, and of data what there is.
    ///
    /// # Errors
    /// The connection is over.
    pub fn take(&mut self, core: &mut Core) -> Result<(), Broken> {
        if !self.preface.is_empty() {
            let length = self.preface.len().min(self.buf.len());
            if self.buf[..length] != self.preface[..length] {
                return Err(Broken::protocol("it does not begin as HTTP/2 does"));
            }
            self.buf.advance(length);
            self.preface = &self.preface[length..];
        }
        loop {
            core.spoilt.bear("requests that are taken back or spoilt")?;
            if self.data.is_some() {
                if !self.take_data(core)? {
                    return Ok(());
                }
                continue;
            }
            let Some(bytes) = self.buf.first_chunk::<HEAD>() else { return Ok(()) };
            let head = Head::read(bytes);
            if head.length > MAX_FRAME {
                return Err(Broken::Protocol(Code::FRAME_SIZE_ERROR, "a frame is too large"));
            }
            if !self.is_settled && head.kind != kind::SETTINGS {
                return Err(Broken::protocol("its first frame is not SETTINGS"));
            }
            if let Some(block) = &self.block
                && (head.kind != kind::CONTINUATION || head.stream != block.stream)
            {
                return Err(Broken::protocol("another frame comes within a block of fields"));
            }
            if head.kind == kind::DATA {
                if self.buf.len() < HEAD + usize::from(head.has(flag::PADDED)) {
                    return Ok(());
                }
                self.begin_data(core, head)?;
                continue;
            }
            if self.buf.len() < HEAD + head.length {
                return Ok(());
            }
            // Out of the way while it is looked at: what it says concerns everything else.
            let buf = std::mem::take(&mut self.buf);
            let taken = self.take_frame(core, head, &buf[HEAD..HEAD + head.length]);
            self.buf = buf;
            self.buf.advance(HEAD + head.length);
            taken?;
        }
    }

    fn begin_data(&mut self, core: &mut Core, head: Head) -> Result<(), Broken> {
        self.buf.advance(HEAD);
        let mut left = head.length;
        let mut padding = 0;
        if head.has(flag::PADDED) {
            padding = match left {
                0 => return Err(size("a padded frame says no padding")),
                _ => usize::from(self.buf.get_u8()),
            };
            left -= 1;
            if padding > left {
                return Err(Broken::protocol("padding is longer than its frame"));
            }
            left -= padding;
        }
        let all = head.length as i64;
        core.window -= all;
        if core.window < 0 {
            return Err(flow("more data than the connection's window has room for"));
        }
        let stream = core.streams.get(&head.stream).cloned();
        let Some(stream) = stream else {
            self.unknown(core, head)?;
            core.give_back((head.length - left - padding) as u32);
            self.data = Some(Data { stream: None, left, padding, end: false });
            return Ok(());
        };
        self.count_use(left > 0 || head.has(flag::END_STREAM))?;
        let mut state = stream.state.borrow_mut();
        state.window -= all;
        let wrong = if state.ended {
            Some((Code::STREAM_CLOSED, "data comes after a message's end"))
        } else if state.window < 0 {
            Some((Code::FLOW_CONTROL_ERROR, "more data than its window has room for"))
        } else if state.expected.is_some_and(|expected| expected < left as u64) {
            Some((Code::PROTOCOL_ERROR, "its body is longer than its content-length"))
        } else if !core.is_server && !state.has_head {
            Some((Code::PROTOCOL_ERROR, "data comes before the answer's head"))
        } else {
            None
        };
        if let Some(expected) = &mut state.expected {
            *expected = expected.saturating_sub(left as u64);
        }
        drop(state);
        let overhead = (head.length - left - padding) as u32;
        match wrong {
            Some((code, why)) => {
                core.give_back(overhead);
                core.reset(&stream, code, Broken::Malformed(why));
                self.data = Some(Data { stream: None, left, padding, end: false });
            }
            None => {
                core.take(&stream, overhead);
                let end = head.has(flag::END_STREAM);
                self.data = Some(Data { stream: Some(stream), left, padding, end });
            }
        }
        Ok(())
    }

    /// Takes what has come of a DATA frame; whether that is all of it.
    fn take_data(&mut self, core: &mut Core) -> Result<bool, Broken> {
        let Some(data) = &mut self.data else { return Ok(true) };
        let length = data.left.min(self.buf.len());
        if length > 0 {
            let mut is_wanted = false;
            if let Some(stream) = &data.stream {
                let mut state = stream.state.borrow_mut();
                is_wanted = !state.unread && state.broken.is_none();
                if is_wanted {
                    state.data.push(&mut self.buf, length);
                    state.wake_reader();
                }
            }
            if !is_wanted {
                self.buf.advance(length);
                match &data.stream {
                    Some(stream) => core.take(stream, length as u32),
                    None => core.give_back(length as u32),
                }
            }
            data.left -= length;
        }
        if data.left > 0 {
            return Ok(false);
        }
        let length = data.padding.min(self.buf.len());
        self.buf.advance(length);
        data.padding -= length;
        match &data.stream {
            Some(stream) => core.take(stream, length as u32),
            None => core.give_back(length as u32),
        }
        if data.padding > 0 {
            return Ok(false);
        }
        if let Some(Data { stream: Some(stream), end: true, .. }) = self.data.take() {
            self.end(core, &stream);
        }
        Ok(true)
    }

    /// A message is through, unless its length says otherwise.
    pub(super) fn end(&mut self, core: &mut Core, stream: &Rc<Stream>) {
        if stream.state.borrow().expected.is_some_and(|left| left > 0) {
            let why = "its body is shorter than its content-length";
            core.reset(stream, Code::PROTOCOL_ERROR, Broken::Malformed(why));
            return;
        }
        self.useless.forgive(A_MESSAGE);
        core.end(stream);
    }

    /// A frame for a stream that is not there: which was never there, or is over.
    pub(super) fn unknown(&mut self, core: &mut Core, head: Head) -> Result<(), Broken> {
        if head.stream == 0 {
            return Err(Broken::protocol("a frame names no stream"));
        }
        let is_peers = (head.stream % 2 == 1) == core.is_server;
        let was_there = if is_peers { head.stream <= self.newest } else { head.stream < core.next };
        if !was_there {
            return Err(Broken::protocol("a frame names a stream that nobody has begun"));
        }
        let is_data = head.kind == kind::DATA;
        let is_late = !is_peers || core.leaves || core.was_reset(head.stream);
        // What crosses a stream's end is no offence, however late it comes; no data at all is.
        if !is_data && head.kind != kind::HEADERS || is_late {
            return match is_data && head.length == 0 {
                true => self.count_use(false),
                false => Ok(()),
            };
        }
        if !is_data {
            return Err(Broken::Protocol(Code::STREAM_CLOSED, "fields for a stream that is over"));
        }
        core.tell_reset(head.stream, Code::STREAM_CLOSED);
        self.count_use(false)
    }

    pub(super) fn count_use(&mut self, has_use: bool) -> Result<(), Broken> {
        if has_use {
            self.useless.forgive(1);
            return Ok(());
        }
        self.useless.add(1, clock::now_us());
        self.useless.bear("frames without any use")
    }

    fn take_frame(&mut self, core: &mut Core, head: Head, payload: &[u8]) -> Result<(), Broken> {
        match head.kind {
            kind::HEADERS => self.headers(core, head, payload),
            kind::CONTINUATION => self.continuation(core, head, payload),
            kind::PRIORITY => self.priority(core, head, payload),
            kind::RST_STREAM => self.rst_stream(core, head, payload),
            kind::SETTINGS => self.settings(core, head, payload),
            kind::PUSH_PROMISE => Err(Broken::protocol("it pushes, which nobody asked for")),
            kind::PING => self.ping(core, head, payload),
            kind::GOAWAY => self.go_away(core, head, payload),
            kind::WINDOW_UPDATE => self.window_update(core, head, payload),
            // RFC 9113, 5.5: what is not known is let be.
            _ => Ok(()),
        }
    }
}

pub(super) fn size(why: &'static str) -> Broken {
    Broken::Protocol(Code::FRAME_SIZE_ERROR, why)
}

pub(super) fn flow(why: &'static str) -> Broken {
    Broken::Protocol(Code::FLOW_CONTROL_ERROR, why)
}
