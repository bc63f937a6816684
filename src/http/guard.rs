//! The HTTP/1 request guard: reads and frames every request, and refuses what two parsers could read in
//! two ways (RFC 9112, RFC 9110), whether or not others repair or accept it.
//!
//! Invariants: a head is passed whole or not at all; what is passed any other parser frames exactly as
//! it is framed here; after a refusal nothing passes any more; the verdicts don't depend on how the
//! bytes were cut into reads. No I/O, no clock.
//! Called by the reading half of a server's connection.

mod authority;
mod chunked;
mod head;
mod section;
mod target;
mod violation;

#[cfg(test)]
mod tests;

pub(super) use chunked::{Chunked, Progress, trailers};
use head::{Body, Framing, Head};
pub(super) use head::{FieldAt, Line};
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
    /// Where the fields of the newest head stand in it.
    fields: Vec<FieldAt>,
}

/// What [`Guard::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// So many bytes at the front of the buffer are sound.
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

/// What the front of a buffer is.
#[derive(Debug)]
pub(super) enum Part {
    /// A whole head of so many bytes; [`Guard::fields`] says where its fields stand.
    Head(usize, Line),
    /// So many bytes of a body.
    Data(usize),
    /// So many bytes that frame a body.
    Frame(usize),
    /// A trailer section of so many bytes, which ends a body.
    Trailers(usize),
    /// Bytes of a tunnel.
    Tunnel(usize),
    Stop(Then),
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

    /// Says how many bytes of `buf` hold what may be read. `buf` holds all bytes read from the client
    /// and not yet passed, so it begins where the last call's `pass` ended.
    pub fn check(&mut self, buf: &[u8]) -> Verdict {
        let mut pass = 0;
        loop {
            match self.next(&buf[pass..]) {
                Part::Head(bytes, _)
                | Part::Data(bytes)
                | Part::Frame(bytes)
                | Part::Trailers(bytes)
                | Part::Tunnel(bytes) => pass += bytes,
                Part::Stop(then) => return Verdict { pass, then },
            }
        }
    }

    /// Says what the front of `buf` is, which begins where the last part ended.
    pub(super) fn next(&mut self, buf: &[u8]) -> Part {
        self.step(buf).unwrap_or_else(|rule| {
            let violation = Violation::new(rule, self.in_body());
            self.state = State::Refused(violation);
            Part::Stop(Then::Refuse(violation))
        })
    }

    /// Where the fields of the newest head stand in it, which has passed just now.
    pub(super) fn fields(&self) -> &[FieldAt] {
        &self.fields
    }

    /// Requests whose head was passed so far: the ordinal of the newest, counted from 1.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// What is left of a body whose length is known.
    pub(super) fn length(&self) -> Option<u64> {
        match &self.state {
            State::Length(left) => Some(*left),
            _ => None,
        }
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

    fn step(&mut self, buf: &[u8]) -> Result<Part, Rule> {
        if buf.is_empty() && !matches!(self.state, State::Hold | State::Refused(_)) {
            return Ok(Part::Stop(Then::More));
        }
        match &mut self.state {
            State::Head(head) => {
                let Some(bytes) = head.read(buf, &mut self.fields)? else {
                    return Ok(Part::Stop(Then::More));
                };
                let framing = head.framing(buf)?;
                let line = head.line();
                self.enter_body(framing);
                Ok(Part::Head(bytes, line))
            }
            State::Length(left) => {
                let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                *left -= bytes as u64;
                if *left == 0 {
                    self.leave_body();
                }
                Ok(Part::Data(bytes))
            }
            State::Chunked(body) => Ok(match body.read(buf)? {
                Progress::Wait => Part::Stop(Then::More),
                Progress::Data(bytes) => Part::Data(bytes),
                Progress::Frame(bytes) => Part::Frame(bytes),
                Progress::End(bytes) => {
                    self.leave_body();
                    Part::Trailers(bytes)
                }
            }),
            State::Hold => Ok(Part::Stop(Then::Hold)),
            State::Tunnel => Ok(Part::Tunnel(buf.len())),
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
