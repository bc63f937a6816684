//! The one body type of the data path: frames of `Bytes`, never boxed one by one.
//!
//! A body is a source of frames and, where somebody must move or watch them, a tail. The tail of a
//! response drives its upstream connection and keeps the request's record; it learns how the body
//! ended exactly once, and a body that is dropped half-way tells it so.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::guard::Violation;
use super::pipe::Piped;
use super::replay::Replayed;
use super::tee::{Copied, Teed};
use super::{http1, http2};
use crate::model::Reason;
use crate::runtime::turns::Turns;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// What moves and watches the frames of one body.
pub trait Tail {
    /// Moves what frames come from (an upstream connection polled in place); called when the source
    /// has nothing, which is asked once more afterwards.
    fn drive(&mut self, _cx: &mut Context<'_>) {}

    /// Nothing came, even after `drive`: says when that has lasted too long.
    fn wait(&mut self, _cx: &mut Context<'_>) -> Option<BodyError> {
        None
    }

    /// `bytes` of data went by.
    fn data(&mut self, _bytes: usize) {}

    /// Trailers are about to go by.
    fn trailers(&mut self, _trailers: &mut HeaderMap) {}

    /// The body is over; called at most once, and not at all when it is dropped half-way.
    fn end(&mut self, _error: Option<&BodyError>) {}
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the connection that the body came from broke")]
    Connection(#[source] http1::Broken),
    #[error("the stream that the body came on broke")]
    Stream(#[source] http2::Broken),
    #[error("it was cut before its end")]
    Cut,
    #[error("{}", .0.sentence())]
    Refused(Violation),
    #[error("no byte of the body came for {0:?}")]
    Idle(std::time::Duration),
    #[error("the answer was not through in the time that the request may take")]
    Late(Reason),
}

impl BodyError {
    /// The reason, where it is a request's body that broke.
    pub fn reason(&self) -> Reason {
        match self {
            BodyError::Refused(_) => Reason::BadRequest,
            BodyError::Idle(_) => Reason::BodyTimeout,
            BodyError::Late(reason) => *reason,
            BodyError::Connection(_) | BodyError::Stream(_) | BodyError::Cut => {
                Reason::ClientClosed
            }
        }
    }
}

/// A body of known shape; see the module.
#[derive(Default)]
pub struct Body {
    source: Source,
    tail: Option<Box<dyn Tail>>,
    turns: Turns,
}

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Full(Bytes),
    Message(http1::Receiver),
    Stream(http2::Receiver),
    Piped(Piped),
    Replay(Replayed),
    Teed(Box<Teed>),
    Copied(Copied),
}

impl Body {
    pub fn empty() -> Self {
        Self::default()
    }

    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Full(bytes.into()), tail: None, turns: Turns::default() }
    }

    /// A body that is read from HTTP/1 as it is wanted.
    pub fn message(message: http1::Receiver) -> Self {
        Self { source: Source::Message(message), tail: None, turns: Turns::default() }
    }

    /// A body that comes on a stream of HTTP/2.
    pub fn stream(stream: http2::Receiver) -> Self {
        let source = match stream.is_end_stream() {
            true => Source::Empty,
            false => Source::Stream(stream),
        };
        Self { source, tail: None, turns: Turns::default() }
    }

    /// What a tunnel writes.
    pub fn piped(piped: Piped) -> Self {
        Self { source: Source::Piped(piped), ..Self::default() }
    }

    /// A body that is kept while it is sent, so that it can be sent again.
    pub fn replayed(replayed: Replayed) -> Self {
        Self { source: Source::Replay(replayed), tail: None, turns: Turns::default() }
    }

    /// A body that somebody else gets a copy of.
    pub fn teed(teed: Teed) -> Self {
        Self { source: Source::Teed(Box::new(teed)), tail: None, turns: Turns::default() }
    }

    /// Such a copy.
    pub fn copied(copied: Copied) -> Self {
        Self { source: Source::Copied(copied), tail: None, turns: Turns::default() }
    }

    /// Puts a tail on; it replaces any that was there.
    #[must_use]
    pub fn with_tail(mut self, tail: Box<dyn Tail>) -> Self {
        self.tail = Some(tail);
        self
    }

    /// True when no frame will ever come.
    pub fn is_empty(&self) -> bool {
        matches!(self.source, Source::Empty)
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Source::Message(message) => message.poll_frame(cx).map_err(|broken| match broken {
                http1::Broken::Refused(violation) => BodyError::Refused(violation),
                broken => BodyError::Connection(broken),
            }),
            Source::Stream(stream) => stream.poll_frame(cx).map_err(BodyError::Stream),
            Source::Piped(piped) => piped.poll_frame(cx),
            Source::Replay(replayed) => replayed.poll_frame(cx),
            Source::Teed(teed) => teed.poll_frame(cx),
            Source::Copied(copied) => copied.poll_frame(cx),
        }
    }

    fn watch(&mut self, frame: &mut Frame<Bytes>) {
        self.turns.moved(frame.data_ref().map_or(0, Bytes::len));
        if let Some(tail) = &mut self.tail {
            if let Some(data) = frame.data_ref() {
                tail.data(data.len());
            } else if let Some(trailers) = frame.trailers_mut() {
                tail.trailers(trailers);
            }
        }
        // Nobody asks further when a body of known length is through, so the end is told with the
        // last byte.
        if frame.is_trailers() || self.is_end_stream() {
            self.over(None);
        }
    }

    fn over(&mut self, error: Option<&BodyError>) {
        if let Some(mut tail) = self.tail.take() {
            tail.end(error);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.turns.is_over(cx) {
            return Poll::Pending;
        }
        let mut polled = this.poll_source(cx);
        if let (Poll::Pending, Some(tail)) = (&polled, &mut this.tail) {
            tail.drive(cx);
            polled = this.poll_source(cx);
        }
        if let (Poll::Pending, Some(tail)) = (&polled, &mut this.tail)
            && let Some(error) = tail.wait(cx)
        {
            polled = Poll::Ready(Some(Err(error)));
        }
        match &mut polled {
            Poll::Ready(Some(Ok(frame))) => this.watch(frame),
            Poll::Ready(Some(Err(error))) => this.over(Some(error)),
            Poll::Ready(None) => this.over(None),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Full(bytes) => bytes.is_empty(),
            Source::Message(message) => message.is_end_stream(),
            Source::Stream(stream) => stream.is_end_stream(),
            Source::Piped(piped) => piped.is_end_stream(),
            Source::Replay(replayed) => replayed.is_end_stream(),
            Source::Teed(teed) => teed.is_end_stream(),
            Source::Copied(copied) => copied.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Message(message) => message.size_hint(),
            Source::Stream(stream) => stream.size_hint(),
            Source::Piped(_) => SizeHint::default(),
            Source::Replay(replayed) => replayed.size_hint(),
            Source::Teed(teed) => teed.size_hint(),
            Source::Copied(copied) => copied.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}
