//! A body that is read twice: by whom it is for, and by somebody who must never hold that one up.
//!
//! The copy gets each frame as it goes by, a reference count and no more. It has room for so many
//! bytes that nobody took yet; when they are exceeded, or the original breaks off, the copy breaks
//! off and the original does not notice.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::{Body, BodyError};

/// What the copy has not taken yet.
const ROOM: usize = 256 * 1024;

/// The body and its copy.
pub fn tee(body: Body) -> (Body, Body) {
    if body.is_empty() {
        return (body, Body::empty());
    }
    let wire = Rc::new(RefCell::new(Wire { size: body.size_hint(), ..Wire::default() }));
    let original = Body::teed(Teed { body, wire: Rc::clone(&wire) });
    (original, Body::copied(Copied(wire)))
}

#[derive(Debug, Default)]
struct Wire {
    waiting: VecDeque<Frame<Bytes>>,
    bytes: usize,
    end: Option<End>,
    size: SizeHint,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

impl Wire {
    fn push(&mut self, frame: &Frame<Bytes>) {
        let copy = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Frame::data(data.clone()),
            (None, Some(trailers)) => Frame::trailers(trailers.clone()),
            (None, None) => return,
        };
        self.bytes += frame.data_ref().map_or(0, Bytes::len);
        if self.bytes > ROOM {
            return self.end(End::Broken);
        }
        self.waiting.push_back(copy);
        self.wake();
    }

    /// The first end counts.
    fn end(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            if end == End::Broken {
                self.waiting = VecDeque::new();
            }
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The original.
#[derive(Debug)]
pub struct Teed {
    body: Body,
    wire: Rc<RefCell<Wire>>,
}

impl Teed {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let mut wire = self.wire.borrow_mut();
        match &polled {
            _ if wire.end.is_some() => {}
            Some(Ok(frame)) => {
                wire.push(frame);
                if self.body.is_end_stream() {
                    wire.end(End::Whole);
                }
            }
            Some(Err(_)) => wire.end(End::Broken),
            None => wire.end(End::Whole),
        }
        Poll::Ready(polled)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Teed {
    fn drop(&mut self) {
        let end = if self.body.is_end_stream() { End::Whole } else { End::Broken };
        self.wire.borrow_mut().end(end);
    }
}

/// The copy.
#[derive(Debug)]
pub struct Copied(Rc<RefCell<Wire>>);

impl Copied {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut wire = self.0.borrow_mut();
        if let Some(frame) = wire.waiting.pop_front() {
            wire.bytes -= frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(Some(Ok(frame)));
        }
        match wire.end {
            Some(End::Whole) => Poll::Ready(None),
            Some(End::Broken) => Poll::Ready(Some(Err(BodyError::Cut))),
            None => {
                wire.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let wire = self.0.borrow();
        wire.waiting.is_empty() && wire.end == Some(End::Whole)
    }

    /// What the original said when nothing of it was read.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.0.borrow().size
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // Nobody reads any more: nothing need be kept.
        self.0.borrow_mut().end(End::Broken);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn both_get_every_byte() {
        let (original, copy) = tee(Body::full("some bytes"));
        let (original, copy) = tokio::join!(original.collect(), copy.collect());
        let text = |collected: Result<http_body_util::Collected<Bytes>, BodyError>| {
            collected.expect("a whole body").to_bytes()
        };
        assert_eq!(text(original), "some bytes");
        assert_eq!(text(copy), "some bytes");
    }

    #[tokio::test]
    async fn a_copy_that_is_not_read_breaks_and_holds_nothing() {
        let large = vec![7u8; ROOM + 1];
        let (original, copy) = tee(Body::full(large));
        let read = original.collect().await.expect("the original is not held up");
        assert_eq!(read.to_bytes().len(), ROOM + 1);
        assert!(matches!(copy.collect().await, Err(BodyError::Cut)));
    }

    #[tokio::test]
    async fn an_original_that_is_given_up_breaks_its_copy() {
        let (original, copy) = tee(Body::full("some bytes"));
        drop(original);
        assert!(matches!(copy.collect().await, Err(BodyError::Cut)));
    }
}
