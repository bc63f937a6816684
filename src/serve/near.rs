//! A connection from the near side, with what was already read of it in front.

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::runtime::Prefixed;
use crate::tls::{ServerSession, Stream};

/// The TLS session of an accepted connection.
pub type Session = ServerSession<Prefixed<TcpStream>>;

/// A connection as the wings read and write it.
pub type Near = Prefixed<Stream<Session>>;

/// In plaintext; `heard` was read to find that out.
pub fn plain(heard: Bytes, stream: TcpStream) -> Near {
    Prefixed::new(heard, Stream::Plain(stream))
}

/// Inside TLS; `heard` was read from within the session.
pub fn tls(heard: Bytes, session: Session) -> Near {
    Prefixed::new(heard, Stream::Tls(session))
}
