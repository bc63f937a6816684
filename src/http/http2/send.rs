//! The body of a message on its way out, as fast as the peer takes it.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body as _;

use super::frame::Code;
use super::head;
use super::stream::Handle;
use crate::http::{Body, BodyError};

/// Moves a body into its stream.
pub struct Pump {
    handle: Rc<Handle>,
    body: Body,
    /// Read, but there was no room for it yet.
    waiting: Bytes,
    /// What the peer is told when the body breaks off, and nobody said why.
    broken: Code,
}

/// The body is not whole: the far side must not take half of it for all.
struct Unfinished(Code);

impl Pump {
    pub fn new(handle: Rc<Handle>, body: Body, broken: Code) -> Self {
        Self { handle, body, waiting: Bytes::new(), broken }
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unfinished>> {
        loop {
            if !self.waiting.is_empty() {
                ready!(self.poll_send(cx));
                if self.waiting.is_empty() && self.body.is_end_stream() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    self.handle.stream.state.borrow_mut().watch_write(cx);
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() && !self.body.is_end_stream() => {}
                    Ok(data) if data.is_empty() => return Poll::Ready(self.end()),
                    Ok(data) => self.waiting = data,
                    Err(frame) => {
                        let Ok(trailers) = frame.into_trailers() else { continue };
                        let Handle { core, stream } = &*self.handle;
                        core.borrow_mut().send_fields(stream, true, |encoder, out| {
                            head::write_headers(&trailers, encoder, out);
                        });
                        return Poll::Ready(Ok(()));
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    let code = match error {
                        BodyError::Stream(broken) => broken.code(),
                        _ => None,
                    };
                    return Poll::Ready(Err(Unfinished(code.unwrap_or(self.broken))));
                }
                Poll::Ready(None) => return Poll::Ready(self.end()),
            }
        }
    }

    /// Sends what there is room for.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Handle { core, stream } = &*self.handle;
        let mut core = core.borrow_mut();
        let mut state = stream.state.borrow_mut();
        let room = core.room(&state).min(self.waiting.len());
        if room == 0 {
            state.watch_write(cx);
            // The peer's own window for it says when; what all share is given in turn.
            if state.credit > 0 {
                core.wait(stream, &mut state);
            }
            return Poll::Pending;
        }
        drop(state);
        let is_last = room == self.waiting.len() && self.body.is_end_stream();
        core.send_data(stream, &self.waiting[..room], is_last);
        self.waiting.advance(room);
        Poll::Ready(())
    }

    fn end(&mut self) -> Result<(), Unfinished> {
        let Handle { core, stream } = &*self.handle;
        core.borrow_mut().send_data(stream, &[], true);
        Ok(())
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A peer that resets the stream, or answers early and closes it, wants no more.
        if self.handle.broken().is_some() {
            return Poll::Ready(());
        }
        if let Err(Unfinished(code)) = ready!(self.poll_all(cx)) {
            self.handle.reset(code);
        }
        Poll::Ready(())
    }
}
