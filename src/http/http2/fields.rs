//! Blocks of fields as they come: heads of messages, and trailers.

use std::rc::Rc;

use http::StatusCode;

use super::calm::calm;
use super::core::Core;
use super::error::Broken;
use super::frame::{self, Code, Head, flag, kind};
use super::head::{self, Heard, Unheard};
use super::reader::{Reader, size};
use super::stream::Stream;
use super::{HEADER_LIST, STREAMS};

/// Of a packed block of fields, and the frames that it may come in.
const BLOCK: usize = 2 * HEADER_LIST;
const CONTINUATIONS: u32 = 32;

/// A block of fields that is not whole yet.
pub struct Block {
    pub stream: u32,
    end: bool,
    bytes: Vec<u8>,
    frames: u32,
}

impl Reader {
    pub(super) fn headers(
        &mut self,
        core: &mut Core,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Broken> {
        if head.stream == 0 {
            return Err(Broken::protocol("fields name no stream"));
        }
        let mut payload = payload;
        let mut padding = 0;
        if head.has(flag::PADDED) {
            let (first, rest) = payload.split_first().ok_or(size("a frame is cut short"))?;
            padding = usize::from(*first);
            payload = rest;
        }
        if head.has(flag::PRIORITY) {
            let (priority, rest) =
                payload.split_at_checked(5).ok_or(size("a frame is cut short"))?;
            if frame::number(priority, 0) & 0x7fff_ffff == head.stream {
                return Err(Broken::protocol("a stream depends on itself"));
            }
            payload = rest;
        }
        let length = payload.len().checked_sub(padding);
        let length = length.ok_or(Broken::protocol("padding is longer than its frame"))?;
        let (payload, end) = (&payload[..length], head.has(flag::END_STREAM));
        if head.has(flag::END_HEADERS) {
            return self.fields(core, head.stream, end, payload);
        }
        let bytes = payload.to_vec();
        self.block = Some(Block { stream: head.stream, end, bytes, frames: 0 });
        Ok(())
    }

    pub(super) fn continuation(
        &mut self,
        core: &mut Core,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Broken> {
        let Some(mut block) = self.block.take() else {
            return Err(Broken::protocol("fields go on that nobody began"));
        };
        block.frames += 1;
        let is_small = block.bytes.len() + payload.len() <= BLOCK;
        calm(is_small && block.frames <= CONTINUATIONS, "a block of fields without end")?;
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.fields(core, block.stream, block.end, &block.bytes);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A whole block of fields: a head, or trailers.
    fn fields(&mut self, core: &mut Core, id: u32, end: bool, block: &[u8]) -> Result<(), Broken> {
        let mut heard = Heard::with_capacity(self.headers);
        // Whatever becomes of them, the table has to stay what it is at the other end.
        self.decoder
            .decode(block, |field, size| heard.take(field, size))
            .map_err(|_| Broken::Protocol(Code::COMPRESSION_ERROR, "fields can't be unpacked"))?;
        calm(!heard.is_bomb(), "fields that are millions of bytes when unpacked")?;
        if let Some(stream) = core.streams.get(&id).cloned() {
            return self.later_fields(core, &stream, end, heard);
        }
        let is_new = core.is_server && id % 2 == 1 && id > self.newest;
        if !is_new {
            let head = Head { length: 0, kind: kind::HEADERS, flags: 0, stream: id };
            return self.unknown(core, head);
        }
        self.newest = id;
        if core.leaves {
            return Ok(());
        }
        core.last = id;
        if core.streams.len() >= STREAMS as usize {
            core.tell_reset(id, Code::REFUSED_STREAM);
            return self.count_use(false);
        }
        self.headers = heard.len().next_multiple_of(4);
        let stream = core.open(id);
        let request = match heard.request() {
            Ok(request) => request,
            Err(why) => {
                core.reset(&stream, Code::PROTOCOL_ERROR, Broken::Malformed(why));
                return Ok(());
            }
        };
        match head::length(request.headers()) {
            Ok(length) => stream.state.borrow_mut().set_length(length),
            Err(why) => {
                core.reset(&stream, Code::PROTOCOL_ERROR, Broken::Malformed(why));
                return Ok(());
            }
        }
        if end {
            self.end(core, &stream);
        } else {
            let expects = request.headers().get(http::header::EXPECT);
            stream.state.borrow_mut().expects_word =
                expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        }
        if stream.state.borrow().broken.is_none() {
            core.queue(stream, request);
        }
        Ok(())
    }

    /// Fields on a stream that is there: an answer's head, or trailers.
    fn later_fields(
        &mut self,
        core: &mut Core,
        stream: &Rc<Stream>,
        end: bool,
        heard: Heard,
    ) -> Result<(), Broken> {
        let mut state = stream.state.borrow_mut();
        let has_head = core.is_server || state.has_head;
        let wrong = if state.ended {
            (Code::STREAM_CLOSED, "fields come after a message's end")
        } else if has_head && !end {
            (Code::PROTOCOL_ERROR, "trailers do not end their message")
        } else if has_head {
            match heard.trailers() {
                Ok(trailers) => {
                    if !state.unread {
                        state.trailers = Some(trailers);
                    }
                    drop(state);
                    self.end(core, stream);
                    return Ok(());
                }
                Err(Unheard::Malformed(why)) => (Code::PROTOCOL_ERROR, why),
                Err(Unheard::TooLarge) => (Code::PROTOCOL_ERROR, "its trailers are too large"),
            }
        } else {
            self.headers = heard.len().next_multiple_of(4);
            match heard.response() {
                Ok(head) if head.status().is_informational() => {
                    if !end && head.status() != StatusCode::SWITCHING_PROTOCOLS {
                        return self.count_use(false);
                    }
                    (Code::PROTOCOL_ERROR, "an answer ends before its beginning")
                }
                Ok(head) => match length_of(&head, state.is_head) {
                    Ok(length) => {
                        state.set_length(length);
                        state.has_head = true;
                        state.head = Some(head);
                        state.wake_reader();
                        drop(state);
                        if end {
                            self.end(core, stream);
                        }
                        return Ok(());
                    }
                    Err(why) => (Code::PROTOCOL_ERROR, why),
                },
                Err(Unheard::Malformed(why)) => (Code::PROTOCOL_ERROR, why),
                Err(Unheard::TooLarge) => (Code::PROTOCOL_ERROR, "its head is too large"),
            }
        };
        drop(state);
        let (code, why) = wrong;
        core.reset(stream, code, Broken::Malformed(why));
        self.count_use(false)
    }
}

/// Of an answer's body; `None` where it does not say, or there is none.
fn length_of(head: &http::Response<()>, is_head: bool) -> Result<Option<u64>, &'static str> {
    let has_none =
        is_head || matches!(head.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = head::length(head.headers())?;
    Ok(length.filter(|_| !has_none))
}
