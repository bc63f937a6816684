//! What the streams of a connection share: windows, the compression of headers, what is to be written.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::task::Waker;

use http::Request;

use super::calm::Offences;
use super::error::Broken;
use super::frame::{self, Code, MAX_FRAME, flag, kind};
use super::hpack::Encoder;
use super::out::Out;
use super::stream::{State, Stream};
use super::{CONNECTION_WINDOW, UNWRITTEN, WINDOW};
use crate::runtime::clock;

/// Streams that we have reset: what was under way on them is no offence. As many as may be under way.
const REMEMBERED: usize = super::STREAMS as usize;
/// What one is worth, where an answered request is worth one.
const SPOILS: u32 = 4;
/// A thousand at once, and in a second.
const SPOILT: u32 = 1_000 * SPOILS;
/// Requests that came together and need no room of their own.
const FEW: usize = 4;
/// Until the peer says otherwise.
const UNTOLD: u32 = 100;

pub struct Core {
    pub is_server: bool,
    pub out: Out,
    pub encoder: Encoder,
    pub streams: HashMap<u32, Rc<Stream>, BuildHasherDefault<IdHasher>>,
    /// We may send so much more.
    pub credit: i64,
    /// The peer may send so much more.
    pub window: i64,
    /// Taken, and not yet given back to the window.
    pub taken: u32,
    pub peer: Peer,
    /// Those that wait for room: who had none the last time comes first.
    hungry: VecDeque<Rc<Stream>>,
    fed: VecDeque<Rc<Stream>>,
    /// The connection's task, when it sleeps.
    pub driver: Option<Waker>,
    /// Of our next request.
    pub next: u32,
    /// The newest of the peer's requests that was taken.
    pub last: u32,
    /// Requests that have come and nobody has begun.
    pub come: VecDeque<(Rc<Stream>, Request<()>)>,
    /// Nothing new begins; the connection ends with its last stream.
    pub leaves: bool,
    /// Of some stream: the peer may not have read it when all are over.
    pub has_last_word: bool,
    pub broken: Option<Broken>,
    /// With what the peer has said that it goes, if with an error.
    pub farewell: Option<Code>,
    /// Requests that the peer took back or spoilt before they were answered, but for those that were.
    pub spoilt: Offences,
    reset: VecDeque<u32>,
}

/// What the peer allows.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub max_frame: usize,
    pub window: i64,
    pub streams: u32,
}

