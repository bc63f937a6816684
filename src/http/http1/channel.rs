//! A body on its way from the connection that reads it to whoever wants it, piece by piece.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::broken::Broken;

#[derive(Default)]
struct State {
    /// One piece at most: the next is read when this one is taken.
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    end: Option<Result<(), Broken>>,
    is_wanted: bool,
    /// Whoever reads it waits.
    reader: Option<Waker>,
    /// Whoever fills it waits to be wanted.
    driver: Option<Waker>,
}

/// The end that the connection fills.
#[derive(Default)]
pub struct Channel(Rc<RefCell<State>>);

/// The end that is read.
pub struct Receiver {
    state: Rc<RefCell<State>>,
    length: Option<u64>,
}

/// What has come of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Wanted,
    NotNow,
    /// Nobody reads it any more.
    Never,
}

impl Channel {
    /// `length` is what the head says of it.
    pub fn receiver(&self, length: Option<u64>) -> Receiver {
        Receiver { state: Rc::clone(&self.0), length }
    }

    pub fn wish(&self, cx: &mut Context<'_>) -> Wish {
        if Rc::strong_count(&self.0) == 1 {
            return Wish::Never;
        }
        let mut state = self.0.borrow_mut();
        watch(&mut state.driver, cx);
        if state.is_wanted { Wish::Wanted } else { Wish::NotNow }
    }

    pub fn fill(&self, data: Bytes, cx: &mut Context<'_>) {
        let mut state = self.0.borrow_mut();
        state.data = Some(data);
        state.is_wanted = false;
        wake(&mut state.reader, cx);
    }

    pub fn end(self, end: Result<Option<HeaderMap>, Broken>, cx: &mut Context<'_>) {
        let mut state = self.0.borrow_mut();
        match end {
            Ok(trailers) => {
                state.trailers = trailers.filter(|trailers| !trailers.is_empty());
                state.end = Some(Ok(()));
            }
            Err(broken) => state.end = Some(Err(broken)),
        }
        wake(&mut state.reader, cx);
    }
}

impl Drop for Channel {
    /// However it ends: nobody waits for what will never come.
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        if state.end.is_none() {
            state.end = Some(Err(Broken::Cut));
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
        }
    }
}

impl Receiver {
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut state = self.state.borrow_mut();
        if let Some(data) = state.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &state.end {
            Some(Ok(())) => {
                Poll::Ready(state.trailers.take().map(|fields| Ok(Frame::trailers(fields))))
            }
            Some(Err(broken)) => Poll::Ready(Some(Err(broken.clone()))),
            None => {
                state.is_wanted = true;
                watch(&mut state.reader, cx);
                wake(&mut state.driver, cx);
                Poll::Pending
            }
        }
    }

    pub fn is_end_stream(&self) -> bool {
        let state = self.state.borrow();
        matches!(state.end, Some(Ok(()))) && state.data.is_none() && state.trailers.is_none()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        if state.end.is_none()
            && let Some(driver) = state.driver.take()
        {
            driver.wake();
        }
    }
}

fn watch(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

/// Both ends are polled by one task as a rule, which then looks by itself.
fn wake(waker: &mut Option<Waker>, cx: &Context<'_>) {
    if let Some(waker) = waker.take_if(|waker| !waker.will_wake(cx.waker())) {
        waker.wake();
    }
}
