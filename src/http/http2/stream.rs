//! One stream: what came on it and waits, and what may still go out.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Response};

use super::core::Core;
use super::error::Broken;
use super::frame::Code;
use super::queue::Queue;

/// A stream of a connection.
pub struct Stream {
    pub id: u32,
    pub state: RefCell<State>,
}

/// How far a stream is.
#[derive(Default)]
pub struct State {
    /// Of the answer, until somebody takes it.
    pub head: Option<Response<()>>,
    /// The answer's has come, or gone.
    pub has_head: bool,
    pub data: Queue,
    pub trailers: Option<HeaderMap>,
    /// All of the peer's message has come.
    pub ended: bool,
    /// Of the peer's message, where its head says; and what of it is still to come.
    pub length: Option<u64>,
    pub expected: Option<u64>,
    /// Nobody reads it: what comes is thrown away.
    pub unread: bool,
    /// The peer waits for a word before it sends its body.
    pub expects_word: bool,
    /// The peer may send so much more.
    pub window: i64,
    /// Read, and not yet given back to the window.
    pub taken: u32,
    pub reader: Option<Waker>,
    /// Where our message begins among all that the connection sends.
    pub begins_at: u64,
    /// We may send so much more.
    pub credit: i64,
    /// All of our message is sent.
    pub finished: bool,
    pub writer: Option<Waker>,
    /// It waits for room, among those of the connection.
    pub waits: bool,
    /// It has sent something since it last waited.
    pub fed: bool,
    pub broken: Option<Broken>,
    /// The answer to it has no body, whatever its fields say.
    pub is_head: bool,
}

impl Stream {
    pub fn new(id: u32, credit: i64, window: i64, begins_at: u64) -> Rc<Self> {
        let state = State { credit, window, begins_at, ..State::default() };
        Rc::new(Self { id, state: RefCell::new(state) })
    }
}

impl State {
    pub fn is_over(&self) -> bool {
        self.broken.is_some() || self.ended && self.finished
    }

    pub fn set_length(&mut self, length: Option<u64>) {
        (self.length, self.expected) = (length, length);
    }

    pub fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    pub fn watch_read(&mut self, cx: &Context<'_>) {
        watch(&mut self.reader, cx);
    }

    pub fn watch_write(&mut self, cx: &Context<'_>) {
        watch(&mut self.writer, cx);
    }

    pub fn fail(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
        self.wake_reader();
        self.wake_writer();
    }
}

fn watch(waker: &mut Option<Waker>, cx: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}

/// A stream in somebody's hands. Once nobody holds one, what is not over is reset.
pub struct Handle {
    pub(super) core: Rc<RefCell<Core>>,
    pub(super) stream: Rc<Stream>,
}

impl Handle {
    pub(super) fn new(core: &Rc<RefCell<Core>>, stream: Rc<Stream>) -> Rc<Self> {
        Rc::new(Self { core: Rc::clone(core), stream })
    }

    /// The answer's head.
    pub fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Broken>> {
        let mut state = self.stream.state.borrow_mut();
        if let Some(head) = state.head.take() {
            return Poll::Ready(Ok(head));
        }
        if let Some(broken) = &state.broken {
            return Poll::Ready(Err(broken.clone()));
        }
        state.watch_read(cx);
        Poll::Pending
    }

    /// Why nothing can be sent on it any more, if so.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.stream.state.borrow().broken.clone()
    }

    /// Ends it at once.
    pub fn reset(&self, code: Code) {
        self.core.borrow_mut().reset(&self.stream, code, Broken::Ended(code));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let state = self.stream.state.borrow();
        let (is_over, has_rest) = (state.is_over(), !state.data.is_empty());
        if is_over && !has_rest {
            return;
        }
        // An answer that is through needs no more of its request.
        let is_answered = state.finished;
        drop(state);
        let mut core = self.core.borrow_mut();
        if is_over {
            core.throw_away(&self.stream);
            return;
        }
        let code = if is_answered && core.is_server { Code::NO_ERROR } else { Code::CANCEL };
        core.reset(&self.stream, code, Broken::Ended(code));
    }
}
