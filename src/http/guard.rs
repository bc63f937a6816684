//! The HTTP/1 request guard: reads and frames every request itself and says which bytes the
//! HTTP/1 server parser may see. That parser repairs or accepts messages that two parsers could
//! read in two ways; here they are refused (RFC 9112, RFC 9110).
//!
//! Invariants: a head is passed whole or not at all; what is passed is framed here exactly as the
//! parser will frame it; after a refusal nothing passes any more; the verdicts don't depend on
//! how the bytes were cut into reads. No I/O, no clock, no allocation.
//! Called by the connection's reading half, between the socket and the parser.

mod authority;
mod chunked;
mod head;
mod section;
mod target;
mod violation;

#[cfg(test)]
mod tests;

use chunked::Chunked;
use head::{Body, Framing, Head};
pub(super) use section::MAX_FIELDS;
pub use violation::{Rule, Violation};

/// Whether this is a host with an optional port, and everyone finds the same host in it.
pub fn is_authority(bytes: &[u8]) -> bool {
    authority::Authority::parse(bytes).is_some()
}

/// Guards one connection's requests, from its first byte to its last.
#[derive(Debug, Default)]
pub struct Guard {
    state: State,
    after: After,
    requests: u64,
}

/// What [`Guard::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// So many bytes at the front of the buffer may be handed to the parser.
    pub pass: usize,
    /// What is to be done about the rest.
    pub then: Then,
}

/// What is to be done about `buf[pass..]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing, or an unfinished head, chunk line or trailer section: keep it, and call again with
    /// it in front of what comes next.
    More,
    /// An Upgrade or CONNECT request was passed whole: keep it until [`Guard::tunnel`] or
    /// [`Guard::resume`] was called, then call again.
    Hold,
    /// It begins with something that must be refused. Every later call says the same.
    Refuse(Violation),
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// Bytes of a Content-Length still to come, never 0.
    Length(u64),
    Chunked(Chunked),
    Hold,
    Tunnel,
    Refused(Violation),
}

/// What follows the message that is being passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum After {
    #[default]
    NextHead,
    Hold,
    Tunnel,
}

enum Step {
    Pass(usize),
    Stop(Then),
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Guard {
    /// A guard for a connection of which nothing was read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how many bytes of `buf` may be handed to the parser. `buf` holds all bytes read from
    /// the client and not yet passed, so it begins where the last call's `pass` ended.
    pub fn check(&mut self, buf: &[u8]) -> Verdict {
        let mut pass = 0;
        loop {
            match self.step(&buf[pass..]) {
                Ok(Step::Pass(bytes)) => pass += bytes,
                Ok(Step::Stop(then)) => return Verdict { pass, then },
                Err(rule) => {
                    let violation = Violation::new(rule, self.in_body());
                    self.state = State::Refused(violation);
                    return Verdict { pass, then: Then::Refuse(violation) };
                }
            }
        }
    }

    /// Requests whose head was passed so far: the ordinal of the newest, counted from 1.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether a head has begun to arrive and is held back. The empty line that may stand before
    /// a head does not begin one.
    #[must_use]
    pub fn in_head(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.has_begun())
    }

    /// Whether the next thing is a head of which nothing has arrived.
    #[must_use]
    pub fn awaits_head(&self) -> bool {
        matches!(&self.state, State::Head(head) if !head.has_begun())
    }

    /// Whether the body of the newest request (its trailers included) is unfinished, or broke off
    /// with a refusal.
    #[must_use]
    pub fn in_body(&self) -> bool {
        match &self.state {
            State::Length(_) | State::Chunked(_) => true,
            State::Refused(violation) => violation.in_body(),
            State::Head(_) | State::Hold | State::Tunnel => false,
        }
    }

    /// The newest request's Upgrade or CONNECT was granted: once its body has passed, everything
    /// does. Without such a request in hand this changes nothing.
    pub fn tunnel(&mut self) {
        if matches!(self.state, State::Hold) {
            self.state = State::Tunnel;
        } else if self.after == After::Hold {
            self.after = After::Tunnel;
        }
    }

    /// The newest request's Upgrade or CONNECT was not granted: the next request may come. Without
    /// such a request in hand this changes nothing.
    pub fn resume(&mut self) {
        if matches!(self.state, State::Hold) {
            self.state = State::default();
        }
        self.after = After::NextHead;
    }

    fn step(&mut self, buf: &[u8]) -> Result<Step, Rule> {
        if buf.is_empty() && !matches!(self.state, State::Hold | State::Refused(_)) {
            return Ok(Step::Stop(Then::More));
        }
        match &mut self.state {
            State::Head(head) => {
                let Some(bytes) = head.read(buf)? else {
                    return Ok(Step::Stop(Then::More));
                };
                let framing = head.framing(buf)?;
                self.enter_body(framing);
                Ok(Step::Pass(bytes))
            }
            State::Length(left) => {
                let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                *left -= bytes as u64;
                if *left == 0 {
                    self.leave_body();
                }
                Ok(Step::Pass(bytes))
            }
            State::Chunked(body) => match body.read(buf)? {
                chunked::Progress::Wait => Ok(Step::Stop(Then::More)),
                chunked::Progress::Pass(bytes) => Ok(Step::Pass(bytes)),
                chunked::Progress::End(bytes) => {
                    self.leave_body();
                    Ok(Step::Pass(bytes))
                }
            },
            State::Hold => Ok(Step::Stop(Then::Hold)),
            State::Tunnel => Ok(Step::Pass(buf.len())),
            State::Refused(violation) => Err(violation.rule()),
        }
    }

    fn enter_body(&mut self, framing: Framing) {
        self.requests += 1;
        self.after = if framing.switches { After::Hold } else { After::NextHead };
        match framing.body {
            Body::Length(0) => self.leave_body(),
            Body::Length(bytes) => self.state = State::Length(bytes),
            Body::Chunked => self.state = State::Chunked(Chunked::default()),
        }
    }

    fn leave_body(&mut self) {
        self.state = match self.after {
            After::NextHead => State::default(),
            After::Hold => State::Hold,
            After::Tunnel => State::Tunnel,
        };
        self.after = After::NextHead;
    }
}
