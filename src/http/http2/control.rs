//! Frames that say something of a stream or of the connection, and carry nothing.

use super::core::Core;
use super::error::Broken;
use super::frame::{self, Code, Head, MAX_FRAME, MAX_WINDOW, flag, setting};
use super::reader::{Reader, flow, size};

impl Reader {
    pub(super) fn priority(
        &mut self,
        core: &mut Core,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Broken> {
        if head.stream == 0 {
            return Err(Broken::protocol("a priority names no stream"));
        }
        let wrong = if payload.len() != 5 {
            (Code::FRAME_SIZE_ERROR, "a priority is five bytes")
        } else if frame::number(payload, 0) & 0x7fff_ffff == head.stream {
            (Code::PROTOCOL_ERROR, "a stream depends on itself")
        } else {
            return Ok(());
        };
        // It is the stream's affair, where there is one.
        let (code, why) = wrong;
        match core.streams.get(&head.stream).cloned() {
            Some(stream) => core.reset(&stream, code, Broken::Malformed(why)),
            None => return Err(Broken::Protocol(code, why)),
        }
        self.count_use(false)
    }

    pub(super) fn rst_stream(
        &mut self,
        core: &mut Core,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Broken> {
        if payload.len() != 4 {
            return Err(size("RST_STREAM has a code and nothing else"));
        }
        let Some(stream) = core.streams.get(&head.stream).cloned() else {
            return self.unknown(core, head);
        };
        core.take_back(&stream, Code(frame::number(payload, 0)));
        Ok(())
    }

    pub(super) fn settings(
        &mut self,
        core: &mut Core,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(Broken::protocol("SETTINGS are for the connection"));
        }
        if head.has(flag::ACK) {
            return match payload.len() {
                0 => Ok(()),
                _ => Err(size("an acknowledgement of SETTINGS says nothing else")),
            };
        }
        if !payload.len().is_multiple_of(6) {
            return Err(size("SETTINGS are six bytes each"));
        }
        self.is_settled = true;
        let mut window = None;
        for one in payload.chunks_exact(6) {
            let (id, value) = (u16::from_be_bytes([one[0], one[1]]), frame::number(one, 2));
            match id {
                setting::HEADER_TABLE_SIZE => core.encoder.set_limit(value as usize),
                setting::ENABLE_PUSH if value > 1 || value == 1 && !core.is_server => {
                    return Err(Broken::protocol("ENABLE_PUSH is 0 or 1, and a server's is 0"));
                }
                setting::ENABLE_CONNECT_PROTOCOL if value > 1 => {
                    return Err(Broken::protocol("ENABLE_CONNECT_PROTOCOL is 0 or 1"));
                }
                setting::MAX_CONCURRENT_STREAMS => core.peer.streams = value,
                setting::INITIAL_WINDOW_SIZE if i64::from(value) > MAX_WINDOW => {
                    return Err(flow("INITIAL_WINDOW_SIZE is too large"));
                }
                setting::INITIAL_WINDOW_SIZE => window = Some(i64::from(value)),
                setting::MAX_FRAME_SIZE => {
                    let size = value as usize;
                    if !(MAX_FRAME..1 << 24).contains(&size) {
                        return Err(Broken::protocol("MAX_FRAME_SIZE is too small or too large"));
                    }
                }
                _ => {}
            }
        }
        if let Some(window) = window {
            // Once, however often they say it: every stream is walked.
            let more = window - std::mem::replace(&mut core.peer.window, window);
            for stream in core.streams.values() {
                let mut state = stream.state.borrow_mut();
                state.credit += more;
                if state.credit > MAX_WINDOW {
                    return Err(flow("a window is too large"));
                }
                state.wake_writer();
            }
        }
        frame::settings_ack(core.out());
        self.count_use(false)
    }

    pub(super) fn ping(
        &mut self,
        core: &mut Core,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(Broken::protocol("a PING is for the connection"));
        }
        let opaque = payload.try_into().map_err(|_| size("a PING is eight bytes"))?;
        if !head.has(flag::ACK) {
            frame::ping(core.out(), flag::ACK, opaque);
        } else if self.pongs.len() < 2 {
            self.pongs.push_back(opaque);
        }
        Ok(())
    }

    pub(super) fn go_away(
        &mut self,
        core: &mut Core,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(Broken::protocol("a GOAWAY is for the connection"));
        }
        if payload.len() < 8 {
            return Err(size("a GOAWAY is eight bytes at least"));
        }
        let (last, code) =
            (frame::number(payload, 0) & 0x7fff_ffff, Code(frame::number(payload, 4)));
        if core.is_server {
            // It takes no pushes of ours, and there are none.
            return Ok(());
        }
        core.leaves = true;
        let not_taken: Vec<u32> = core.streams.keys().copied().filter(|id| *id > last).collect();
        for stream in not_taken.iter().filter_map(|id| core.streams.remove(id)) {
            stream.state.borrow_mut().fail(Broken::NotTaken);
        }
        if code != Code::NO_ERROR {
            // What it has taken it may answer still, before it goes.
            core.farewell = Some(code);
        }
        Ok(())
    }

    pub(super) fn window_update(
        &mut self,
        core: &mut Core,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Broken> {
        if payload.len() != 4 {
            return Err(size("WINDOW_UPDATE has a number and nothing else"));
        }
        let more = i64::from(frame::number(payload, 0) & 0x7fff_ffff);
        if head.stream == 0 {
            core.credit += more;
            return match more {
                0 => Err(Broken::protocol("a window grows by nothing")),
                _ if core.credit > MAX_WINDOW => Err(flow("the connection's window is too large")),
                _ => Ok(()),
            };
        }
        let Some(stream) = core.streams.get(&head.stream).cloned() else {
            return self.unknown(core, head);
        };
        let mut state = stream.state.borrow_mut();
        state.credit += more;
        let credit = state.credit;
        state.wake_writer();
        drop(state);
        if more == 0 {
            let why = Broken::Malformed("a window grows by nothing");
            core.reset(&stream, Code::PROTOCOL_ERROR, why);
        } else if credit > MAX_WINDOW {
            let why = Broken::Malformed("its window is too large");
            core.reset(&stream, Code::FLOW_CONTROL_ERROR, why);
        }
        Ok(())
    }
}
