//! A request body that can be sent again.
//!
//! Frames are kept as they go by, up to a limit; an attempt reads what was kept and then goes on
//! with the source. Past the limit, or once the answer is taken, nothing is kept and there is no
//! second attempt. Keeping costs a reference count a frame, not a copy.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, BodyError};

/// The body of one request, across its attempts.
#[derive(Clone, Debug)]
pub struct Replay(Rc<RefCell<Shared>>);

#[derive(Debug)]
struct Shared {
    source: Body,
    kept: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    kept_bytes: usize,
    limit_bytes: usize,
    keeping: bool,
    ended: bool,
    /// The newest attempt; an older one that is still read gets nothing more.
    attempt: u32,
}

/// The body as one attempt sends it.
#[derive(Debug)]
pub struct Replayed {
    shared: Rc<RefCell<Shared>>,
    attempt: u32,
    next: usize,
    trailers_sent: bool,
}

impl Replay {
    pub fn new(source: Body, limit_bytes: usize) -> Self {
        let keeping = source.size_hint().lower() <= limit_bytes as u64;
        Self(Rc::new(RefCell::new(Shared {
            source,
            kept: Vec::new(),
            trailers: None,
            kept_bytes: 0,
            limit_bytes,
            keeping,
            ended: false,
            attempt: 0,
        })))
    }

    /// The body for the next attempt, from its first byte.
    pub fn attempt(&self) -> Body {
        let attempt = {
            let mut shared = self.0.borrow_mut();
            shared.attempt += 1;
            shared.attempt
        };
        let shared = Rc::clone(&self.0);
        Body::replayed(Replayed { shared, attempt, next: 0, trailers_sent: false })
    }

    /// True while every byte that went by is still here.
    pub fn can_repeat(&self) -> bool {
        self.0.borrow().keeping
    }

    /// True when all of it was read and kept: several attempts may read it at once.
    pub fn is_whole(&self) -> bool {
        let shared = self.0.borrow();
        shared.keeping && shared.ended
    }

    /// The answer was taken: nothing need be kept any more.
    pub fn settle(&self) {
        self.0.borrow_mut().stop_keeping();
    }
}

impl Shared {
    fn stop_keeping(&mut self) {
        self.keeping = false;
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.kept_bytes += data.len();
            if self.kept_bytes > self.limit_bytes {
                self.stop_keeping();
            } else {
                self.kept.push(data.clone());
            }
        } else {
            self.trailers = frame.trailers_ref().cloned();
        }
    }
}

impl Replayed {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let shared = &mut *self.shared.borrow_mut();
        if shared.attempt != self.attempt && !(shared.ended && shared.keeping) {
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        if let Some(bytes) = shared.kept.get(self.next) {
            let bytes = bytes.clone();
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !shared.keeping && !shared.kept.is_empty() {
            // This attempt has read all that was kept, and there will be no other.
            shared.kept = Vec::new();
            self.next = 0;
        }
        if shared.ended {
            let trailers = shared.trailers.clone().filter(|_| !self.trailers_sent);
            self.trailers_sent = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = std::task::ready!(Pin::new(&mut shared.source).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let kept = shared.kept.len();
                if shared.keeping {
                    shared.keep(frame);
                }
                self.next += usize::from(shared.kept.len() > kept);
                self.trailers_sent |= frame.is_trailers();
                shared.ended = shared.source.is_end_stream();
            }
            Some(Err(_)) => shared.stop_keeping(),
            None => shared.ended = true,
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let shared = self.shared.borrow();
        self.next >= shared.kept.len()
            && (shared.ended || shared.source.is_end_stream())
            && (shared.trailers.is_none() || self.trailers_sent)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let shared = self.shared.borrow();
        let kept: u64 = shared.kept[self.next.min(shared.kept.len())..]
            .iter()
            .map(|bytes| bytes.len() as u64)
            .sum();
        let rest = shared.source.size_hint();
        match rest.exact() {
            Some(exact) => SizeHint::with_exact(kept + exact),
            None => SizeHint::default(),
        }
    }
}
