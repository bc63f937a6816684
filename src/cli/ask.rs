//! `outrigger proxy …`: asks a sidecar's admin port and shows the answer. The answers' shapes are
//! the admin port's; this only knows which list of an answer makes a
//! table. `tap` goes on until somebody ends it.

mod tap;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::output::{self, Format, Output};
use super::{FAILED, chain, complain, emit, rows};
use crate::runtime::hyper_io::HyperIo;
use crate::runtime::workers::local_runtime;

/// A sidecar answers from memory; one that takes this long is stuck. Arbitrary.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a sidecar can be asked.
#[derive(Subcommand, Debug)]
pub(super) enum Query {
    /// The configuration in effect
    #[command(after_help = "Example:\n  outrigger proxy config -o yaml")]
    Config(Target),
    /// The services it knows
    #[command(after_help = "Example:\n  outrigger proxy services --admin 127.0.0.1:15000")]
    Services(Target),
    /// Every endpoint: identity, state, load, last error
    #[command(after_help = "Example:\n  outrigger proxy endpoints --admin 127.0.0.1:15000")]
    Endpoints(Target),
    /// The rules of each service, in order
    #[command(after_help = "Example:\n  outrigger proxy routes --admin 127.0.0.1:15000")]
    Routes(Target),
    /// What holds for each service, and which resource says so
    #[command(
        after_help = "Examples:\n  outrigger proxy policies\n  outrigger proxy policies -o yaml\n\n\
                      The table shows what resources say and how it stands now; yaml and json also \
                      show every default."
    )]
    Policies(Target),
    /// Its certificate and whom it trusts
    #[command(after_help = "Example:\n  outrigger proxy certs -o json")]
    Certs(Target),
    /// The open connections
    #[command(after_help = "Example:\n  outrigger proxy connections --admin 127.0.0.1:15000")]
    Connections(Target),
    /// Requests as they end, until Ctrl-C
    #[command(
        after_help = "Examples:\n  outrigger proxy tap --failed\n  outrigger proxy tap --path /orders* --slower 250ms -o json"
    )]
    Tap(tap::Tap),
    /// The log's level, or change it
    #[command(after_help = "Examples:\n  outrigger proxy log\n  outrigger proxy log --level debug")]
    Log {
        /// error, warn, info, debug or trace
        #[arg(long)]
        level: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

/// Which sidecar, and how its answer is shown.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Target {
    /// The sidecar's admin port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15000")]
    pub(super) admin: SocketAddr,
    #[command(flatten)]
    pub(super) output: Output,
}

/// A question as HTTP: method, path, and the list that a table shows.
pub(super) struct Question {
    method: Method,
    path: String,
    list: Option<&'static str>,
}

impl Question {
    /// One that changes nothing.
    pub(super) fn get(path: String, list: Option<&'static str>) -> Self {
        Self { method: Method::GET, path, list }
    }
}

