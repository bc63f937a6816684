//! The body of a message that comes on a stream.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::error::Broken;
use super::hpack;
use super::stream::Handle;

/// Reads a stream's data and trailers; the peer may send more as fast as they are taken.
pub struct Receiver {
    handle: Rc<Handle>,
    /// Of the whole body, where its head says.
    length: Option<u64>,
}

impl Receiver {
    pub fn new(handle: Rc<Handle>) -> Self {
        let length = handle.stream.state.borrow().length;
        Self { handle, length }
    }

    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Handle { core, stream } = &*self.handle;
        let mut state = stream.state.borrow_mut();
        if let Some(data) = state.data.pop() {
            drop(state);
            core.borrow_mut().take(stream, data.len() as u32);
            self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = state.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if let Some(broken) = &state.broken {
            return Poll::Ready(Some(Err(broken.clone())));
        }
        state.watch_read(cx);
        if std::mem::take(&mut state.expects_word) {
            drop(state);
            // RFC 9110, 10.1.1: the body is wanted.
            let go_on = |encoder: &mut hpack::Encoder, out: &mut Vec<u8>| {
                encoder.field(out, ":status", b"100", false);
            };
            core.borrow_mut().send_fields(stream, false, go_on);
        }
        Poll::Pending
    }

    pub fn is_end_stream(&self) -> bool {
        let state = self.handle.stream.state.borrow();
        state.ended && state.data.is_empty() && state.trailers.is_none()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let Handle { core, stream } = &*self.handle;
        core.borrow_mut().throw_away(stream);
    }
}
