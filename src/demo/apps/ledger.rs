//! `ledger`: TCP where the server speaks first, as mail and database servers do. It greets with its
//! name, then sends each line back.
//!
//! [`Ledger`] is the caller's side: a few kept connections, each for one line at a time. Nobody can
//! tell it in this protocol that the far side is about to leave, so it keeps none for long. A round
//! trip that breaks off is made again, here and nowhere else: a mesh that does not know the protocol
//! can't tell what a second time would do.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::attend_each;
use crate::demo::client::CallError;
use crate::demo::idle::Idle;

/// Connections that a caller keeps, and lines in flight.
const CONNECTIONS: usize = 4;
/// How often a line is entered again: until the sidecar has found out which of two endpoints is
/// dead (after five connections that broke) and some more.
const REPEATS: u32 = 7;
/// Before the first of them; doubles.
const PAUSE: Duration = Duration::from_millis(5);

/// Serves for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, name: String) {
    attend_each(listener, move |stream| attend(stream, name.clone())).await;
}

async fn attend(stream: TcpStream, name: String) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        stream.write_all(line.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

/// Calls the ledger.
pub(super) struct Ledger {
    address: SocketAddr,
    idle: Idle<Connection>,
    places: Semaphore,
}

struct Connection {
    stream: BufReader<TcpStream>,
    /// How the server introduced itself.
    greeting: String,
}

impl Ledger {
    pub(super) fn new(address: SocketAddr) -> Ledger {
        Ledger { address, idle: Idle::new(), places: Semaphore::new(CONNECTIONS) }
    }

    /// Enters a line, and says which instance took it. `repeats` hears of each time that it is
    /// entered again.
    ///
    /// # Errors
    /// When connections go on breaking, or something else comes back.
    pub(super) async fn enter(&self, entry: &str, repeats: impl Fn()) -> Result<String, CallError> {
        // It is never closed.
        let _place = self.places.acquire().await;
        let mut pause = PAUSE;
        for _ in 0..REPEATS {
            match self.enter_once(entry).await {
                Err(CallError::Tcp(_)) => repeats(),
                answer => return answer,
            }
            sleep(pause).await;
            pause *= 2;
        }
        self.enter_once(entry).await
    }

    async fn enter_once(&self, entry: &str) -> Result<String, CallError> {
        let (mut connection, born) = self.connection().await.map_err(CallError::Tcp)?;
        let received = connection.exchange(entry).await.map_err(CallError::Tcp)?;
        if received != entry {
            return Err(CallError::Echo { sent: entry.into(), received });
        }
        let by = connection.greeting.clone();
        self.idle.put(connection, born);
        Ok(by)
    }

    /// A kept connection that is still open, or a new one that was greeted.
    async fn connection(&self) -> io::Result<(Connection, Instant)> {
        while let Some((connection, born)) = self.idle.take() {
            if connection.is_open() {
                return Ok((connection, born));
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection { stream: BufReader::new(stream), greeting: String::new() };
        connection.greeting = connection.line().await?;
        Ok((connection, Instant::now()))
    }
}

impl Connection {
    async fn exchange(&mut self, entry: &str) -> io::Result<String> {
        self.stream.write_all(format!("{entry}\n").as_bytes()).await?;
        self.line().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Between two lines there is nothing to read, unless the far side has left.
    fn is_open(&self) -> bool {
        let read = self.stream.get_ref().try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}