impl Query {
    fn question(&self) -> (Question, Target) {
        let (path, list, target) = match self {
            Query::Tap(tap) => return tap.question(),
            Query::Config(target) => ("/config", None, target),
            Query::Services(target) => ("/services", Some("services"), target),
            Query::Endpoints(target) => ("/endpoints", Some("endpoints"), target),
            Query::Routes(target) => ("/routes", Some("routes"), target),
            Query::Policies(target) => ("/policies", Some("policies"), target),
            Query::Certs(target) => ("/certs", None, target),
            Query::Connections(target) => ("/connections", Some("connections"), target),
            Query::Log { level: None, target } => ("/log", None, target),
            Query::Log { level: Some(level), target } => {
                // What no level's name has can't be one, and must not become another query.
                let plain: String = level.chars().filter(char::is_ascii_alphanumeric).collect();
                let path = format!("/log?level={plain}");
                return (Question { method: Method::POST, path, list: None }, *target);
            }
        };
        (Question::get(path.into(), list), *target)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no sidecar answers at {0} (another one? name it with --admin)")]
    Unreachable(SocketAddr, #[source] io::Error),
    #[error("{0} does not answer like an admin port")]
    Broken(SocketAddr, #[source] hyper::Error),
    #[error("{0} gave no answer within {PATIENCE:?}")]
    Silent(SocketAddr),
    #[error("{address} refused: {status}: {body}")]
    Refused { address: SocketAddr, status: StatusCode, body: String },
    #[error("the question can't be asked")]
    Question(#[source] http::Error),
    #[error("no runtime")]
    Runtime(#[source] io::Error),
    #[error("standard output can't be written")]
    Output(#[source] io::Error),
}

impl Error {
    fn refused(address: SocketAddr, status: StatusCode, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body).trim_end().to_owned();
        Error::Refused { address, status, body }
    }
}

/// Asks, and prints.
pub(super) fn run(query: &Query) -> ExitCode {
    if let Query::Tap(tap) = query {
        return tap.run();
    }
    let (question, Target { admin, output }) = query.question();
    match asked(admin, &question) {
        Ok(body) => emit(&show(&body, question.list, output.format)),
        Err(error) => {
            complain(&format!("error: {}", chain(&error)));
            ExitCode::from(FAILED)
        }
    }
}

/// The answer's body.
///
/// # Errors
/// Why there is none.
pub(super) fn asked(admin: SocketAddr, question: &Question) -> Result<Bytes, Error> {
    block_on(ask(admin, question))
}

fn block_on(question: impl Future<Output = Result<Bytes, Error>>) -> Result<Bytes, Error> {
    local_runtime().map_err(Error::Runtime)?.block_on(question)
}

/// What is no JSON is shown as it is.
fn show(body: &[u8], list: Option<&str>, format: Format) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if format == Format::Table => {
            output::render(&rows::of(value, list), list, format)
        }
        Ok(value) => output::render(&value, list, format),
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            format!("{}\n", text.trim_end())
        }
    }
}

async fn ask(address: SocketAddr, question: &Question) -> Result<Bytes, Error> {
    let answer = timeout(PATIENCE, exchange(address, question)).await;
    let (status, body) = answer.unwrap_or(Err(Error::Silent(address)))?;
    if status.is_success() {
        return Ok(body);
    }
    Err(Error::refused(address, status, &body))
}

async fn exchange(address: SocketAddr, question: &Question) -> Result<(StatusCode, Bytes), Error> {
    let response = begin(address, question).await?;
    let status = response.status();
    Ok((status, read(address, response.into_body()).await?))
}

/// To the head of the answer.
async fn begin(address: SocketAddr, question: &Question) -> Result<Response<Incoming>, Error> {
    let stream =
        TcpStream::connect(address).await.map_err(|error| Error::Unreachable(address, error))?;
    let broken = |error| Error::Broken(address, error);
    let (mut send, connection) = http1::handshake(HyperIo(stream)).await.map_err(broken)?;
    // Its error is also the exchange's.
    tokio::task::spawn_local(connection);
    let request = Request::builder()
        .method(question.method.clone())
        .uri(&question.path)
        .header(http::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(Error::Question)?;
    send.send_request(request).await.map_err(broken)
}

async fn read(address: SocketAddr, body: Incoming) -> Result<Bytes, Error> {
    let body = body.collect().await.map_err(|error| Error::Broken(address, error))?;
    Ok(body.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        let admin = SocketAddr::from(([127, 0, 0, 1], 15000));
        Target { admin, output: Output { format: Format::Table } }
    }

    #[test]
    fn only_a_new_level_is_posted() {
        let log =
            |level: Option<&str>| Query::Log { level: level.map(str::to_owned), target: target() };
        let rows = [
            (Query::Certs(target()), Method::GET, "/certs"),
            (log(None), Method::GET, "/log"),
            (log(Some("debug")), Method::POST, "/log?level=debug"),
            (log(Some("de&x=bug ")), Method::POST, "/log?level=dexbug"),
        ];
        for (query, method, path) in rows {
            let (question, _) = query.question();
            assert_eq!((question.method, question.path.as_str()), (method, path));
        }
    }

    #[test]
    fn nobody_at_the_address_is_an_error_that_names_it() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let (question, _) = Query::Certs(target()).question();
        let error = block_on(ask(address, &question)).expect_err("nobody there");
        assert!(chain(&error).contains(&address.to_string()), "{error}");
    }

    #[test]
    fn an_answer_that_is_no_json_is_shown() {
        assert_eq!(show(b"info\n", None, Format::Table), "info\n");
        assert_eq!(show(b"{\"level\":\"info\"}", None, Format::Yaml), "level: info\n");
    }
}
