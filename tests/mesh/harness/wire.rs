//! One end of a connection, byte for byte, with HTTP/1 reading on top.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::SOON;
use super::message::{Broken, Framing, Message, field};

/// A connection with a buffer of what was read ahead.
#[derive(Debug)]
pub struct Wire<S = TcpStream> {
    pub stream: S,
    ahead: Vec<u8>,
}

impl Wire {
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap_or_else(|error| panic!("{to}: {error}"));
        Self::of(stream)
    }

    pub fn of(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(SOON));
        let _ = stream.set_write_timeout(Some(SOON));
        Self::over(stream)
    }

    /// Another handle on the same connection; what was read ahead stays here.
    pub fn twin(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor is left")
    }

    pub fn patience(&mut self, limit: Duration) -> &mut Self {
        self.stream.set_read_timeout(Some(limit)).expect("a time above zero");
        self
    }

    /// Says that nothing more comes, and goes on reading.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Ends the connection with an RST.
    pub fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("the socket takes the option");
    }

    /// Sends, and waits for an end without an answer: `true` when it came as an RST, however soon.
    #[track_caller]
    pub fn is_reset_after(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        // A socket says it once: here, or where it is read.
        self.try_send(bytes).is_err() || self.ended_by_reset()
    }

    /// Waits for an end without further bytes: `true` when it came as an RST.
    #[track_caller]
    pub fn ended_by_reset(&mut self) -> bool {
        let mut rest = [0; 64];
        match self.stream.read(&mut rest) {
            Ok(0) => false,
            Ok(n) => panic!("bytes instead of an end: {:?}", String::from_utf8_lossy(&rest[..n])),
            Err(error) if Broken::from(io::Error::from(error.kind())) == Broken::Reset => true,
            Err(error) => panic!("no end came: {error}"),
        }
    }
}

impl<S: Read + Write> Wire<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        if let Err(error) = self.try_send(bytes) {
            panic!("sending: {error}");
        }
        self
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// The next response to anything but HEAD.
    #[track_caller]
    pub fn response(&mut self) -> Message {
        self.message(false).unwrap_or_else(|broken| panic!("no whole response: {broken:?}"))
    }

    /// Sends and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request).response()
    }

    /// The next message, whole or not.
    pub fn message(&mut self, answers_head: bool) -> Result<Message, Broken> {
        let mut message = self.head()?;
        self.body(&mut message, answers_head)?;
        Ok(message)
    }

    /// A message's head, its body still to come.
    pub fn head(&mut self) -> Result<Message, Broken> {
        let end = loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                break end;
            }
            if self.more()? == 0 {
                return Err(if self.ahead.is_empty() { Broken::Closed } else { Broken::Cut });
            }
        };
        let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
        Message::parse(&String::from_utf8_lossy(&head[..end]))
    }

    /// Reads the body that belongs to a head. What came of it stays in `message` on an error.
    pub fn body(&mut self, message: &mut Message, answers_head: bool) -> Result<(), Broken> {
        match message.framing(answers_head) {
            Framing::Length(length) => self.exactly(length, &mut message.body),
            Framing::ToEnd => self.read_to_end(&mut message.body),
            Framing::Chunked => self.chunked(message),
        }
    }

    /// The next `len` bytes.
    #[track_caller]
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        self.try_take(len).unwrap_or_else(|broken| panic!("not {len} bytes but {broken:?}"))
    }

    pub fn try_take(&mut self, len: usize) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        self.exactly(len, &mut bytes).map(|()| bytes)
    }

    /// Everything up to a clean end.
    pub fn read_to_end(&mut self, into: &mut Vec<u8>) -> Result<(), Broken> {
        into.append(&mut self.ahead);
        self.stream.read_to_end(into)?;
        Ok(())
    }

    /// Whether the connection ends, cleanly or not, before another byte.
    pub fn is_over(&mut self) -> bool {
        let begun = Instant::now();
        let over = match self.more() {
            Ok(n) => n == 0 && self.ahead.is_empty(),
            Err(broken) => broken != Broken::TimedOut,
        };
        over && begun.elapsed() < SOON
    }

    fn exactly(&mut self, len: usize, into: &mut Vec<u8>) -> Result<(), Broken> {
        let mut left = len;
        while left > 0 {
            if self.ahead.is_empty() && self.more()? == 0 {
                return Err(Broken::Cut);
            }
            let n = left.min(self.ahead.len());
            into.extend(self.ahead.drain(..n));
            left -= n;
        }
        Ok(())
    }

    fn chunked(&mut self, message: &mut Message) -> Result<(), Broken> {
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16)
                .map_err(|_| Broken::Malformed(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            message.chunks.push(size);
            self.exactly(size, &mut message.body)?;
            let end = self.line()?;
            if !end.is_empty() {
                return Err(Broken::Malformed(format!("a chunk goes on with {end:?}")));
            }
        }
        loop {
            match self.line()? {
                line if line.is_empty() => return Ok(()),
                line => message.trailers.push(field(&line)?),
            }
        }
    }

    fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.more()? == 0 {
                return Err(Broken::Cut);
            }
        }
    }

    fn more(&mut self) -> Result<usize, Broken> {
        let mut bytes = [0; 64 * 1024];
        let n = self.stream.read(&mut bytes)?;
        self.ahead.extend_from_slice(&bytes[..n]);
        Ok(n)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
