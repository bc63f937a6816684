//! The end that is asked.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, Stream as _};
use http::{HeaderValue, Request, Response, header};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::driver::Driver;
use super::error::Broken;
use super::frame::Code;
use super::head;
use super::pulse::Pulse;
use super::receive::Receiver;
use super::send::Pump;
use super::stream::Handle;
use crate::http::Body;

/// A connection whose requests `service` answers.
pub struct Connection<IO, S, F> {
    driver: Driver<IO>,
    service: Rc<S>,
    answers: FuturesUnordered<Answering<S, F>>,
}

/// One request on its way.
struct Answering<S, F> {
    handle: Rc<Handle>,
    at: At<S, F>,
}

enum At<S, F> {
    Come(Rc<S>, Option<Request<Body>>),
    Asked(F),
    Answered(Pump),
}

impl<IO, S, F, E> Connection<IO, S, F>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<Body>) -> F,
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    /// `is_pinged`: the peer is to be known to live.
    pub fn new(io: IO, service: S, is_pinged: bool) -> Self {
        let pulse = is_pinged.then(Pulse::default);
        Self {
            driver: Driver::new(io, true, pulse),
            service: Rc::new(service),
            answers: FuturesUnordered::new(),
        }
    }

    /// What has come is answered, and after that the connection ends.
    pub fn leave(&mut self) {
        self.driver.leave();
    }
}

impl<IO, S, F, E> Future for Connection<IO, S, F>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<Body>) -> F,
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    type Output = Result<(), Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { driver, service, answers } = &mut *self;
        let core = Rc::clone(&driver.core);
        driver.poll(cx, |cx| {
            loop {
                let come = core.borrow_mut().next_come();
                let Some((stream, request)) = come else { break };
                let handle = Handle::new(&core, stream);
                let body = Body::stream(Receiver::new(Rc::clone(&handle)));
                let at = At::Come(Rc::clone(service), Some(request.map(|()| body)));
                answers.push(Answering { handle, at });
            }
            if !answers.is_empty() {
                while let Poll::Ready(Some(())) = Pin::new(&mut *answers).poll_next(cx) {}
            }
        })
    }
}

impl<S, F, E> Future for Answering<S, F>
where
    S: Fn(Request<Body>) -> F,
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Whatever was left half done is unwound; the connection's other requests go on.
        let polled = catch_unwind(AssertUnwindSafe(|| this.poll_on(cx)));
        polled.unwrap_or_else(|_| {
            this.handle.reset(Code::INTERNAL_ERROR);
            Poll::Ready(())
        })
    }
}

impl<S, F, E> Answering<S, F>
where
    S: Fn(Request<Body>) -> F,
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever takes a request back is not answered.
        if self.handle.broken().is_some() {
            return Poll::Ready(());
        }
        loop {
            match &mut self.at {
                At::Come(service, request) => {
                    let Some(request) = request.take() else { return Poll::Ready(()) };
                    self.at = At::Asked(service(request));
                }
                At::Asked(asked) => {
                    let pump = match Pin::new(asked).poll(cx) {
                        Poll::Pending => {
                            self.handle.stream.state.borrow_mut().watch_write(cx);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(answer)) => self.send(answer),
                        Poll::Ready(Err(_)) => {
                            self.handle.reset(Code::INTERNAL_ERROR);
                            None
                        }
                    };
                    match pump {
                        Some(pump) => self.at = At::Answered(pump),
                        None => return Poll::Ready(()),
                    }
                }
                At::Answered(pump) => return Pin::new(pump).poll(cx),
            }
        }
    }

    /// Sends an answer's head; gives what moves its body, if it has one.
    fn send(&self, answer: Response<Body>) -> Option<Pump> {
        let (mut parts, body) = answer.into_parts();
        let end = body.is_end_stream();
        if !end && let Some(length) = body.size_hint().exact() {
            let length = || HeaderValue::from(length);
            parts.headers.entry(header::CONTENT_LENGTH).or_insert_with(length);
        }
        let Handle { core, stream } = &*self.handle;
        let mut core = core.borrow_mut();
        let mut state = stream.state.borrow_mut();
        (state.expects_word, state.has_head) = (false, true);
        drop(state);
        core.send_fields(stream, end, |encoder, out| head::write_response(&parts, encoder, out));
        drop(core);
        (!end).then(|| Pump::new(Rc::clone(&self.handle), body, Code::INTERNAL_ERROR))
    }
}
