//! `ledger`: TCP where the server speaks first, as mail and database servers do. It greets with its
//! name, then sends each line back.
//!
//! [`Ledger`] is the caller's side: a few kept connections, each for one line at a time.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use super::accept;
use crate::demo::client::CallError;

/// Connections that a caller keeps, and lines in flight.
const CONNECTIONS: usize = 4;

/// Serves for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, name: String) {
    loop {
        let stream = accept(&listener).await;
        // A broken connection is its caller's to report.
        spawn_local(attend(stream, name.clone()));
    }
}

async fn attend(stream: TcpStream, name: String) -> io::Result<()> {
    stream.set_nodelay(true)?;
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
    idle: RefCell<Vec<Connection>>,
    places: Semaphore,
}

struct Connection {
    stream: BufReader<TcpStream>,
    /// How the server introduced itself.
    greeting: String,
}

impl Ledger {
    pub(super) fn new(address: SocketAddr) -> Ledger {
        Ledger { address, idle: RefCell::default(), places: Semaphore::new(CONNECTIONS) }
    }

    /// Enters a line, and says which instance took it.
    ///
    /// # Errors
    /// When the connection breaks, or something else comes back.
    pub(super) async fn enter(&self, entry: &str) -> Result<String, CallError> {
        // It is never closed.
        let _place = self.places.acquire().await;
        let mut connection = self.connection().await.map_err(CallError::Tcp)?;
        let received = connection.exchange(entry).await.map_err(CallError::Tcp)?;
        if received != entry {
            return Err(CallError::Echo { sent: entry.into(), received });
        }
        let by = connection.greeting.clone();
        self.idle.borrow_mut().push(connection);
        Ok(by)
    }

    /// A kept connection that is still open, or a new one that was greeted.
    async fn connection(&self) -> io::Result<Connection> {
        let mut idle = self.idle.take();
        idle.retain(|connection| connection.is_open());
        let kept = idle.pop();
        self.idle.borrow_mut().append(&mut idle);
        if let Some(connection) = kept {
            return Ok(connection);
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection { stream: BufReader::new(stream), greeting: String::new() };
        connection.greeting = connection.line().await?;
        Ok(connection)
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
