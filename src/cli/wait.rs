//! `outrigger-proxy wait`: holds something back until the sidecar beside it is ready. As a postStart
//! hook of the sidecar's container it keeps the containers after it from starting; before a command
//! it keeps that one.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::{FAILED, complain, duration};

/// How often the sidecar is asked.
const PAUSE: Duration = Duration::from_millis(100);
/// It answers from memory.
const PATIENCE: Duration = Duration::from_secs(1);
/// `/ready` says a line.
const ANSWER_BYTES: u64 = 16 << 10;

/// For what, how long, and what then.
#[derive(Args, Debug)]
pub(super) struct Wait {
    /// How long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, default_value = "120s")]
    limit: Duration,
    /// The sidecar's admin port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15000")]
    admin: SocketAddr,
    /// What to become when the sidecar is ready
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Wait {
    /// Waits, then becomes the command, if there is one.
    pub(super) fn run(&self) -> ExitCode {
        if let Err(missing) = self.until_ready() {
            complain(&format!("error: waited {:?} for {}: {missing}", self.limit, self.admin));
            return ExitCode::from(FAILED);
        }
        let Some((program, arguments)) = self.command.split_first() else {
            return ExitCode::SUCCESS;
        };
        // Only comes back when it failed.
        let error = Command::new(program).args(arguments).exec();
        complain(&format!("error: {} can't be run: {error}", program.display()));
        ExitCode::from(FAILED)
    }

    /// What was missing last.
    fn until_ready(&self) -> Result<(), String> {
        let until = Instant::now() + self.limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let patience = left.clamp(Duration::from_millis(1), PATIENCE);
            let Err(missing) = ask(self.admin, patience) else { return Ok(()) };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(missing);
            }
            thread::sleep(left.min(PAUSE));
        }
    }
}

/// Asks once; what the sidecar lacks, or why it says nothing.
fn ask(admin: SocketAddr, patience: Duration) -> Result<(), String> {
    let answer = converse(admin, patience).map_err(|error| format!("no answer: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") => Err(body.trim().to_owned()),
        _ => Err(format!("not a sidecar's answer: {status:?}")),
    }
}

fn converse(admin: SocketAddr, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(stream, "GET /ready HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
