//! `outrigger proxy tap`: requests of one sidecar as they end, from its admin port, until Ctrl-C.
//!
//! Lines come as the sidecar writes them: as JSON they are passed on, for people they are aligned. What
//! the sidecar left out is told in the end.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

use super::{Error, Format, Output, PATIENCE, Question, Target, begin, read};
use crate::cli::explain::encoded;
use crate::cli::tapping::{Form, Lines, Wanted};
use crate::cli::{FAILED, INVALID, chain, complain};
use crate::runtime::workers::local_runtime;

/// Which sidecar, and which requests.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Tap {
    #[command(flatten)]
    wanted: Wanted,
    /// The sidecar's admin port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15000")]
    admin: SocketAddr,
}

/// What was printed, and what was not.
struct Shown {
    form: Form,
    lines: Lines,
    count: u64,
    over_rate: u64,
    unread: u64,
}

impl Tap {
    /// The sidecar reads it, and says what of it is wrong.
    pub(super) fn question(&self) -> (Question, Target) {
        let pairs = self.wanted.pairs();
        let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let path = format!("/tap?{}", pairs.collect::<Vec<_>>().join("&"));
        let output = Output { format: Format::Table };
        (Question::get(path, None), Target { admin: self.admin, output })
    }

    pub(super) fn run(&self) -> ExitCode {
        let form = self.wanted.form;
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = Lines::new(colour);
        let mut shown = Shown { form, lines, count: 0, over_rate: 0, unread: 0 };
        let watched = local_runtime().map_err(Error::Runtime).and_then(|runtime| {
            runtime.block_on(async {
                tokio::select! {
                    watched = self.watch(&mut shown) => watched,
                    interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Error::Runtime),
                }
            })
        });
        match watched {
            Ok(()) => {
                complain(&shown.remark(self.wanted.rate));
                ExitCode::SUCCESS
            }
            Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                let is_invalid = matches!(&error, Error::Refused { status, .. } if *status == 400);
                complain(&format!("error: {}", chain(&error)));
                ExitCode::from(if is_invalid { INVALID } else { FAILED })
            }
        }
    }

    async fn watch(&self, shown: &mut Shown) -> Result<(), Error> {
        let (question, _) = self.question();
        let begun = timeout(PATIENCE, begin(self.admin, &question)).await;
        let response = begun.unwrap_or(Err(Error::Silent(self.admin)))?;
        let status = response.status();
        if !status.is_success() {
            let body = read(self.admin, response.into_body()).await?;
            return Err(Error::refused(self.admin, status, &body));
        }
        shown.begin()?;
        shown.follow(self.admin, response.into_body()).await
    }
}

impl Shown {
    fn begin(&mut self) -> Result<(), Error> {
        match self.form {
            Form::Text => print(self.lines.heading().as_bytes()),
            Form::Json => Ok(()),
        }
    }

    /// To the last line.
    async fn follow(&mut self, address: SocketAddr, mut body: Incoming) -> Result<(), Error> {
        let mut ahead = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Error::Broken(address, error))?;
            ahead.extend_from_slice(&frame.into_data().unwrap_or_else(|_| Bytes::new()));
            let whole = ahead.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = ahead.drain(..whole).collect();
            let mut text = String::new();
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                self.line(line, &mut text);
            }
            print(text.as_bytes())?;
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], text: &mut String) {
        let value: Value = serde_json::from_slice(line).unwrap_or_default();
        if value["kind"] == "left_out" {
            self.over_rate += value["over_rate"].as_u64().unwrap_or_default();
            self.unread += value["unread"].as_u64().unwrap_or_default();
            return;
        }
        self.count += 1;
        match self.form {
            Form::Text => text.push_str(&self.lines.of(&value, "here")),
            Form::Json => {
                text.push_str(&String::from_utf8_lossy(line));
                text.push('\n');
            }
        }
    }

    fn remark(&self, rate: u32) -> String {
        crate::cli::tapping::remark(self.count, self.over_rate, self.unread, rate)
    }
}

fn print(text: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(Error::Output)
}
