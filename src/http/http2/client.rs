//! The end that asks.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;

use http::Method;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};

use super::STREAMS;
use super::core::Core;
use super::driver::Driver;
use super::error::Broken;
use super::head;
use super::pulse::Pulse;
use super::stream::Handle;

/// After the last of these a connection takes no more requests.
const LAST: u32 = u32::MAX >> 1;

/// Asks on a connection. Once it is gone, the connection ends with its last stream.
pub struct Client {
    core: Rc<RefCell<Core>>,
}

/// Begins a connection; the future moves it, to its end. `is_pinged`: the peer is to be known to live.
pub fn start<IO>(io: IO, is_pinged: bool) -> (Client, impl Future<Output = Result<(), Broken>>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut driver = Driver::new(io, false, is_pinged.then(Pulse::default));
    let client = Client { core: Rc::clone(&driver.core) };
    (client, async move { poll_fn(|cx| driver.poll(cx, |_| {})).await })
}

impl Client {
    /// Whether it takes requests.
    pub fn is_open(&self) -> bool {
        let core = self.core.borrow();
        !core.leaves && core.next < LAST
    }

    /// Whether another stream may begin now; a request whose answer is through may still be under way.
    pub fn has_room(&self) -> bool {
        let core = self.core.borrow();
        // Of a server that reads nothing, not even heads are kept without end.
        core.streams.len() < core.peer.streams.clamp(1, STREAMS) as usize && !core.is_full()
    }

    /// Sends a request's head; its body follows, unless it `end`s.
    ///
    /// # Errors
    /// Why nothing of it was sent.
    pub fn send(&self, request: &Parts, end: bool) -> Result<Rc<Handle>, Broken> {
        if !self.is_open() {
            let broken = self.core.borrow().broken.clone();
            return Err(broken.unwrap_or(Broken::NotTaken));
        }
        let mut core = self.core.borrow_mut();
        let id = core.next;
        core.next += 2;
        let stream = core.open(id);
        stream.state.borrow_mut().is_head = request.method == Method::HEAD;
        core.send_fields(&stream, end, |encoder, out| head::write_request(request, encoder, out));
        drop(core);
        Ok(Handle::new(&self.core, stream))
    }
}

#[cfg(test)]
impl Client {
    /// Whether no stream is under way.
    pub(super) fn core_is_idle(&self) -> bool {
        self.core.borrow().streams.is_empty()
    }

    /// Of the window that the peer sends into, what is free or will be said to be.
    pub(super) fn free(&self) -> i64 {
        let core = self.core.borrow();
        core.window + i64::from(core.taken)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        core.leaves = true;
        core.wake();
    }
}