/// Of ids: they are counted up, few live at a time, and what SipHash guards against is bounded here.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Core {
    /// `is_of_mesh`: who the peer is has been proven.
    pub fn new(is_server: bool, is_of_mesh: bool) -> Self {
        Self {
            is_server,
            out: Out::default(),
            encoder: Encoder::default(),
            streams: HashMap::default(),
            credit: i64::from(frame::WINDOW),
            window: i64::from(CONNECTION_WINDOW),
            taken: 0,
            peer: Peer { max_frame: MAX_FRAME, window: i64::from(frame::WINDOW), streams: UNTOLD },
            hungry: VecDeque::new(),
            fed: VecDeque::new(),
            driver: None,
            next: 1,
            last: 0,
            come: VecDeque::new(),
            leaves: false,
            has_last_word: false,
            broken: None,
            farewell: None,
            spoilt: Offences::of(if is_of_mesh { 2 * SPOILT } else { SPOILT }),
            reset: VecDeque::new(),
        }
    }

    /// Has the connection's task write what there is.
    pub fn wake(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Where to write to.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out.bytes()
    }

    pub fn unwritten(&self) -> usize {
        self.out.unwritten().len()
    }

    /// The peer does not read what it is told.
    pub fn is_full(&self) -> bool {
        self.unwritten() >= 2 * UNWRITTEN
    }

    /// A stream of ours, or that a peer has begun.
    pub fn open(&mut self, id: u32) -> Rc<Stream> {
        let stream = Stream::new(id, self.peer.window, i64::from(WINDOW), self.out.position());
        self.streams.insert(id, Rc::clone(&stream));
        stream
    }

    /// A request that somebody may begin.
    pub fn queue(&mut self, stream: Rc<Stream>, request: Request<()>) {
        if self.come.capacity() == 0 {
            // As a rule it is alone.
            self.come.reserve_exact(1);
        }
        self.come.push_back((stream, request));
    }

    /// The oldest of those; no room is kept for as many as came at once.
    pub fn next_come(&mut self) -> Option<(Rc<Stream>, Request<()>)> {
        let come = self.come.pop_front();
        if self.come.is_empty() && self.come.capacity() > FEW {
            self.come = VecDeque::new();
        }
        come
    }

    /// Writes a block of fields; `write` encodes them.
    pub fn send_fields(
        &mut self,
        stream: &Stream,
        end: bool,
        write: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) {
        let out = self.out.bytes();
        let begin = out.len();
        frame::head(out, 0, kind::HEADERS, 0, stream.id);
        self.encoder.begin(out);
        write(&mut self.encoder, out);
        let length = out.len() - begin - frame::HEAD;
        let end_flag = if end { flag::END_STREAM } else { 0 };
        if length <= self.peer.max_frame {
            out[begin..begin + 3].copy_from_slice(&(length as u32).to_be_bytes()[1..]);
            out[begin + 4] = flag::END_HEADERS | end_flag;
        } else {
            let block = out.split_off(begin + frame::HEAD);
            out.truncate(begin);
            let mut pieces = block.chunks(self.peer.max_frame).peekable();
            let (mut kind, mut flags) = (kind::HEADERS, end_flag);
            while let Some(piece) = pieces.next() {
                if pieces.peek().is_none() {
                    flags |= flag::END_HEADERS;
                }
                frame::head(out, piece.len(), kind, flags, stream.id);
                out.extend_from_slice(piece);
                (kind, flags) = (kind::CONTINUATION, 0);
            }
        }
        if end {
            self.finish(stream);
        }
        self.wake();
    }

    /// How much of a stream's data could be sent now.
    pub fn room(&self, state: &State) -> usize {
        if self.unwritten() >= UNWRITTEN {
            return 0;
        }
        let credit = self.credit.min(state.credit).max(0) as usize;
        credit.min(self.peer.max_frame)
    }

    /// Sends data that there is room for.
    pub fn send_data(&mut self, stream: &Stream, data: &[u8], end: bool) {
        let flags = if end { flag::END_STREAM } else { 0 };
        let out = self.out();
        frame::head(out, data.len(), kind::DATA, flags, stream.id);
        out.extend_from_slice(data);
        self.credit -= data.len() as i64;
        let mut state = stream.state.borrow_mut();
        state.credit -= data.len() as i64;
        state.fed = true;
        drop(state);
        if end {
            self.finish(stream);
        }
        self.wake();
    }

    /// A stream has more to send than there is room for.
    pub fn wait(&mut self, stream: &Rc<Stream>, state: &mut State) {
        if std::mem::replace(&mut state.waits, true) {
            return;
        }
        if self.hungry.len() + self.fed.len() > 2 * REMEMBERED {
            // Those that were reset meanwhile would never come to an end of it.
            let waits = |waiting: &Rc<Stream>| waiting.state.borrow().broken.is_none();
            self.hungry.retain(waits);
            self.fed.retain(waits);
        }
        let queue = if std::mem::take(&mut state.fed) { &mut self.fed } else { &mut self.hungry };
        queue.push_back(Rc::clone(stream));
    }

    /// There is room: those that wait for it may send. Whether any did.
    pub fn feed(&mut self) -> bool {
        if self.credit <= 0 || self.hungry.is_empty() && self.fed.is_empty() {
            return false;
        }
        let mut any = false;
        for stream in self.hungry.drain(..).chain(self.fed.drain(..)) {
            let mut state = stream.state.borrow_mut();
            state.waits = false;
            any |= state.writer.is_some();
            state.wake_writer();
        }
        any
    }

    /// All of our message is sent.
    pub fn finish(&mut self, stream: &Stream) {
        let mut state = stream.state.borrow_mut();
        state.finished = true;
        self.spoilt.forgive(1);
        // What came of a request may have been sent before its answer was read.
        self.has_last_word |= self.is_server || state.ended;
        if state.ended {
            drop(state);
            self.streams.remove(&stream.id);
        }
    }

    /// All of the peer's message has come.
    pub fn end(&mut self, stream: &Stream) {
        let mut state = stream.state.borrow_mut();
        if state.broken.is_some() {
            return;
        }
        state.ended = true;
        state.wake_reader();
        if state.finished {
            drop(state);
            self.streams.remove(&stream.id);
        }
    }

    /// Ends a stream at once, and tells the peer.
    pub fn reset(&mut self, stream: &Stream, code: Code, why: Broken) {
        if self.streams.remove(&stream.id).is_none() {
            return;
        }
        if self.is_server && matches!(why, Broken::Malformed(_)) {
            self.spoilt.add(SPOILS, clock::now_us());
        }
        stream.state.borrow_mut().fail(why);
        self.throw_away(stream);
        self.tell_reset(stream.id, code);
    }

    /// The peer has ended a stream at once.
    pub fn take_back(&mut self, stream: &Stream, code: Code) {
        self.streams.remove(&stream.id);
        let mut state = stream.state.borrow_mut();
        state.fail(Broken::Reset(code));
        let is_early = self.is_server && !state.has_head;
        drop(state);
        let come = self.come.iter().position(|(come, _)| come.id == stream.id);
        if let Some((stream, _)) = come.and_then(|at| self.come.remove(at)) {
            self.throw_away(&stream);
        }
        if is_early {
            self.spoilt.add(SPOILS, clock::now_us());
        }
    }

    pub fn tell_reset(&mut self, id: u32, code: Code) {
        if self.broken.is_some() {
            return;
        }
        frame::reset(self.out(), id, code);
        self.has_last_word |= self.is_server;
        if self.reset.len() == REMEMBERED {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
        self.wake();
    }

    /// Whether we have reset it lately.
    pub fn was_reset(&self, id: u32) -> bool {
        self.reset.contains(&id)
    }

    /// What nobody will read of a stream makes room for others.
    pub fn throw_away(&mut self, stream: &Stream) {
        let mut state = stream.state.borrow_mut();
        state.unread = true;
        let mut bytes = 0;
        let is_cut = state.trailers.take().is_some() || !state.data.is_empty();
        if is_cut && state.broken.is_some() {
            // What is left of the message must not look like all of it.
            state.ended = false;
        }
        while let Some(data) = state.data.pop() {
            bytes += data.len() as u32;
        }
        drop(state);
        self.give_back(bytes);
    }

    /// So much of a stream's data was read.
    pub fn take(&mut self, stream: &Stream, bytes: u32) {
        let mut state = stream.state.borrow_mut();
        state.taken += bytes;
        if state.taken >= WINDOW / 2 && !state.ended && state.broken.is_none() {
            let more = std::mem::take(&mut state.taken);
            state.window += i64::from(more);
            frame::window_update(self.out(), stream.id, more);
            self.wake();
        }
        drop(state);
        self.give_back(bytes);
    }

    /// So much of the connection's window is free again.
    pub fn give_back(&mut self, bytes: u32) {
        self.taken += bytes;
        if self.taken >= CONNECTION_WINDOW / 2 {
            let more = std::mem::take(&mut self.taken);
            self.window += i64::from(more);
            frame::window_update(self.out(), 0, more);
            self.wake();
        }
    }

    /// The connection is over, and so is all that is under way on it.
    pub fn fail(&mut self, broken: Broken) {
        self.leaves = true;
        let broken = match (broken, self.farewell) {
            (Broken::Closed, Some(code)) => Broken::GoneAway(code),
            (broken, _) => broken,
        };
        let written = self.out.written();
        for (_, stream) in self.streams.drain() {
            let mut state = stream.state.borrow_mut();
            let is_unsent = !self.is_server && state.begins_at >= written;
            state.fail(if is_unsent { Broken::NotTaken } else { broken.clone() });
        }
        self.come.clear();
        self.hungry.clear();
        self.fed.clear();
        self.broken.get_or_insert(broken);
    }
}
