//! Requests watched as they end: at one sidecar's admin port, and through the control plane.

mod admin;
mod mesh;
mod refused;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{App, ControlPlane, SOON, Sidecar, eventually};

/// Answers 500 below `/fail`, 404 below `/none`, else 200.
fn app() -> App {
    App::http(|request| {
        let of = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into();
        match request.target() {
            target if target.starts_with("/fail") => of("500 Internal Server Error"),
            target if target.starts_with("/none") => of("404 Not Found"),
            _ => App::answer("ok"),
        }
    })
}

/// Somebody who reads `/tap`.
struct Tap(BufReader<TcpStream>);

impl Tap {
    /// Begins, and waits for the head: from then on nothing is missed.
    #[track_caller]
    fn begin(sidecar: &Sidecar, query: &str) -> Self {
        let (status, tap) = Self::try_begin(sidecar, query);
        assert!(status.contains(" 200 "), "{query}: {status}");
        tap
    }

    #[track_caller]
    fn try_begin(sidecar: &Sidecar, query: &str) -> (String, Self) {
        let mut stream = TcpStream::connect(sidecar.admin).expect("the admin port is open");
        stream.set_read_timeout(Some(SOON)).expect("a time above zero");
        // To HTTP/1.0 the body comes as it is, to the connection's end.
        let asked = format!("GET /tap?{query} HTTP/1.0\r\nHost: {}\r\n\r\n", sidecar.admin);
        stream.write_all(asked.as_bytes()).expect("it is taken");
        let mut tap = Self(BufReader::new(stream));
        let status = tap.text().expect("a head");
        while tap.text().is_some_and(|line| !line.is_empty()) {}
        (status, tap)
    }

    /// The next line; `None` at the end.
    #[track_caller]
    fn text(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap_or_else(|error| panic!("no line: {error}"));
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next line as JSON.
    #[track_caller]
    fn line(&mut self) -> Value {
        let line = self.text().expect("another line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The paths of the next requests.
    #[track_caller]
    fn paths(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()["path"].as_str().unwrap_or("-").to_owned()).collect()
    }
}

/// `outrigger tap`, under way.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl ControlPlane {
    /// Begins to watch, and waits until the control plane does.
    #[track_caller]
    fn tap(&self, arguments: &[&str]) -> Watching {
        let before = self.log().matches("taps requests").count();
        let mut command = self.command(&[&["tap"], arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        eventually("it watches", || self.log().matches("taps requests").count() > before);
        Watching { child, lines }
    }
}

impl Watching {
    /// The next line of standard output.
    #[track_caller]
    fn text(&mut self) -> String {
        self.lines.recv_timeout(SOON).expect("another line")
    }

    #[track_caller]
    fn line(&mut self) -> Value {
        let line = self.text();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// What has come by now.
    fn lines(&mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(50)) {
            lines.push(serde_json::from_str(&line).unwrap_or_default());
        }
        lines
    }

    /// As Ctrl-C.
    fn interrupt(&self) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so that the id is still its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    }

    /// Its exit code, and what it said on standard error, once it has ended.
    #[track_caller]
    fn rest(&mut self) -> (Option<i32>, String) {
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        let mut said = String::new();
        let mut errors = self.child.stderr.take().expect("it is piped");
        std::io::Read::read_to_string(&mut errors, &mut said).expect("text");
        (status.and_then(|status| status.code()), said)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
