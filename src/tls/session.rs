//! A TLS session over a stream, on the data path: rustls, with buffers that are there only while
//! something is in them.
//!
//! A connection at rest has none, but for a server's tickets until its first word. Records are read into memory of the worker's, and opened and sealed
//! there; what is not whole yet, not taken yet or not sent yet is kept, until it is.

mod io;
mod turn;

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::WriteTraffic;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::turn::{Come, End, encrypt, turn};
use super::scratch::Scratch;

/// Of a record, at most.
const PLAIN: usize = 16 * 1024;
/// A whole one, with all that may be around it.
const RECORD: usize = 5 + PLAIN + 256;
/// Read at once, at most.
const READ: usize = 2 * RECORD;
/// What has come, at most, without a record or a message of the handshake that is whole.
const HEARD: usize = 64 * 1024 + RECORD;
/// Sealed at once, at most.
const SEALED: usize = 4 * PLAIN;

thread_local! {
    static HEARING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SEALING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An open session.
pub struct Session<IO, E> {
    io: IO,
    end: Box<E>,
    /// The beginning of what is not whole yet.
    heard: BytesMut,
    /// Opened, and not taken yet.
    plain: BytesMut,
    /// Sealed, and not sent yet.
    unsent: BytesMut,
    /// What is unsent are a server's tickets, which nobody waits for: they go with its first bytes.
    is_held: bool,
    /// The peer has said that nothing more comes.
    is_over: bool,
    /// We have.
    is_shut: bool,
    /// Something of the peer's was opened.
    has_heard: bool,
    /// What the peer sent is nothing that can be opened.
    failed: Option<Box<rustls::Error>>,
    /// The stream takes nothing more.
    is_cut: Option<ErrorKind>,
}

/// What broke a session after the peer has sent something in it: no verdict on our certificate, which
/// comes before.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Late(rustls::Error);

pub type ClientSession<IO> = Session<IO, UnbufferedClientConnection>;
pub type ServerSession<IO> = Session<IO, UnbufferedServerConnection>;

impl<IO: AsyncRead + AsyncWrite + Unpin> ClientSession<IO> {
    /// # Errors
    /// The handshake failed, as rustls or the stream says.
    pub async fn connect(
        io: IO,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self> {
        let end = UnbufferedClientConnection::new(Arc::clone(config), name).map_err(invalid)?;
        Self::shaken(io, end).await
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> ServerSession<IO> {
    /// # Errors
    /// As for [`ClientSession::connect`].
    pub async fn accept(io: IO, config: &Arc<ServerConfig>) -> Result<Self> {
        let end = UnbufferedServerConnection::new(Arc::clone(config)).map_err(invalid)?;
        Self::shaken(io, end).await
    }
}

impl<IO, E> Session<IO, E> {
    /// The stream below, and what was agreed on.
    pub fn get_ref(&self) -> (&IO, &E) {
        (&self.io, &self.end)
    }

    /// The stream below, to be said things that no session says.
    #[cfg(test)]
    pub(super) fn io(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The memory of its buffers, in bytes.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        [&self.heard, &self.plain, &self.unsent].into_iter().map(BytesMut::capacity).sum()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, E: End> Session<IO, E> {
    async fn shaken(io: IO, end: E) -> Result<Self> {
        let mut session = Self {
            io,
            end: Box::new(end),
            heard: BytesMut::new(),
            plain: BytesMut::new(),
            unsent: BytesMut::new(),
            is_held: false,
            is_over: false,
            is_shut: false,
            has_heard: false,
            failed: None,
            is_cut: None,
        };
        poll_fn(|cx| session.poll_handshake(cx)).await?;
        Ok(session)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            // A server's last word is tickets.
            self.is_held = E::SERVES && !self.end.is_handshaking();
            if !self.is_held {
                ready!(self.poll_send(cx))?;
            }
            if !self.end.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let come = ready!(self.poll_hear(cx, &mut ReadBuf::new(&mut [])))?;
            // A client's last word may be its first, and come with the end of its handshake.
            if come == Come::Over && self.end.is_handshaking() {
                return Poll::Ready(Err(ended("the connection ended within the handshake")));
            }
        }
    }

    /// Opens records until something of them is in `taken` or in `plain`, or there is something to
    /// send in a handshake, or it is over.
    fn poll_hear(&mut self, cx: &mut Context<'_>, taken: &mut ReadBuf<'_>) -> Poll<Result<Come>> {
        self.sound()?;
        if self.is_over {
            return Poll::Ready(Ok(Come::Over));
        }
        let mut heard = Scratch::take(&HEARING);
        heard.room(READ);
        heard.extend(&std::mem::take(&mut self.heard));
        let come = self.poll_open(cx, &mut heard, taken);
        // Behind the end there is nothing.
        if !self.is_over && self.failed.is_none() {
            self.heard.extend_from_slice(heard.filled());
        }
        come
    }

    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        heard: &mut Scratch,
        taken: &mut ReadBuf<'_>,
    ) -> Poll<Result<Come>> {
        let (before, was_handshaking) = (taken.filled().len(), self.end.is_handshaking());
        loop {
            let plain = &mut self.plain;
            let take = |bytes: &[u8]| {
                let (now, later) = bytes.split_at(bytes.len().min(taken.remaining()));
                taken.put_slice(now);
                plain.extend_from_slice(later);
            };
            let unsent = &mut self.unsent;
            let (used, come) = turn(&mut *self.end, heard.filled(), unsent, take, |_| Ok(()));
            heard.discard(used);
            let has_news = taken.filled().len() > before || !self.plain.is_empty();
            self.has_heard |= has_news;
            let come = match come {
                Ok(come) => come,
                Err(error) => {
                    self.fail(cx, error);
                    // What came before it comes first.
                    return Poll::Ready(if has_news { Ok(Come::Open) } else { self.sound() });
                }
            };
            self.is_over |= come == Come::Over;
            let has_answer = was_handshaking && !self.unsent.is_empty();
            let has_shaken = was_handshaking && !self.end.is_handshaking();
            if self.is_over || has_news || has_answer || has_shaken {
                return Poll::Ready(Ok(come));
            }
            if heard.filled().len() > HEARD {
                return Poll::Ready(Err(invalid(rustls::Error::PeerSentOversizedRecord)));
            }
            let room = heard.room(RECORD);
            let most = room.len().min(READ);
            let mut buf = ReadBuf::new(&mut room[..most]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => {
                    return Poll::Ready(Err(ended(
                        "the peer ended the connection, not the session",
                    )));
                }
                read => heard.fill(read),
            }
        }
    }

    /// Nothing more is opened; the peer is told why, where that can be told at once.
    fn fail(&mut self, cx: &mut Context<'_>, error: rustls::Error) {
        self.heard = BytesMut::new();
        self.failed = Some(Box::new(error));
        let _ = self.poll_send(cx);
    }

    /// # Errors
    /// What the session failed with.
    fn sound(&self) -> Result<Come> {
        match &self.failed {
            None => Ok(Come::Open),
            Some(error) if self.has_heard => {
                Err(Error::new(ErrorKind::InvalidData, Late(rustls::Error::clone(error))))
            }
            Some(error) => Err(invalid(rustls::Error::clone(error))),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(poll_write(&mut self.io, &mut self.is_cut, cx, &self.unsent))?;
            self.unsent.advance(sent);
        }
        self.unsent = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Seals bytes, and sends what the stream has room for; the rest follows before anything else.
    fn poll_seal(&mut self, cx: &mut Context<'_>, plain: &[u8]) -> Poll<Result<usize>> {
        if !std::mem::take(&mut self.is_held) {
            ready!(self.poll_send(cx))?;
        }
        let plain = &plain[..plain.len().min(SEALED)];
        let mut sealed = Scratch::take(&SEALING);
        sealed.extend(&std::mem::take(&mut self.unsent));
        self.write(cx, |traffic| {
            let room = plain.len() + plain.len().div_ceil(PLAIN) * (RECORD - PLAIN);
            let size = encrypt(traffic, plain, sealed.room(room))?;
            sealed.fill(size);
            Ok(())
        })?;
        let sealed = sealed.filled();
        let mut sent = 0;
        while self.unsent.is_empty()
            && sent < sealed.len()
            && let Poll::Ready(Ok(count)) =
                poll_write(&mut self.io, &mut self.is_cut, cx, &sealed[sent..])
        {
            sent += count;
        }
        self.unsent.extend_from_slice(&sealed[sent..]);
        // Where the stream has no room for it now, or never will, it comes with the next bytes or the
        // next flush; what is sealed counts as written, as some of it may be with the peer.
        let _ = self.poll_send(cx);
        Poll::Ready(Ok(plain.len()))
    }

    /// Has something written into the session.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&mut WriteTraffic<'_, E::Data>) -> std::result::Result<(), rustls::Error>,
    ) -> Result<()> {
        self.sound()?;
        loop {
            let plain = &mut self.plain;
            let take = |bytes: &[u8]| plain.extend_from_slice(bytes);
            let (used, come) =
                turn(&mut *self.end, &mut self.heard, &mut self.unsent, take, &mut write);
            self.heard.advance(used);
            self.has_heard |= !self.plain.is_empty();
            match come {
                Ok(Come::Open) => return Ok(()),
                // What only the peer has ended can still be written to.
                Ok(Come::Over) if !std::mem::replace(&mut self.is_over, true) => {
                    self.heard = BytesMut::new();
                }
                Ok(Come::Over) => return Err(ErrorKind::BrokenPipe.into()),
                Ok(Come::Waits) => return Err(ErrorKind::NotConnected.into()),
                Err(error) => {
                    self.fail(cx, error);
                    return self.sound().map(drop);
                }
            }
        }
    }
}

/// Writes what there is room for; a stream that failed once is not tried again.
fn poll_write(
    io: &mut (impl AsyncWrite + Unpin),
    is_cut: &mut Option<ErrorKind>,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<Result<usize>> {
    if let Some(kind) = *is_cut {
        return Poll::Ready(Err(kind.into()));
    }
    let written = match ready!(Pin::new(io).poll_write(cx, bytes)) {
        Ok(0) => Err(ErrorKind::WriteZero.into()),
        written => written,
    };
    *is_cut = written.as_ref().err().map(Error::kind);
    Poll::Ready(written)
}

/// As [`super::classify`] expects it.
fn invalid(error: rustls::Error) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}

fn ended(why: &'static str) -> Error {
    Error::new(ErrorKind::UnexpectedEof, why)
}
